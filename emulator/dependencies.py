"""Which tasks of a job wait for which others, by id and by ranges of ids that are integers."""

from __future__ import annotations

from collections import defaultdict

from azure.batch.models import BatchTaskDependencies

from emulator.conditions import satisfies_dependents
from emulator.ranges import Ranges
from emulator.task import Task


class Dependencies:
    """The dependencies of one job; a task's `unmet` counts those that are not satisfied yet."""

    def __init__(self) -> None:
        self._satisfied: set[str] = set()  # lower-cased ids
        self._waiting: defaultdict[str, list[Task]] = defaultdict(list)
        self._ranges = Ranges[Task]()

    def add(self, task: Task) -> None:
        """Note what a new task waits for."""
        depends_on: BatchTaskDependencies | None = task.model.depends_on
        if depends_on is None:
            return
        for wanted in {task_id.lower() for task_id in depends_on.get("taskIds") or ()}:
            if wanted not in self._satisfied:
                self._waiting[wanted].append(task)
                task.unmet += 1
        for wanted in depends_on.task_id_ranges or ():
            task.unmet += self._ranges.add(task, wanted.start, wanted.end)

    def completed(self, task: Task) -> list[Task]:
        """The tasks that may run now that one has completed."""
        name = task.id.lower()
        if not satisfies_dependents(task) or name in self._satisfied:
            return []
        self._satisfied.add(name)
        met = self._waiting.pop(name, [])
        if _is_integer(name):
            met += self._ranges.satisfied(int(name))
        ready = []
        for dependent in met:
            dependent.unmet -= 1
            if not dependent.unmet and dependent.state == "active":
                ready.append(dependent)
        return ready

    def deleted(self, task: Task) -> None:
        """Forget that a task has satisfied what depends on it: one that is added later may be of its name."""
        name = task.id.lower()
        if name in self._satisfied:
            self._satisfied.remove(name)
            if _is_integer(name):
                self._ranges = self._ranges.without(int(name))


def _is_integer(name: str) -> bool:
    return name.isdecimal() and name.isascii()
