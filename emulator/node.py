"""A compute node: a directory laid out as Batch does, and a life from creation to leaving the pool."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azure.batch.models import (
    BatchNode,
    BatchNodeState,
    BatchStartTask,
    BatchStartTaskInfo,
    BatchTaskState,
)

from emulator import environment, preparation
from emulator.attempt import CUT_SHORT, Command, Outcome, cut_short, exited, retried, upload
from emulator.clock import read_duration
from emulator.job import Job
from emulator.lifecycle import transition
from emulator.removal import Removal
from emulator.resource import Resource
from emulator.storage import Storage
from emulator.task import Ending, Task

if TYPE_CHECKING:
    from emulator.pool import Pool

_S = BatchNodeState
DIRECTORIES = ("applications", "fsmounts", "shared", "startup", "volatile", "workitems")
AGENT_VERSION = "1.0.0"
_LONGEST_RETENTION = timedelta(days=365)
_RECENT = 10  # tasks that a node lists


class Node(Resource):
    """One node of a pool. Its methods change state at once; what takes time goes on in coroutines."""

    def __init__(self, pool: Pool, serial: int, *, dedicated: bool) -> None:
        self.pool = pool
        self.account = pool.account
        self.serial = serial
        node_id = f"tvmps_{secrets.token_hex(32)}_{'d' if dedicated else 'p'}"
        now = self.account.clock.stamp()
        configuration = pool.model.get("virtualMachineConfiguration")  # Cloud Services have no image
        self.model = BatchNode(
            {
                "id": node_id,
                "url": f"{pool.model['url']}/nodes/{node_id}",
                "schedulingState": "enabled",
                "allocationTime": now,
                "ipAddress": f"10.0.{serial // 250 % 256}.{4 + serial % 250}",
                "affinityId": f"TVM:{node_id}",
                "vmSize": pool.model["vmSize"],
                "totalTasksRun": 0,
                "totalTasksSucceeded": 0,
                "runningTasksCount": 0,
                "runningTaskSlotsCount": 0,
                "isDedicated": dedicated,
            }
        )
        if configuration is not None:
            image = {**configuration["imageReference"], "exactVersion": "1.0.0"}
            self.model["virtualMachineInfo"] = {"imageReference": image}
        transition(self.model, _S.CREATING, now)
        self.directory = self.account.directory / pool.id / node_id
        self.slots: int = pool.model["taskSlotsPerNode"]
        self.free_slots = self.slots
        self.on_it: dict[Task, asyncio.Task[Outcome | None]] = {}
        self.emptied = asyncio.Event()
        self.emptied.set()
        self.leaving = False  # it takes no more tasks, and goes when those on it have ended
        self.refused: set[Job] = set()  # the jobs whose preparation failed here
        self.users: dict[str, dict[str, Any]] = {}  # by lower-cased name, without their secrets
        self._kept: dict[Task, None] = {}  # completed tasks whose files are there until their retention time is over
        self._let_go = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[Outcome] | None = None  # the start task that nobody waits for

    @property
    def gone(self) -> bool:
        """Whether it has left its pool."""
        return self.pool.nodes.get(self.id) is not self

    @property
    def up(self) -> bool:
        """Whether commands can be run on it."""
        return self.state in ("idle", "running")

    @property
    def open(self) -> bool:
        """Whether tasks may be given to it, when they fit."""
        return self.up and not self.leaving and self.model["schedulingState"] == "enabled"

    @property
    def storage(self) -> Storage:
        """Storage as its tasks reach it: with the identities that its pool has now."""
        return replace(self.account.storage, identities=self.pool.identities)

    def enter(self, state: BatchNodeState) -> None:
        """Enter a state."""
        transition(self.model, state, self.account.clock.stamp())
        self.pool.opened(self)

    def live(self, life: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Go on with this life when the present one, cut short, is over."""
        previous = self._life
        if previous is not None:
            previous.cancel()
        self._life = self.account.spawn(self._after(previous, life))
        return self._life

    @staticmethod
    async def _after(previous: asyncio.Task[None] | None, life: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        await life()

    # From creation to work

    async def boot(self, seconds: float) -> None:
        """Come up within `seconds` of the service's time, run the start task, and take tasks."""
        await self.account.clock.delay(seconds)
        for name in DIRECTORIES:
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        if self.state != "starting":
            self.enter(_S.STARTING)
        self.model["lastBootTime"] = self.account.clock.stamp()
        self.model["nodeAgentInfo"] = {"version": AGENT_VERSION, "lastUpdateTime": self.model["lastBootTime"]}
        await self.account.clock.delay(self.account.delays.start)
        start_task: BatchStartTask | None = self.pool.model.start_task
        if start_task is None:
            self.model.start_task = self.model.start_task_info = None
            self._ready()
            return
        self.model.start_task = start_task
        if not start_task.get("waitForSuccess", True):
            self._ready()
            self._starting = self.account.spawn(self._start(start_task))
            return
        self.enter(_S.WAITING_FOR_START_TASK)
        if (await self._start(start_task)).succeeded:
            self._ready()
        else:
            self.enter(_S.START_TASK_FAILED)

    def _ready(self) -> None:
        self.enter(_S.IDLE)
        self.pool.schedule()

    async def _start(self, start_task: BatchStartTask) -> Outcome:
        """Run the start task until it succeeds or its retries are used up."""
        directory = self.directory / "startup"
        command = Command(
            self.pool.runnable(start_task["commandLine"]),
            directory,
            environment.of_start_task(self, directory, start_task.environment_settings),
            start_task.resource_files or (),
        )
        info = self.model.start_task_info = BatchStartTaskInfo(
            {"state": "running", "startTime": self.account.clock.stamp(), "retryCount": 0}
        )
        outcome = CUT_SHORT
        try:
            outcome = await retried(
                lambda: self._start_once(command), info, start_task.get("maxTaskRetryCount", 0), self.account.clock
            )
        finally:
            info["state"] = "completed"
            outcome.tell(info, self.account.clock.stamp())
        return outcome

    async def _start_once(self, command: Command) -> Outcome:
        if not self.account.faults.start_task_fails():
            return await self.account.attempt(command, self.storage)
        self.account.service.log.warning("%s: start task failed, on request", self.account.name)
        return exited(1)

    # Tasks

    def job_directory(self, job: Job) -> Path:
        """Where a job's tasks have their directories."""
        return self.directory / "workitems" / job.directory

    def accept(self, task: Task) -> None:
        """Take a task that was scheduled here."""
        task.placed(self)
        self._forget_kept([task])
        self.free_slots -= task.held_slots
        self.model["runningTasksCount"] += 1
        self.model["runningTaskSlotsCount"] += task.held_slots
        self.emptied.clear()
        if self.state == "idle":
            self.enter(_S.RUNNING)
        else:
            self.pool.opened(self)
        job = task.job
        task.model["nodeInfo"] = {
            "affinityId": self.model["affinityId"],
            "nodeUrl": self.model["url"],
            "poolId": self.pool.id,
            "nodeId": self.id,
            "taskRootDirectory": f"workitems/{job.directory}/{task.id}",
            "taskRootDirectoryUrl": f"{self.model['url']}/files/workitems/{job.directory}/{task.id}",
        }
        job.placed(task, self)
        if job.model.get("jobPreparationTask") is None:
            self._begin(task)
        else:
            job.move(task, BatchTaskState.PREPARING)
        attempt = self.on_it[task] = self.account.spawn(self._run(task))
        # Not in a `finally` of `_run`: a coroutine cancelled before its first step never comes to that.
        attempt.add_done_callback(lambda done: self._ran(task, done))

    def _begin(self, task: Task) -> None:
        task.job.move(task, BatchTaskState.RUNNING)
        task.execution["startTime"] = self.account.clock.stamp()
        task.began = time.monotonic()

    async def _run(self, task: Task) -> Outcome | None:
        """Prepare the job if need be, and run the task once; None when the job cannot be prepared here."""
        if task.state == "preparing":
            if not await preparation.prepare(self, task.job):
                self.refused.add(task.job)
                task.ending = Ending.UNPREPARED
                return None
            self._begin(task)
        return await self._attempt(task)

    def _ran(self, task: Task, done: asyncio.Task[Outcome | None]) -> None:
        if self.account.closing:
            return
        outcome: Outcome | None = None
        if not done.cancelled():
            fault = done.exception()
            task.message = f"The emulator failed: {fault}"
            outcome = None if fault else done.result()
        elif task.ending is None:
            task.ending = Ending.REQUEUE  # the preparation that it waited for was stopped
        self._release(task, outcome)

    async def _attempt(self, task: Task) -> Outcome:
        """Run the task once; its output files are uploaded unless it is to be tried again."""
        command = self._command(task)
        outcome = await self.account.attempt(command, self.storage)
        output_files = task.model.output_files
        if not output_files or task.job.retries(task, outcome):
            return outcome
        return await upload(outcome, output_files, command, self.directory, self.storage)

    def _command(self, task: Task) -> Command:
        directory = self.job_directory(task.job) / task.id
        return Command(
            self.pool.runnable(task.model["commandLine"]),
            directory,
            environment.of_task(self, task.job, directory, task.id, task.model.get("environmentSettings")),
            task.model.resource_files or (),
            task.limit,
            task.job.statistics.spent,
        )

    def _release(self, task: Task, outcome: Outcome | None) -> None:
        """The task is off this node: count it, pass it on, and make room for the next."""
        del self.on_it[task]
        self.free_slots += task.held_slots
        self.model["runningTasksCount"] -= 1
        self.model["runningTaskSlotsCount"] -= task.held_slots
        self.model["totalTasksRun"] += 1
        if outcome is not None and outcome.succeeded:
            self.model["totalTasksSucceeded"] += 1
        deleted = task.ending is Ending.DELETE
        task.job.left(task, outcome)
        if deleted:
            self.clear(task)
        elif task.state == "completed":
            self._retain(task)
        self._remember(task)
        if not self.on_it:
            self.emptied.set()
            if self.state == "running":
                self.enter(_S.IDLE)
        self.pool.opened(self)
        self.pool.schedule()

    def _retain(self, task: Task) -> None:
        """Keep the files of a completed task for its retention time."""
        length = min(read_duration(task.constraints["retentionTime"]), _LONGEST_RETENTION)
        self._kept[task] = None
        task.forget()
        end = task.execution.get("endTime")
        task.retention = self.account.later(length, self._retention_over, task, end)

    def _retention_over(self, task: Task, end: str) -> None:
        if task.state == "completed" and task.execution.get("endTime") == end and not self.gone:
            self.clear(task)

    def _remember(self, task: Task) -> None:
        recent = self.model.setdefault("recentTasks", [])
        recent[:] = [entry for entry in recent if entry["taskUrl"] != task.model["url"]][: _RECENT - 1]
        recent.insert(
            0,
            {
                "taskUrl": task.model["url"],
                "jobId": task.job.id,
                "taskId": task.id,
                "taskState": task.state,
                "executionInfo": dict(task.execution.items()),
            },
        )

    def stop(self, task: Task, ending: Ending) -> None:
        """End a task here; it comes off the node when its processes are gone."""
        stopping = task.ending is not None
        if not stopping or ending is Ending.DELETE or task.ending is Ending.REQUEUE:
            task.ending = ending  # it does not run again for a job that ends meanwhile
        if not stopping:
            self.on_it[task].cancel()

    def clear(self, task: Task) -> None:
        """Remove the files of a task that is not running, unless a new one of its id has come."""
        self._forget_kept([task])
        if task.job.tasks.get(task.id) not in (None, task):
            return
        self._removal.discard(self.job_directory(task.job) / task.id, ignore_errors=True)

    def clear_job(self, job: Job) -> None:
        """Remove the files of all tasks of a job."""
        self._forget_kept([task for task in self._kept if task.job is job])
        directory = self.job_directory(job)
        self._removal.discard(directory, ignore_errors=True)
        with contextlib.suppress(OSError):  # other jobs of its schedule are in there, or it never was
            directory.parent.rmdir()

    def _forget_kept(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._kept.pop(task, None)
        self._let_go.set()

    def wipe(self) -> None:
        """Remove all its files."""
        self._removal.discard(self.directory, ignore_errors=True)

    @property
    def _removal(self) -> Removal:
        return self.account.service.removal

    # Leaving

    async def empty(self, option: str, why: str) -> None:
        """Get rid of the tasks: requeue or terminate them, or wait for them."""
        if option in ("requeue", "terminate"):
            ending = Ending.REQUEUE if option == "requeue" else Ending.TERMINATE
            for task in list(self.on_it):
                task.message = f"The task was ended because {why}"
                self.stop(task, ending)
            await preparation.stop(self)
        await self.emptied.wait()
        if option == "retaineddata":
            await self.retained()
        if not self.up:
            await preparation.end(self)
            await cut_short([self._starting] if self._starting else [])

    async def retained(self) -> None:
        """Wait until no completed task's files need to be kept any more."""
        while self._kept:
            self._let_go.clear()
            await self._let_go.wait()
