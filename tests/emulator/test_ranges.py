"""Ranges of integers that something waits for, against what the definition says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from emulator.ranges import Ranges

NUMBERS = st.integers(0, 12)
STEPS = st.lists(
    st.tuples(st.just("add"), NUMBERS, NUMBERS)
    | st.tuples(st.just("satisfy"), NUMBERS)
    | st.tuples(st.just("forget"), NUMBERS),
    max_size=60,
)


@given(STEPS)
def test_a_range_is_met_when_all_in_it_are_satisfied(steps: list[tuple[str, int] | tuple[str, int, int]]) -> None:
    ranges = Ranges[int]()
    satisfied: set[int] = set()
    waiting: dict[int, set[int]] = {}
    for serial, step in enumerate(steps):
        if len(step) == 3:
            first, last = sorted(step[1:])
            wanted = set(range(first, last + 1))
            assert ranges.add(serial, first, last) == (not wanted <= satisfied)
            if not wanted <= satisfied:
                waiting[serial] = wanted
        elif step[0] == "satisfy":
            satisfied.add(step[1])
            met = [serial for serial, wanted in waiting.items() if wanted <= satisfied]
            assert sorted(ranges.satisfied(step[1])) == met
            for each in met:
                del waiting[each]
        else:
            satisfied.discard(step[1])
            ranges = ranges.without(step[1])
