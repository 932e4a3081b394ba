"""The history of a metric: one sample a period, late, with gaps, and the oldest dropped."""

from datetime import UTC, datetime, timedelta

import pytest

from emulator.autoscale import Samples

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
STEP = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)


def recorded(count: int, *, delay: timedelta = timedelta(0)) -> Samples:
    """`count` samples until NOON, one every 30 s, the last with the value `count`."""
    samples = Samples(delay=delay)
    for number in range(1, count + 1):
        samples.record(NOON - (count - number) * STEP, number)
    return samples


def test_a_sample_can_be_read_only_after_the_delay():
    samples = Samples(delay=MINUTE)
    samples.record(NOON, 7)
    assert samples.latest(1, NOON + MINUTE - timedelta(microseconds=1)) == []
    assert samples.latest(1, NOON + MINUTE) == [7]


def test_the_last_value_of_a_period_is_its_sample():
    samples = Samples(delay=timedelta(0))
    samples.record(NOON + timedelta(seconds=1), 1)
    samples.record(NOON + timedelta(seconds=29), 2)
    samples.record(NOON + timedelta(seconds=31), 3)
    assert samples.available(NOON + MINUTE) == [(NOON, 2), (NOON + STEP, 3)]


def test_a_period_is_due_until_it_has_its_sample():
    samples = Samples()
    assert samples.is_due(NOON)
    samples.record(NOON + timedelta(seconds=10), 1)
    assert not samples.is_due(NOON + timedelta(seconds=29))
    assert samples.is_due(NOON + STEP)


def test_the_oldest_samples_are_dropped():
    samples = Samples(delay=timedelta(0), history=MINUTE)
    for number in range(5):
        samples.record(NOON + number * STEP, number)
    assert samples.latest(10, NOON + timedelta(hours=1)) == [3, 4]


def test_the_latest_are_given_oldest_first_and_fewer_when_there_are_fewer():
    samples = recorded(4)
    assert samples.latest(2, NOON) == [3, 4]
    assert samples.latest(9, NOON) == [1, 2, 3, 4]
    assert samples.latest(0, NOON) == []


def test_ten_minutes_hold_twenty_samples():
    samples = recorded(40)
    assert samples.between(NOON - 10 * MINUTE, NOON, NOON) == list(range(21, 41))
    assert samples.percent(NOON - 10 * MINUTE, NOON, NOON) == 100


def test_when_the_last_minute_is_not_yet_there_ten_minutes_are_at_ninety_percent():
    samples = recorded(40, delay=MINUTE)
    assert len(samples.between(NOON - 10 * MINUTE, NOON, NOON)) == 18
    assert samples.percent(NOON - 10 * MINUTE, NOON, NOON) == 90


def test_a_missed_period_lowers_the_percentage():
    samples = Samples(delay=timedelta(0))
    for number in (1, 2, 4):
        samples.record(NOON + number * STEP, number)
    assert samples.percent(NOON, NOON + 2 * MINUTE, NOON + 2 * MINUTE) == 75


def test_a_time_frame_shorter_than_a_period_wants_one_sample():
    samples = recorded(1)
    assert samples.percent(NOON - timedelta(seconds=10), NOON, NOON) == 100
    assert samples.percent(NOON - MINUTE, NOON - timedelta(seconds=50), NOON) == 0


def test_a_sample_before_the_last_one_is_refused():
    samples = recorded(1)
    with pytest.raises(ValueError, match="comes before the last one"):
        samples.record(NOON - STEP, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_sample_that_is_no_number_is_refused(value: float):
    with pytest.raises(ValueError, match="finite"):
        Samples().record(NOON, value)


def test_a_history_shorter_than_a_period_is_refused():
    with pytest.raises(ValueError, match="cannot be kept"):
        Samples(history=timedelta(seconds=29))
