"""A job: its tasks, their counts, and what follows from a task's end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from azure.batch.models import (
    BatchJob,
    BatchJobManagerTask,
    BatchTask,
    BatchTaskCreateOptions,
    BatchTaskExecutionInfo,
    BatchTaskState,
)

from emulator import attempt, clock, job_states
from emulator.attempt import Outcome
from emulator.dependencies import Dependencies
from emulator.errors import (
    JobBeingDeleted,
    JobBeingTerminated,
    JobCompleted,
    TaskCompleted,
    TaskExists,
    TaskNotCompleted,
    TaskNotFound,
    TaskSucceeded,
)
from emulator.lifecycle import transition
from emulator.listing import Listing
from emulator.queue import Queue, ReadyTasks
from emulator.resource import Resource
from emulator.statistics import Statistics
from emulator.task import Ending, Task

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.job_schedule import JobSchedule
    from emulator.node import Node
    from emulator.preparation import Preparation

UNLIMITED_PARALLEL = -1


class Job(Resource):
    """One job, its tasks by lower-cased id."""

    def __init__(self, account: Account, model: BatchJob, serial: int, job_schedule: JobSchedule | None = None) -> None:
        self.account = account
        self.model = model
        self.serial = serial
        self.job_schedule = job_schedule  # that made it
        self.tasks = Listing[Task]()
        self.ready = ReadyTasks()
        self.dependencies = Dependencies()
        above = (account.statistics,) if job_schedule is None else (account.statistics, job_schedule.statistics)
        self.statistics = Statistics(*above)
        self.counts: Counter[str] = Counter()  # tasks: active, running, completed, succeeded, failed
        self.slot_counts: Counter[str] = Counter()  # the same, in task slots
        self._shown = (asyncio.get_running_loop().time(), Counter[str](), Counter[str]())
        self.on_nodes: set[Task] = set()  # the tasks that are preparing or running
        self.prepared: dict[Node, Preparation] = {}
        self.preparations = Listing["Preparation"]()  # the same, for those who list them
        self.nodes: set[Node] = set()  # where files of its tasks may be
        self.idle = asyncio.Event()  # set while no task of it is on a node
        self.idle.set()
        self._changing: asyncio.Task[None] | None = None
        self.clock_limit: asyncio.TimerHandle | None = None  # its maximum wall clock time

    @property
    def priority(self) -> int:
        """From -1000 to 1000; the higher goes first."""
        return self.model["priority"]

    @property
    def pool_id(self) -> str:
        """The id of the pool its tasks run in; that pool may not exist."""
        assert self.model.execution_info is not None, "every job has it from its creation"
        return self.model.execution_info["poolId"]

    @property
    def directory(self) -> str:
        """Where its tasks' directories are, below a node's `workitems`; a job schedule numbers its jobs."""
        return self.id.replace(":", "/") if self.job_schedule else f"{self.id}/job-1"

    @property
    def queue(self) -> Queue:
        """Where its ready tasks wait."""
        return self.account.queue(self.pool_id)

    @property
    def may_start(self) -> bool:
        """Whether one more of its tasks may be given to a node."""
        parallel = self.model["maxParallelTasks"]
        return self.state == "active" and (parallel == UNLIMITED_PARALLEL or len(self.on_nodes) < parallel)

    def change(self, change: Coroutine[Any, Any, None]) -> None:
        """Go on with this change of state instead of the one under way."""
        if self._changing is not None:
            self._changing.cancel()
        self._changing = self.account.spawn(change)

    def task(self, task_id: str) -> Task:
        """The task of an id, however it is capitalised.

        Raises:
            TaskNotFound: when there is none.
        """
        task = self.tasks.get(task_id)
        if task is None:
            raise TaskNotFound
        return task

    def writable(self) -> None:
        """Refuse what a job takes no more once it ends."""
        if self.state == "deleting":
            raise JobBeingDeleted
        if self.state == "terminating":
            raise JobBeingTerminated
        if self.state == "completed":
            raise JobCompleted

    def add(self, options: BatchTaskCreateOptions, manager: BatchJobManagerTask | None = None) -> Task:
        """Add a task, whose options were checked; `manager` is what is beyond them in a job manager task.

        Raises:
            TaskExists: when there is a task of that id.
            JobCompleted, JobBeingTerminated, JobBeingDeleted: by the job's state.
        """
        self.writable()
        if options["id"] in self.tasks:
            raise TaskExists
        now = self.account.clock.stamp()
        model = BatchTask(
            {
                "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}},
                "requiredSlots": 1,
                **options,
                "constraints": {
                    "maxWallClockTime": clock.UNLIMITED,
                    "retentionTime": "P7D",
                    "maxTaskRetryCount": self.model["constraints"]["maxTaskRetryCount"],
                    **(options.get("constraints") or {}),
                },
                "url": f"{self.model['url']}/tasks/{options['id']}",
                "eTag": clock.etag(),
                "creationTime": now,
                "lastModified": now,
                "executionInfo": {"retryCount": 0, "requeueCount": 0},
            }
        )
        task = Task(self, model, self.account.next_serial(), manager)
        transition(model, BatchTaskState.ACTIVE, now)
        self.tasks.add(task.id, task)
        self._count(task, 1)
        self.dependencies.add(task)
        if not task.unmet:
            self.enqueue(task)
        return task

    def enqueue(self, task: Task) -> None:
        """Let an active task wait for a node; one that was deleted meanwhile waits for nothing."""
        if self.tasks.get(task.id) is not task:
            return
        self.queue.push(task)
        self.account.schedule(self.pool_id)

    def _count(self, task: Task, by: int) -> None:
        state = task.state
        keys = ["running" if state == "preparing" else state]
        if state == "completed":
            keys.append("succeeded" if task.execution.get("result") == "success" else "failed")
        for key in keys:
            self.counts[key] += by
            self.slot_counts[key] += by * task.slots

    def shown_counts(self) -> tuple[Counter[str], Counter[str]]:
        """The counts as clients see them: out of date by up to the lag that a test asked for."""
        now = asyncio.get_running_loop().time()
        if now - self._shown[0] >= self.account.faults.task_counts_lag:
            self._shown = (now, self.counts.copy(), self.slot_counts.copy())
        return self._shown[1:]

    def move(self, task: Task, finish: BatchTaskState) -> None:
        """Let a task enter a state, and count it there."""
        self._count(task, -1)
        transition(task.model, finish, self.account.clock.stamp())
        if finish is not BatchTaskState.COMPLETED:
            self._count(task, 1)

    def placed(self, task: Task, node: Node) -> None:
        """A node takes a task."""
        task.node = node
        task.ending = None
        self.nodes.add(node)
        self.on_nodes.add(task)
        self.idle.clear()

    def left(self, task: Task, outcome: Outcome | None) -> None:
        """A task came off its node: with an outcome, or stopped there, as its `ending` says."""
        self.on_nodes.discard(task)
        if task.state == "running":
            self.statistics.ran(task)
        ending, task.ending = task.ending, None
        if ending is Ending.DELETE:
            pass
        elif outcome is not None and self.retries(task, outcome):
            self.statistics.retried()
            self._again(task, "retryCount", "lastRetryTime")
        elif outcome is not None:
            self.complete(task, outcome)
        elif ending is Ending.REQUEUE:
            self._again(task, "requeueCount", "lastRequeueTime")
        elif ending is Ending.UNPREPARED:
            self.move(task, BatchTaskState.ACTIVE)
            self.enqueue(task)
        else:
            ran = task.state == "running"
            self.complete(task, Outcome(attempt.KILLED if ran else None, attempt.ended(task.message)))
        if not self.on_nodes:
            self.idle.set()

    def retries(self, task: Task, outcome: Outcome) -> bool:
        """Whether a task that ended so is to be tried again."""
        ending = self.state in ("terminating", "deleting", "completed")
        return outcome.retryable and task.retries_left and not ending

    def _again(self, task: Task, count: str, moment: str) -> None:
        execution = task.execution
        self.move(task, BatchTaskState.ACTIVE)
        execution.pop("startTime", None)  # only tasks that run or have run have it
        execution[count] += 1
        execution[moment] = self.account.clock.stamp()
        self.enqueue(task)

    def complete(self, task: Task, outcome: Outcome) -> None:
        """A task has ended for good; whatever depends on that follows."""
        self.ready.drop(task)
        execution = task.execution
        self.move(task, BatchTaskState.COMPLETED)
        outcome.tell(execution, self.account.clock.stamp())
        self._count(task, 1)
        self.statistics.completed(task)
        for dependent in self.dependencies.completed(task):
            self.enqueue(dependent)
        job_states.task_completed(self, task)

    def stop(self, task: Task, ending: Ending, message: str) -> None:
        """End a task wherever it is; one on a node ends a moment later, when its processes are gone."""
        if task in self.on_nodes:
            assert task.node is not None, "a task on a node has that node"
            task.message = message
            task.node.stop(task, ending)
        elif ending is Ending.TERMINATE:
            self.complete(task, Outcome(failure=attempt.ended(message)))

    def terminate_task(self, task: Task) -> None:
        """End one task at a user's wish.

        Raises:
            TaskCompleted: when it has ended.
        """
        if task.state == "completed":
            raise TaskCompleted
        self.stop(task, Ending.TERMINATE, "The task was ended by user request")

    def reactivate_task(self, task: Task) -> None:
        """Let a failed task run again, its retry count starting anew.

        Raises:
            TaskNotCompleted, TaskSucceeded: when there is nothing to do again.
        """
        self.writable()
        if task.state != "completed":
            raise TaskNotCompleted
        if task.execution.get("exitCode") == 0 and task.execution["result"] == "success":
            raise TaskSucceeded
        self.move(task, BatchTaskState.ACTIVE)
        requeues = task.execution["requeueCount"]
        task.model.execution_info = BatchTaskExecutionInfo({"retryCount": 0, "requeueCount": requeues})
        task.model.node_info = None
        if not task.unmet:
            self.enqueue(task)

    def delete_task(self, task: Task) -> None:
        """Forget a task; one that runs is stopped, and its files go."""
        self._count(task, -1)
        self.tasks.remove(task.id)
        self.dependencies.deleted(task)
        task.forget()
        self.ready.drop(task)
        running = task in self.on_nodes
        self.stop(task, Ending.DELETE, "")
        if not running and task.node is not None:
            task.node.clear(task)
        job_states.all_tasks_complete(self)
