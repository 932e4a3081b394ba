"""Job preparation and job release tasks: once on each node that a job's tasks come to."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.batch.models import (
    BatchJobPreparationAndReleaseTaskStatus,
    BatchJobPreparationTask,
    BatchJobReleaseTask,
)

from emulator import environment
from emulator.attempt import CUT_SHORT, Command, cut_short, retried
from emulator.clock import read_duration

if TYPE_CHECKING:
    from emulator.job import Job
    from emulator.node import Node

PREPARATION_ID = "jobpreparation"
RELEASE_ID = "jobrelease"
LONGEST_RELEASE = timedelta(minutes=15)


class Preparation:
    """One job on one node: how its preparation, and later its release, went there."""

    def __init__(self, node: Node, job: Job) -> None:
        self.node = node
        self.job = job
        self.serial = node.account.next_serial()
        self.model = BatchJobPreparationAndReleaseTaskStatus(
            {"poolId": node.pool.id, "nodeId": node.id, "nodeUrl": node.model["url"]}
        )
        self.going_on: asyncio.Task[bool] | None = None
        self.releasing: asyncio.Task[None] | None = None
        self.succeeded = False

    def _info(self, directory: Path) -> dict[str, Any]:
        root = directory.relative_to(self.node.directory).as_posix()
        return {
            "state": "running",
            "startTime": self.node.account.clock.stamp(),
            "taskRootDirectory": root,
            "taskRootDirectoryUrl": f"{self.node.model['url']}/files/{root}",
        }

    def _command(
        self, task: BatchJobPreparationTask | BatchJobReleaseTask, directory: Path, limit: timedelta | None
    ) -> Command:
        return Command(
            self.node.pool.runnable(task["commandLine"]),
            directory,
            environment.of_task(self.node, self.job, directory, task.id or "", task.environment_settings),
            task.resource_files or (),
            limit,
        )

    async def prepare(self, task: BatchJobPreparationTask) -> bool:
        """Run the job preparation task, with its retries; whether it succeeded."""
        account = self.node.account
        directory = self.node.job_directory(self.job) / (task.id or PREPARATION_ID)
        constraints = task.get("constraints") or {}
        command = self._command(task, directory, read_duration(constraints["maxWallClockTime"]))
        info = {**self._info(directory), "retryCount": 0}
        self.model["jobPreparationTaskExecutionInfo"] = info
        outcome = CUT_SHORT
        try:
            outcome = await retried(
                lambda: account.attempt(command, self.node.storage),
                info,
                constraints["maxTaskRetryCount"],
                account.clock,
            )
        finally:
            info["state"] = "completed"
            outcome.tell(info, account.clock.stamp())
        self.succeeded = outcome.succeeded
        return outcome.succeeded

    async def release(self, task: BatchJobReleaseTask) -> None:
        """Run the job release task, once."""
        account = self.node.account
        directory = self.node.job_directory(self.job) / (task.id or RELEASE_ID)
        limit = min(read_duration(task["maxWallClockTime"]), LONGEST_RELEASE)
        info = self._info(directory)
        self.model["jobReleaseTaskExecutionInfo"] = info
        outcome = CUT_SHORT
        try:
            outcome = await account.attempt(self._command(task, directory, limit), self.node.storage)
        finally:
            info["state"] = "completed"
            outcome.tell(info, account.clock.stamp())


async def prepare(node: Node, job: Job) -> bool:
    """See to it that a job is prepared on a node; whether its tasks may run there.

    Tasks that come together wait for one preparation; ending one of them does not end it.
    """
    task: BatchJobPreparationTask | None = job.model.job_preparation_task
    assert task is not None, "only jobs with such a task prepare"
    found = job.prepared.get(node)
    if found is None:
        found = job.prepared[node] = Preparation(node, job)
        job.preparations.add(node.id, found)
    stopped = found.going_on is None or found.going_on.cancelled()
    if stopped and not found.succeeded:
        found.going_on = node.account.spawn(found.prepare(task))
    if not task.get("waitForSuccess", True):
        return True
    return found.succeeded or await asyncio.shield(_started(found))


def _started(found: Preparation) -> asyncio.Task[bool]:
    assert found.going_on is not None, "an unsuccessful preparation was started above, or earlier"
    return found.going_on


async def stop(node: Node) -> None:
    """End the preparations that run on a node."""
    running = [
        found.going_on
        for job in node.account.jobs
        if (found := job.prepared.get(node)) is not None and found.going_on is not None
    ]
    await cut_short(running)


async def end(node: Node) -> None:
    """End the job release tasks that run on a node which goes down."""
    running = [
        found.releasing
        for job in node.account.jobs
        if (found := job.prepared.get(node)) is not None and found.releasing is not None
    ]
    await cut_short(running)


def forget(node: Node, *, rebooted: bool) -> None:
    """The node was started anew: jobs prepare there again, unless a reboot does not matter to them."""
    node.refused.clear()
    for job in node.account.jobs:
        found = job.prepared.get(node)
        task = job.model.job_preparation_task
        if found is None or task is None:
            continue
        if rebooted and found.succeeded and not task.get("rerunOnNodeRebootAfterSuccess", True):
            continue
        found.going_on = None
        found.succeeded = False


async def release(job: Job) -> None:
    """Run the job release task, once, on every node, still there, on which the job was prepared."""
    task: BatchJobReleaseTask | None = job.model.job_release_task
    present = [found for node, found in job.prepared.items() if not node.gone]
    for found in present:
        if found.going_on is not None and not found.going_on.done():
            found.going_on.cancel()
    if task is not None:
        for found in present:
            if found.node.up and found.releasing is None:
                found.releasing = job.account.spawn(found.release(task))
    releases = [found.releasing for found in present if found.releasing is not None]
    if releases:
        # Not `gather`: a job that is deleted while it is being released goes on with the same releases.
        # One that ends with its node holds nobody up; what else goes wrong in one, `spawn` remembers.
        await asyncio.wait(releases)


async def abandon(job: Job) -> None:
    """End what still prepares or releases the job, as it is deleted, perhaps by force."""
    await cut_short([each for found in job.prepared.values() for each in (found.going_on, found.releasing) if each])
