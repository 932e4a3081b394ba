"""The history of one sampled metric, as autoscale formulas see it: late, and sometimes with gaps."""

import math
from collections import deque
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Samples:
    """The samples of one metric: at most one a period, readable only after a delay, the oldest dropped.

    `period` and `history` shape the ring; `delay` is the time from a sample's own time until formulas
    may read it. The documentation says that samples come every 30 s and take "approximately one
    minute"; why the delay here is 30 s: docs/autoscale-notes.md.
    """

    def __init__(
        self,
        *,
        period: timedelta = timedelta(seconds=30),
        delay: timedelta = timedelta(seconds=30),
        history: timedelta = timedelta(days=1),
    ) -> None:
        if period <= timedelta(0) or history < period or delay < timedelta(0):
            raise ValueError(f"A history of {history} with a sample every {period}, {delay} late, cannot be kept.")
        self.period = period
        self.delay = delay
        self._ring: deque[tuple[datetime, float]] = deque(maxlen=history // period)

    def record(self, time: datetime, value: float) -> None:
        """Take the metric's value at `time` (aware) as its period's sample; a period's last value stands.

        Raises ValueError for a value that is not a finite number, and for a time before the last sample.
        """
        if not math.isfinite(value):
            raise ValueError(f"A sample must be a finite number, not {value}.")
        start = time - (time - _EPOCH) % self.period
        if self._ring and start < self._ring[-1][0]:
            raise ValueError(f"A sample at {time} comes before the last one, of {self._ring[-1][0]}.")
        if self._ring and start == self._ring[-1][0]:
            self._ring.pop()
        self._ring.append((start, float(value)))

    def is_due(self, now: datetime) -> bool:
        """Whether the period of `now` has no sample yet."""
        return not self._ring or now - self._ring[-1][0] >= self.period

    def available(self, now: datetime) -> list[tuple[datetime, float]]:
        """The samples that a formula evaluated at `now` may read, the oldest first."""
        latest = now - self.delay
        return [sample for sample in self._ring if sample[0] <= latest]

    def latest(self, count: int, now: datetime) -> list[float]:
        """The values of the last `count` available samples, the oldest first; fewer when there are fewer."""
        values = [value for _, value in self.available(now)]
        return values[max(0, len(values) - count) :]

    def between(self, start: datetime, end: datetime, now: datetime) -> list[float]:
        """The values of the available samples after `start` and not after `end`, the oldest first."""
        return [value for time, value in self.available(now) if start < time <= end]

    def percent(self, start: datetime, end: datetime, now: datetime) -> float:
        """How much of the samples possible between `start` and `end` is available, in percent."""
        possible = max(1, (end - start) // self.period)
        return min(100.0, 100.0 * len(self.between(start, end, now)) / possible)
