"""The looks at a job: how many they are, and how late the last one is, by simulated jobs of a steady pace."""

from __future__ import annotations

import bisect
import itertools
import random

import pytest

from tasks.interval import LONGEST, SHORTEST, Interval

LOOK = 0.02  # seconds that a look itself takes


def _watch(ends: list[float]) -> tuple[list[float], int]:
    """When each look was, at a job whose files end then, and how many looks found something new."""
    interval, now, looks, seen, moved = Interval(0.0), 0.0, [], 0, 0
    while seen < len(ends):
        looks.append(now)
        settled = bisect.bisect(ends, now)
        moved += settled > seen
        seen = settled
        now += LOOK + interval.next_seconds(now, settled, len(ends) - settled)
    return looks, moved


def _ends(files: int, per_second: float, start: float) -> list[float]:
    dice = random.Random(files)
    return list(itertools.accumulate((dice.expovariate(per_second) for _ in range(files)), initial=start))[1:]


@pytest.mark.parametrize(
    ("files", "per_second", "start", "most_calls"),
    [(3, 2, 2, 10), (1000, 30, 3, 20), (1000, 30, 200, 60), (10_000, 30, 3, 100), (100_000, 1000, 2, 40)],
)
def test_watching_costs_calls_by_the_job_and_not_by_the_file(
    files: int, per_second: float, start: float, most_calls: int
) -> None:
    looks, moved = _watch(_ends(files, per_second, start))
    assert len(looks) + moved <= most_calls  # one of counts each, and a listing when they moved


@pytest.mark.parametrize(("files", "per_second", "start"), [(3, 2, 2), (20, 5, 2), (1000, 30, 200), (10_000, 5, 300)])
def test_the_last_look_comes_soon_after_the_end(files: int, per_second: float, start: float) -> None:
    ends = _ends(files, per_second, start)
    looks, _ = _watch(ends)
    assert looks[-1] - ends[-1] <= SHORTEST.total_seconds() + LOOK


def test_a_job_that_stands_still_is_looked_at_ever_less_often_but_often_enough() -> None:
    interval = Interval(100.0)
    pauses = [interval.next_seconds(100.0 + elapsed, 0, 10) for elapsed in (0, 20, 60, 300, 3600)]
    assert pauses == [SHORTEST.total_seconds(), 5, LONGEST.total_seconds(), LONGEST.total_seconds(), 120]


def test_a_few_files_say_little_of_the_pace_and_many_a_lot() -> None:
    few, many = Interval(0.0), Interval(0.0)
    few.next_seconds(0.0, 0, 12)
    many.next_seconds(0.0, 0, 1200)
    assert few.next_seconds(2.0, 2, 10) < 3 < 6 < many.next_seconds(2.0, 200, 1000)  # though both have 10 s to go
