"""A run in a process of its own, behind gates, that is killed at a named point."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.gate import Gate
from tests.kill_points import KillPoint

ROOT = Path(__file__).parent.parent
DEADLINE_SECONDS = 120


@dataclass(frozen=True)
class Gates:
    """The gates before both services, and the environment of a run that goes through them."""

    batch: Gate
    storage: Gate
    environment: dict[str, str]

    def seen(self) -> str:
        """All requests, for a test's failure."""
        return "\n".join([*self.batch.seen, *self.storage.seen])


@contextlib.asynccontextmanager
async def behind_gates(environment: Mapping[str, str]) -> AsyncIterator[Gates]:
    """Gates before Batch and Storage: a killed run and the next one go through the same ones, as do their nodes."""
    batch = Gate(environment["AZURE_BATCH_ENDPOINT"])
    storage = Gate(environment["AZURE_STORAGE_BLOB_ENDPOINT"])
    async with batch.open(), storage.open():
        through = {"AZURE_BATCH_ENDPOINT": batch.url, "AZURE_STORAGE_BLOB_ENDPOINT": storage.url}
        yield Gates(batch, storage, {**os.environ, **environment, **through})


@contextlib.asynccontextmanager
async def _run(gates: Gates, arguments: list[str]) -> AsyncIterator[tuple[Process, asyncio.Task[tuple[bytes, bytes]]]]:
    """A process `python -m flows.topn` with these arguments, killed with all that it started at the block's end."""
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "flows.topn", *arguments),
        cwd=ROOT,
        env=gates.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    talk = asyncio.create_task(run.communicate())
    try:
        yield run, talk
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        await talk


async def run_until_killed(point: KillPoint, gates: Gates, arguments: list[str]) -> None:
    """Start `python -m flows.topn` with these arguments and kill it, with SIGKILL, at the point."""
    hold = point.hold()
    (gates.batch if point.service == "batch" else gates.storage).holds.append(hold)
    async with _run(gates, arguments) as (run, talk):
        reached = asyncio.create_task(hold.reached.wait())
        await asyncio.wait([talk, reached], return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_SECONDS)
        reached.cancel()
    said = talk.result()[0].decode()
    assert hold.reached.is_set(), f"the run ended before {point.name}:\n{said}\n{gates.seen()}"
    assert run.returncode == -signal.SIGKILL


async def run_to_its_end(gates: Gates, arguments: list[str]) -> tuple[int | None, str]:
    """Run `python -m flows.topn` with these arguments; its exit status, and what it said."""
    async with _run(gates, arguments) as (run, talk):
        await asyncio.wait([talk], timeout=DEADLINE_SECONDS)
        ended = talk.done()
    said = talk.result()[0].decode()
    assert ended, f"the run did not end:\n{said}\n{gates.seen()}"
    return run.returncode, said
