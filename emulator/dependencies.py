"""Which tasks of a job wait for which others, by id and by ranges of ids that are integers."""

from __future__ import annotations

import bisect
from collections import defaultdict
from dataclasses import dataclass, field

from azure.batch.models import BatchTaskDependencies

from emulator.conditions import satisfies_dependents
from emulator.task import Task


@dataclass
class _Range:
    """A range of ids that some tasks depend on."""

    unmet: int
    waiting: list[Task] = field(default_factory=list)


class Dependencies:
    """The dependencies of one job; a task's `unmet` counts those that are not satisfied yet.

    Equal ranges are counted once, so the end of a task costs as many steps as there are distinct ranges.
    """

    def __init__(self) -> None:
        self._satisfied: set[str] = set()  # lower-cased ids
        self._integers: list[int] = []  # the satisfied ids that are integers, sorted, each once
        self._waiting: defaultdict[str, list[Task]] = defaultdict(list)
        self._ranges: dict[tuple[int, int], _Range] = {}

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
            bounds = (wanted.start, wanted.end)
            found = self._ranges.get(bounds)
            if found is None:
                met = bisect.bisect_right(self._integers, bounds[1]) - bisect.bisect_left(self._integers, bounds[0])
                found = self._ranges[bounds] = _Range(bounds[1] - bounds[0] + 1 - met)
            if found.unmet:
                found.waiting.append(task)
                task.unmet += 1

    def completed(self, task: Task) -> list[Task]:
        """The tasks that may run now that one has completed."""
        name = task.id.lower()
        if not satisfies_dependents(task) or name in self._satisfied:
            return []
        self._satisfied.add(name)
        met = self._waiting.pop(name, [])
        if name.isdecimal() and name.isascii():
            met += self._integer_satisfied(int(name))
        ready = []
        for dependent in met:
            dependent.unmet -= 1
            if not dependent.unmet and dependent.state == "active":
                ready.append(dependent)
        return ready

    def deleted(self, task: Task) -> None:
        """Forget that a task has satisfied what depends on it: one that is added later may be of its name."""
        name = task.id.lower()
        if name not in self._satisfied:
            return
        self._satisfied.remove(name)
        if name.isdecimal() and name.isascii() and int(name) in self._integers:  # "007" may have gone before "7"
            self._integers.remove(int(name))
            for (start, end), found in self._ranges.items():
                found.unmet += start <= int(name) <= end

    def _integer_satisfied(self, number: int) -> list[Task]:
        place = bisect.bisect_left(self._integers, number)
        if place < len(self._integers) and self._integers[place] == number:
            return []  # "7" and "007" are one integer
        self._integers.insert(place, number)
        met: list[Task] = []
        for (start, end), found in self._ranges.items():
            if start <= number <= end:
                found.unmet -= 1
                if not found.unmet:
                    met += found.waiting
                    found.waiting = []
        return met
