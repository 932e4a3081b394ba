"""Ranges of integers, each of which is satisfied at some time: what waits for a range, and when it is met."""

from __future__ import annotations

import bisect
import heapq
import itertools
from typing import Generic, TypeVar

W = TypeVar("W")
_Heap = list[tuple[int, int, int, W]]  # (end, serial, start, what waits)


class Ranges(Generic[W]):
    """What waits for ranges of integers, each until all in its range are satisfied.

    The satisfied integers are kept as runs without gaps. A range waits at the run that its start is in, or at its start
    while that is not satisfied, and is met when that run reaches its end: so an integer costs the ranges that it meets,
    and seldom (when two runs grow together, the smaller one's) any other.
    """

    def __init__(self) -> None:
        self._integers: set[int] = set()
        self._firsts: list[int] = []  # the first of each run, sorted
        self._last: dict[int, int] = {}  # of the run with this first
        self._first: dict[int, int] = {}  # of the run with this last
        self._waiting: dict[int, _Heap[W]] = {}  # by the first of a run, or by the start itself
        self._serials = itertools.count()

    def add(self, waiter: W, start: int, end: int) -> bool:
        """Let something wait for a range; False when that is met already."""
        if start > end:
            return False
        place = bisect.bisect_right(self._firsts, start) - 1
        first = start
        if place >= 0 and self._last[self._firsts[place]] >= start:
            first = self._firsts[place]
            if self._last[first] >= end:
                return False
        heapq.heappush(self._waiting.setdefault(first, []), (end, next(self._serials), start, waiter))
        return True

    def satisfied(self, number: int) -> list[W]:
        """An integer is satisfied ("7" and "007" are one): what waits for a range that is met by that."""
        if number in self._integers:
            return []
        self._integers.add(number)
        first = self._first.pop(number - 1, number)
        last = self._last.pop(number + 1, number)
        if first == number:
            bisect.insort(self._firsts, number)
        if last != number:
            del self._firsts[bisect.bisect_left(self._firsts, number + 1)]
        self._first[last], self._last[first] = first, last
        waiting: _Heap[W] = []
        for joined in {first, number, number + 1}:
            if joined <= last:
                waiting = _merged(waiting, self._waiting.pop(joined, []))
        met = []
        while waiting and waiting[0][0] <= last:
            met.append(heapq.heappop(waiting)[3])
        if waiting:
            self._waiting[first] = waiting
        return met

    def without(self, number: int) -> Ranges[W]:
        """The same, with an integer that is not satisfied any more; what was met by it stays so."""
        if number not in self._integers:
            return self  # "007" may have gone before "7"
        found = Ranges[W]()
        for integer in self._integers - {number}:
            found.satisfied(integer)
        waiting = [entry for heap in self._waiting.values() for entry in heap]
        for end, _, start, waiter in sorted(waiting, key=lambda entry: entry[1]):
            found.add(waiter, start, end)
        return found


def _merged(one: _Heap[W], other: _Heap[W]) -> _Heap[W]:
    small, large = sorted((one, other), key=len)
    for entry in small:
        heapq.heappush(large, entry)
    return large
