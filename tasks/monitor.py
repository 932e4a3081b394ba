"""Step 6: one poller for a job, whatever the number of files, and a future for each."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from azure.batch.aio import BatchClient
from azure.batch.models import BatchTask, BatchTaskCounts, BatchTaskExecutionResult
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Failed

from tasks.clients import Clients
from tasks.errors import RunFailed, TopnError
from tasks.plan import InputFile
from tasks.progress import Progress
from tasks.retries import STEP

INTERVAL = timedelta(seconds=1)
LISTING_TICKS = 10
STDERR_TAIL_BYTES = 2000
COMPLETED_FIELDS = ["id", "creationTime", "executionInfo", "nodeInfo"]


@dataclass(frozen=True)
class Outcome:
    """How a Batch task ended."""

    node_id: str
    exit_code: int | None  # None: it never ran
    added: datetime
    started: datetime | None  # of its last attempt: when its node began to fetch its files
    ended: datetime | None
    retries: int = 0  # after exits other than 0
    requeues: int = 0  # after its node had left
    failure: str | None = None  # its class, see `failure_class`; None: it succeeded
    message: str = ""  # Batch's own words for the failure

    @property
    def seconds(self) -> float:
        """From the start of its last attempt to its end."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else 0.0


class Monitor:
    """Watches the Batch tasks of one job with one poller, and lets any number of readers await their outcomes."""

    def __init__(self, batch: BatchClient, job_id: str, batch_task_ids: Iterable[str], timeout: timedelta) -> None:
        loop = asyncio.get_running_loop()
        self._batch = batch
        self.job_id = job_id
        self.timeout = timeout
        self._deadline = loop.time() + timeout.total_seconds()
        self._outcomes: dict[str, asyncio.Future[Outcome]] = {id: loop.create_future() for id in batch_task_ids}
        self._waiting = dict(self._outcomes)

    async def outcome(self, batch_task_id: str) -> Outcome:
        """Wait until this Batch task has ended. Raises what ended the watching, if that came first."""
        return await asyncio.shield(self._outcomes[batch_task_id])

    async def watch(self) -> None:
        """Poll until all Batch tasks have ended; log the counts when they move. Raises RunFailed at the timeout.

        One call of task counts each tick; a listing when more have completed than are known here, and now and
        then anyway: counts may lag behind (Batch's documentation of Get Task Counts), the listing does not.
        """
        counts = BatchTaskCounts(active=len(self._waiting), running=0, completed=0, succeeded=0, failed=0)
        progress = Progress(len(self._outcomes))
        ticks = itertools.count(1)
        try:
            async with asyncio.timeout_at(self._deadline):
                while self._waiting:
                    latest = (await self._batch.get_job_task_counts(self.job_id)).task_counts
                    if latest != counts:
                        counts = latest
                        log_counts(counts, len(self._outcomes))
                        await progress.show(counts)
                    known = len(self._outcomes) - len(self._waiting)
                    if counts.completed > known or next(ticks) % LISTING_TICKS == 0:
                        await self._collect()
                    if self._waiting:
                        await asyncio.sleep(INTERVAL.total_seconds())
        except TimeoutError:
            raise RunFailed(self._late(counts)) from None

    def give_up(self, error: BaseException) -> None:
        """Let all who still wait know why there will be no outcome."""
        for future in self._waiting.values():
            future.set_exception(error)
            future.exception()  # read once, lest asyncio complain where nobody awaits it
        self._waiting.clear()

    async def _collect(self) -> None:
        async for batch_task in self._batch.list_tasks(
            self.job_id, filter="state eq 'completed'", select=COMPLETED_FIELDS
        ):
            if future := self._waiting.pop(batch_task.id, None):
                future.set_result(read_outcome(batch_task))

    def _late(self, counts: BatchTaskCounts) -> str:
        minutes = self.timeout.total_seconds() / 60
        return (
            f"{len(self._waiting)} of {len(self._outcomes)} tasks of job {self.job_id} did not complete within the "
            f"timeout of {minutes:g} minutes ({counts.active} active, {counts.running} running)."
        )


def log_counts(counts: BatchTaskCounts, total: int) -> None:
    """Say how far the job is; the numbers ride along for who shows them otherwise."""
    get_run_logger().info(
        "Tasks: %d active, %d running, %d succeeded, %d failed",
        *(counts.active, counts.running, counts.succeeded, counts.failed),
        extra={"done": counts.completed, "total": total},
    )


def read_outcome(batch_task: BatchTask) -> Outcome:
    """What a completed Batch task says of its end."""
    execution, node = batch_task.execution_info, batch_task.node_info
    assert execution is not None and batch_task.creation_time is not None  # selected, and completed
    outcome = Outcome(
        node_id=node.node_id or "" if node else "",
        exit_code=execution.exit_code,
        added=batch_task.creation_time,
        started=execution.start_time,
        ended=execution.end_time,
        retries=execution.retry_count,
        requeues=execution.requeue_count,
    )
    if execution.result == BatchTaskExecutionResult.SUCCESS:
        return outcome
    info = execution.failure_info
    code = info.code or "" if info else ""
    message = info.message or code if info else "the task failed"
    return replace(outcome, failure=failure_class(code), message=message)


def failure_class(code: str) -> str:
    """The class of a failure, by the code that Batch gives for it (BatchErrorCodeStrings of the .NET SDK)."""
    if code == "FailureExitCode":
        return "exit_code"
    if code == "TaskEnded":
        return "wall_clock"
    if code.startswith("FileUpload"):
        return "upload"
    if code.startswith(("Blob", "Resource")) or code == "DiskFull":
        return "resource_file"
    return "scheduling"


@task(name="monitor", **STEP)
async def monitor_batch_tasks(monitor: Monitor) -> None:
    """Watch until all Batch tasks have ended. Raises RunFailed at the timeout."""
    get_run_logger().info(
        "Monitoring all tasks for 'Completed' state, timeout in %s...",
        monitor.timeout,
        extra={"done": 0, "total": 0},
    )
    await monitor.watch()


@task(name="count", cache_policy=NO_CACHE)
async def count_file(monitor: Monitor, file: InputFile) -> State[Outcome] | Outcome:
    """Await the Batch task of one file: this task run is the file's line in Prefect's UI."""
    try:
        outcome = await monitor.outcome(file.batch_task_id)
    except TopnError as error:
        return Failed(message=f"{file.name}: {error}")
    if outcome.failure:
        return Failed(message=f"{file.name}: {outcome.message} (exit code {outcome.exit_code})")
    return outcome


async def stderr_tail(clients: Clients, job_id: str, batch_task_id: str) -> str:
    """The end of what a Batch task wrote to stderr; raises azure-core's errors when its node is gone."""
    properties = await clients.batch.get_task_file_properties(job_id, batch_task_id, "stderr.txt")
    size = properties.content_length or 0
    if not size:
        return ""
    first = max(0, size - STDERR_TAIL_BYTES)
    stream = await clients.batch.download_task_file(
        job_id, batch_task_id, "stderr.txt", ocp_range=f"bytes={first}-{size - 1}"
    )
    return b"".join([chunk async for chunk in stream]).decode("utf-8", "replace")
