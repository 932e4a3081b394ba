"""The tasks that are ready to run in one pool: by job priority, then the oldest first, never scanned."""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.job import Job
    from emulator.task import Task

_tickets = itertools.count(1)


class ReadyTasks:
    """One job's ready tasks, by the slots they need.

    A task that is taken out of order (terminated, deleted) merely loses its ticket: its entry is dropped
    when it comes to the top.
    """

    def __init__(self) -> None:
        self._heaps: dict[int, list[tuple[int, int, Task]]] = {}
        self._number = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._number

    def push(self, task: Task) -> None:
        """Queue a task; one that was requeued stands where its age puts it."""
        self._number += not task.ticket
        task.ticket = next(_tickets)
        heapq.heappush(self._heaps.setdefault(task.slots, []), (task.serial, task.ticket, task))

    def heads(self) -> list[Task]:
        """The oldest task for each number of slots, the oldest first."""
        found = []
        for slots, heap in list(self._heaps.items()):
            while heap and heap[0][2].ticket != heap[0][1]:
                heapq.heappop(heap)
            if heap:
                found.append(heap[0])
            else:
                del self._heaps[slots]
        return [entry[2] for entry in sorted(found)]

    def pop(self, task: Task) -> None:
        """Take a task off that `heads` gave."""
        heapq.heappop(self._heaps[task.slots])
        self.drop(task)

    def drop(self, task: Task) -> None:
        """A task is not ready any more, if it was."""
        self._number -= bool(task.ticket)
        task.ticket = 0


class Queue:
    """The jobs that have ready tasks for one pool, in the order in which they are served.

    It belongs to a pool's id, not to a pool: tasks may wait for a pool that does not exist (yet).
    """

    def __init__(self) -> None:
        self._jobs: list[tuple[int, int, Job]] = []
        self._places: dict[Job, tuple[int, int, Job]] = {}

    def push(self, task: Task) -> None:
        """Queue a task of a job."""
        task.job.ready.push(task)
        self.place(task.job)

    def place(self, job: Job) -> None:
        """Put a job in its place, anew when its priority changed."""
        place = (-job.priority, job.serial, job)
        if self._places.get(job) != place:
            self.drop(job)
            self._places[job] = place
            bisect.insort(self._jobs, place)

    def drop(self, job: Job) -> None:
        """Take a job with all its ready tasks off the queue."""
        if job in self._places:
            self._jobs.remove(self._places.pop(job))

    def heads(self) -> Iterator[Task]:
        """The tasks that may be the next to run, the most urgent first."""
        for _, _, job in list(self._jobs):
            heads = job.ready.heads()
            if not heads:
                self.drop(job)
            elif job.may_start:
                yield from heads
