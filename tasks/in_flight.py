"""The job in flight: one object adds its Batch tasks, watches them with one poller, and repeats what failed."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from azure.batch.models import BatchTask, BatchTaskCounts, BatchTaskCreateOptions, BatchTaskState
from prefect import get_run_logger

from tasks.adding import add_all
from tasks.clients import Clients
from tasks.diagnosis import Diagnosis
from tasks.errors import RunFailed, TimedOut
from tasks.interval import SHORTEST, Interval
from tasks.outcome import FIELDS, Outcome, read_outcome
from tasks.plan import InputFile
from tasks.policies import Policies
from tasks.progress import Progress
from tasks.retries import patiently

LISTING_INTERVAL = timedelta(seconds=10)  # although the counts stand still: they may lag, the listing does not
OVERLAP = timedelta(seconds=5)  # of two listings: the service's own clocks may differ
IDLE = timedelta(seconds=15)  # with tasks waiting and none running, until it is asked why

_ATTEMPT = re.compile(r"-a(\d+)$")

Attempt = tuple[InputFile, int]


def attempt_id(file: InputFile, number: int) -> str:
    """The id of a file's Batch task; of its second attempt, `ID-a2`."""
    return file.batch_task_id if number == 1 else f"{file.batch_task_id}-a{number}"


def attempt_of(batch_task_id: str) -> tuple[str, int]:
    """The file's own id in a Batch task's, and the number of the attempt."""
    found = _ATTEMPT.search(batch_task_id)
    return (batch_task_id[: found.start()], int(found[1])) if found else (batch_task_id, 1)


