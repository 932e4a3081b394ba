"""One attempt at a task's command, of whatever kind the task is: files, process, time limit."""

from __future__ import annotations

import asyncio
import errno
import resource
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from azure.batch.models import BatchTaskFailureInfo, OutputFile, ResourceFile

import emulator.output_files
from emulator import resource_files
from emulator.clock import Clock
from emulator.process import Processes
from emulator.removal import Removal
from emulator.resource_files import ResourceFileError, Sources
from emulator.storage import Storage

KILLED = -9  # the exit code of a command that Batch ended


@dataclass(frozen=True)
class Command:
    """What is to be run, and where."""

    line: str
    directory: Path
    """The task's directory; its working directory is `wd` in there."""
    environment: dict[str, str]
    resource_files: Sequence[ResourceFile] = ()
    limit: timedelta | None = None
    """The wall clock limit."""
    spent: Callable[[resource.struct_rusage], None] = lambda _usage: None
    """Told what its process used."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended."""

    exit_code: int | None = None
    failure: BatchTaskFailureInfo | None = None
    retryable: bool = field(default=False, kw_only=True)
    """Whether the command ended by itself with a non-zero exit code: nothing else is tried again."""

    @property
    def succeeded(self) -> bool:
        """Whether nothing went wrong."""
        return self.failure is None

    def tell(self, info: MutableMapping[str, Any], now: str) -> None:
        """Write it into the execution info of what it was, whichever of the service's kinds that is."""
        info["endTime"] = now
        info["result"] = "success" if self.succeeded else "failure"
        if self.exit_code is not None:
            info["exitCode"] = self.exit_code
        if self.failure is not None:
            info["failureInfo"] = self.failure


def ended(message: str) -> BatchTaskFailureInfo:
    """The failure info of a task that Batch ended."""
    return BatchTaskFailureInfo(
        {
            "category": "usererror",
            "code": "TaskEnded",
            "message": "Task Was Ended",
            "details": [{"name": "Message", "value": message}],
        }
    )


CUT_SHORT = Outcome(failure=ended("The node went away, or the job's end was not to wait for it"))
"""How what no longer matters ended: a start task, a job's preparation or release."""


async def cut_short(going_on: Collection[asyncio.Task[Any]]) -> None:
    """End what runs on nodes, and wait until it has; what else goes wrong there, whoever started it remembers."""
    for each in going_on:
        each.cancel()
    if going_on:
        await asyncio.wait(going_on)


def exited(exit_code: int) -> Outcome:
    """How an attempt ended whose command exited by itself."""
    if exit_code == 0:
        return Outcome(0)
    return Outcome(
        exit_code,
        BatchTaskFailureInfo(
            {
                "category": "usererror",
                "code": "FailureExitCode",
                "message": "The task exited with an exit code representing a failure",
                "details": [
                    {"name": "Message", "value": "The task process exited with an unexpected exit code"},
                    {"name": "AdditionalErrorCode", "value": "FailureExitCode"},
                ],
            }
        ),
        retryable=True,
    )


def _not_started(error: Exception) -> Outcome:
    missing = isinstance(error, FileNotFoundError)
    return Outcome(
        failure=BatchTaskFailureInfo(
            {
                "category": "usererror",
                "code": "CommandProgramNotFound" if missing else "CommandLaunchFailed",
                "message": "The specified command program is not found"
                if missing
                else "Failed to launch the specified command line",
                "details": [{"name": "Message", "value": str(error)}],
            }
        )
    )


def _not_laid_out(error: OSError) -> Outcome:
    return Outcome(
        failure=BatchTaskFailureInfo(
            {
                "category": "servererror",
                "code": "DiskFull" if error.errno == errno.ENOSPC else "ResourceDirectoryCreateFailed",
                "message": "The task's directory could not be created",
                "details": [{"name": "Message", "value": error.strerror or str(error)}],
            }
        )
    )


def lay_out(directory: Path, removal: Removal) -> None:
    """A fresh task directory: `wd`, and empty stdout.txt and stderr.txt.

    Raises:
        OSError: when it cannot be made, or a task has put a link on the way to it.
    """
    removal.discard(directory)
    (directory / "wd").mkdir(parents=True)
    (directory / "stdout.txt").touch()
    (directory / "stderr.txt").touch()


async def attempt(command: Command, processes: Processes, removal: Removal, sources: Sources) -> Outcome:
    """Run a command once, to its end or its limit. When it is over or cancelled, its processes are gone first."""
    try:
        lay_out(command.directory, removal)
    except OSError as error:
        return _not_laid_out(error)
    seconds = None if command.limit is None else min(command.limit.total_seconds(), 1e8)
    try:
        async with asyncio.timeout(seconds):
            await resource_files.fetch(sources, command.resource_files, command.directory / "wd")
            return await _run(command, processes)
    except ResourceFileError as error:
        return Outcome(failure=error.failure)
    except TimeoutError:
        return Outcome(KILLED, ended("The task exceeded its maximum wall clock time"))
    finally:
        await processes.clear()  # what it left behind must not meddle with the next attempt, or with its files' removal


async def retried(
    once: Callable[[], Awaitable[Outcome]], info: MutableMapping[str, Any], allowed: int, clock: Clock
) -> Outcome:
    """Try until it succeeds or the retries are used up (-1: never); `info` counts them, as the service shows it."""
    while True:
        outcome = await once()
        if not outcome.retryable or info["retryCount"] >= allowed >= 0:
            return outcome
        info["retryCount"] += 1
        info["lastRetryTime"] = clock.stamp()


async def _run(command: Command, processes: Processes) -> Outcome:
    try:
        process = await processes.start(command.line, command.directory, command.environment)
    except (OSError, ValueError) as error:
        return _not_started(error)
    try:
        return exited(await process.wait())
    finally:
        try:
            await process.end()
        finally:
            processes.ended(process)
            if process.usage is not None:
                command.spent(process.usage)


async def upload(
    outcome: Outcome, output_files: Sequence[OutputFile], command: Command, root: Path, storage: Storage
) -> Outcome:
    """Upload the output files of a command that ran for the last time: a failure of that fails the task."""
    if outcome.exit_code is None:
        return outcome  # it never ran
    failure = await emulator.output_files.upload(
        output_files, command.directory, root, command.environment, storage, succeeded=outcome.succeeded
    )
    return Outcome(outcome.exit_code, outcome.failure or failure)