class JobInFlight:
    """Adds and watches the Batch tasks of one job; lets any number of readers await how a file's last one ended."""

    def __init__(
        self,
        clients: Clients,
        job_id: str,
        files: Sequence[InputFile],
        make: Callable[[Attempt], Awaitable[BatchTaskCreateOptions]],
        *,
        policies: Policies,
        timeout: timedelta,
        diagnose: Callable[[], Awaitable[Diagnosis | None]],
        already_done: int = 0,
    ) -> None:
        """Take over these files.

        Args:
            make: makes the Batch task of an attempt.
            timeout: from now, for all files together.
            diagnose: says why nothing runs.
            already_done: files of the run that need no Batch task, for the progress.
        """
        loop = asyncio.get_running_loop()
        self.job_id = job_id
        self.timeout = timeout
        self.settled: asyncio.Queue[InputFile] = asyncio.Queue()
        self.attempts: Counter[str] = Counter()  # per file: the highest number
        self._clients, self._make, self._policies, self._diagnose = clients, make, policies, diagnose
        self._began = loop.time()
        self._interval = Interval(self._began)
        self._deadline = self._began + timeout.total_seconds()
        self._files = {file.batch_task_id: file for file in files}
        self._outcomes: dict[str, asyncio.Future[Outcome]] = {id: loop.create_future() for id in self._files}
        self._waiting = set(self._files)  # for their last Batch task to end
        self._unfinished = set(self._files)  # whose result is not taken yet
        self._added: set[str] = set()
        self._finished = asyncio.Event()
        self._failed_before: Counter[tuple[str, str]] = Counter()  # per file and class
        self._due: dict[str, float] = {}  # when a file's next attempt shall be added, by the loop's clock
        self._seen: set[str] = set()  # ids of the Batch tasks that are known to have completed
        self._watermark: datetime | None = None
        self._listed_at = self._began
        self._idle_since: float | None = None
        self._diagnosis: Diagnosis | None = None
        self._over = False
        self._already_done = already_done
        self._progress = Progress(len(self._files) + already_done)

    async def outcome(self, file: InputFile) -> Outcome:
        """Wait until a file's last Batch task has ended. Raises what ended the watching, if that came first."""
        return await asyncio.shield(self._outcomes[file.batch_task_id])

    async def adopt(self) -> None:
        """Take note of the tasks that an earlier run, which died, has left in the job."""
        failed: dict[str, BatchTask] = {}
        async for batch_task in self._clients.batch.list_tasks(self.job_id, select=FIELDS):
            id, number = attempt_of(batch_task.id)
            if id not in self._files:
                continue
            self.attempts[id] = max(self.attempts[id], number)
            self._added.add(id)
            if batch_task.state == BatchTaskState.COMPLETED:
                outcome = read_outcome(batch_task)
                self._seen.add(batch_task.id)
                if not outcome.failure:
                    self._settle(id, outcome)
                else:
                    failed[batch_task.id] = batch_task
        for id in list(self._waiting):
            # Whose last attempt has failed gets a new one, with all its retries.
            if self.attempts[id] and attempt_id(self._files[id], self.attempts[id]) in failed:
                self._due[id] = self._began

    async def add(self) -> None:
        """Add a Batch task for each file that has none yet. Raises RunFailed."""
        new = [file for id, file in self._files.items() if id in self._waiting and id not in self._added]
        for file in new:
            self.attempts[file.batch_task_id] = 1
        await add_all(self._clients.batch, self.job_id, ((file, 1) for file in new), self._make)
        self._added.update(file.batch_task_id for file in new)

    async def watch(self) -> None:
        """Poll until each file's last Batch task has ended, and its result is taken.

        One call of task counts each tick and, when more have completed than are known here, one listing of what has
        completed since the last; now and then one anyway, as counts may lag (Batch's documentation of Get Task Counts).
        Raises RunFailed at the timeout, or when nothing runs and nothing will.
        """
        counts = None
        try:
            async with asyncio.timeout_at(self._deadline):
                while self._unfinished:
                    if self._waiting:
                        counts = await self._tick(counts)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._finished.wait(), self._pause_seconds())
        except TimeoutError:
            raise TimedOut(self._late(counts)) from None

    async def _tick(self, known: BatchTaskCounts | None) -> BatchTaskCounts:
        waiting = len(self._waiting)
        counts = (await patiently(lambda: self._clients.batch.get_job_task_counts(self.job_id))).task_counts
        overdue = asyncio.get_running_loop().time() - self._listed_at >= LISTING_INTERVAL.total_seconds()
        if counts.completed > len(self._seen) or overdue:
            await patiently(self._collect)
        await self._ask_why_idle(counts)
        if (counts, len(self._waiting)) != (known, waiting):  # counts may be ahead of the listing, or behind it
            await self._show(counts)
        await self._add_due()
        return counts

    def give_up(self, error: BaseException) -> None:
        """Let all who still wait know why there will be no outcome."""
        self._over = True
        for id in self._waiting:
            self._outcomes[id].set_exception(error)
            self._outcomes[id].exception()  # read once, lest asyncio complain where nobody awaits it
            self.settled.put_nowait(self._files[id])
        self._waiting.clear()

    def again(self, file: InputFile, outcome: Outcome, failure: str) -> bool:
        """Whether a file whose Batch task failed gets another, which is then taken care of."""
        id = file.batch_task_id
        wait = self._policies.wait(failure, outcome.exit_code, self._failed_before[id, failure])
        if wait is None:
            return False
        self._failed_before[id, failure] += 1
        self._due[id] = asyncio.get_running_loop().time() + wait.total_seconds()
        return True

    def reopen(self, file: InputFile, outcome: Outcome) -> bool:
        """Ask for another attempt of a file whose task succeeded, but whose result is no good."""
        if self._over or not self.again(file, outcome, "result"):
            return False
        self._outcomes[file.batch_task_id] = asyncio.get_running_loop().create_future()
        self._waiting.add(file.batch_task_id)
        return True

    def finish(self, file: InputFile) -> None:
        """Take note that a file's result is taken, or that there will be none."""
        self._unfinished.discard(file.batch_task_id)
        if not self._unfinished:
            self._finished.set()

    async def _collect(self) -> None:
        """List what has completed since the last listing, or all when the counts say that some were missed."""
        loop = asyncio.get_running_loop()
        since = ""
        if self._watermark is not None:
            since = f" and stateTransitionTime ge DateTime'{self._watermark - OVERLAP:%Y-%m-%dT%H:%M:%S.%fZ}'"
        before = len(self._seen)
        async for batch_task in self._clients.batch.list_tasks(
            self.job_id, filter=f"state eq 'completed'{since}", select=FIELDS
        ):
            self._take(batch_task)
        if len(self._seen) == before:
            self._watermark = None  # the next one lists all
        self._listed_at = loop.time()

    def _take(self, batch_task: BatchTask) -> None:
        if batch_task.id in self._seen:
            return
        self._seen.add(batch_task.id)
        moment = batch_task.state_transition_time
        if moment is not None:
            self._watermark = max(moment, self._watermark or moment)
        id, number = attempt_of(batch_task.id)
        if id not in self._waiting or number != self.attempts[id]:
            return
        outcome = read_outcome(batch_task)
        file = self._files[id]
        if outcome.failure and self.again(file, outcome, outcome.failure):
            get_run_logger().warning(
                "%s: %s; attempt %d follows", file.name, outcome.message or outcome.failure, number + 1
            )
            return
        self._settle(id, outcome)

    def _settle(self, id: str, outcome: Outcome) -> None:
        self._waiting.discard(id)
        self._outcomes[id].set_result(outcome)
        self.settled.put_nowait(self._files[id])

    async def _add_due(self) -> None:
        now = asyncio.get_running_loop().time()
        due = [id for id, at in self._due.items() if at <= now and id in self._waiting]
        for id in due:
            del self._due[id]
            self.attempts[id] += 1
        await add_all(
            self._clients.batch, self.job_id, ((self._files[id], self.attempts[id]) for id in due), self._make
        )

    async def _ask_why_idle(self, counts: BatchTaskCounts) -> None:
        """Where tasks have waited for a while and none runs, find out why; say it once. Raises RunFailed."""
        now = asyncio.get_running_loop().time()
        if counts.running or not counts.active:
            self._idle_since, self._diagnosis = None, None
            return
        self._idle_since = self._idle_since or now
        if now - self._idle_since < IDLE.total_seconds():
            return
        self._idle_since = now
        diagnosis = await patiently(self._diagnose)
        if diagnosis == self._diagnosis or diagnosis is None:
            return
        self._diagnosis = diagnosis
        if not diagnosis.heals:
            raise RunFailed(diagnosis.sentence)
        get_run_logger().warning("Nothing runs yet: %s", diagnosis.sentence)
        await self._show(counts)

    async def _show(self, counts: BatchTaskCounts) -> None:
        """Say how far the job is; the numbers ride along for who shows them otherwise."""
        get_run_logger().info(
            "Tasks: %d active, %d running, %d succeeded, %d failed",
            *(counts.active, counts.running, counts.succeeded, counts.failed),
            extra={"done": len(self._files) - len(self._waiting), "total": len(self._files)},
        )
        await self._progress.show(counts, self._already_done, self._diagnosis.sentence if self._diagnosis else "")

    def _pause_seconds(self) -> float:
        """Until the next look, or until a file's next attempt is due."""
        settled = len(self._files) - len(self._waiting)
        pause = self._interval.next_seconds(asyncio.get_running_loop().time(), settled, len(self._waiting))
        if self._due:
            soonest = min(self._due.values()) - asyncio.get_running_loop().time()
            pause = min(pause, max(soonest, SHORTEST.total_seconds()))
        return pause

    def _late(self, counts: BatchTaskCounts | None) -> str:
        minutes = self.timeout.total_seconds() / 60
        now = f" ({counts.active} active, {counts.running} running)" if counts else ""
        why = f" {self._diagnosis.sentence}" if self._diagnosis else ""
        return (
            f"{len(self._waiting)} of {len(self._files)} tasks of job {self.job_id} did not complete within the "
            f"timeout of {minutes:g} minutes{now}.{why}"
        )
