"""The read-only variables of autoscale formulas: numbers of the pool with the methods of their history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from emulator.autoscale.errors import FormulaEvaluationError, Position, insufficient_sample_data
from emulator.autoscale.samples import Samples
from emulator.autoscale.values import TimeInterval, Timestamp, Value, kind

# What GetSample of a time frame asks for by itself. Not documented: a formula without a percentage was
# answered "wanted 70%" (Azure/batch-shipyard#138).
DEFAULT_SAMPLE_PERCENT = 70.0


@dataclass(frozen=True, slots=True)
class Metric:
    """One read-only variable at the time of an evaluation; `current` is its number now, if it has one."""

    name: str
    samples: Samples
    current: float | None
    now: datetime

    def number(self, position: Position) -> float:
        """The variable read as a double: the number now, else the last available sample."""
        if self.current is not None:
            return self.current
        values = self.samples.latest(1, self.now)
        if not values:
            raise insufficient_sample_data(self.name, 100, 0, position)
        return values[-1]

    def call(self, method: str, arguments: Sequence[Value], position: Position) -> Value:
        """The value of a method; raises FormulaEvaluationError for a wrong call or too few samples."""
        match method, arguments:
            case "GetSample", [float() as count]:
                return self._last(count, position)
            case "GetSample", [TimeInterval() | Timestamp() as start]:
                return self._frame(start, None, DEFAULT_SAMPLE_PERCENT, position)
            case "GetSample", [TimeInterval() | Timestamp() as start, float() as percent]:
                return self._frame(start, None, percent, position)
            case "GetSample", [
                TimeInterval() | Timestamp() as start,
                TimeInterval() | Timestamp() as end,
            ]:
                return self._frame(start, end, DEFAULT_SAMPLE_PERCENT, position)
            case "GetSample", [
                TimeInterval() | Timestamp() as start,
                TimeInterval() | Timestamp() as end,
                float() as percent,
            ]:
                return self._frame(start, end, percent, position)
            case "GetSamplePercent", [TimeInterval() | Timestamp() as start]:
                return self.samples.percent(*self._between(start, None), self.now)
            case "GetSamplePercent", [
                TimeInterval() | Timestamp() as start,
                TimeInterval() | Timestamp() as end,
            ]:
                return self.samples.percent(*self._between(start, end), self.now)
            case "GetSamplePeriod", []:
                return TimeInterval.of(self.samples.period)
            case "Count", []:
                return float(len(self.samples.available(self.now)))
            case "HistoryBeginTime", []:
                available = self.samples.available(self.now)
                if not available:
                    raise insufficient_sample_data(self.name, 100, 0, position)
                return Timestamp.of(available[0][0])
            case _:
                kinds = ", ".join(map(kind, arguments))
                raise FormulaEvaluationError(f"{self.name} has no method {method}({kinds})", position)

    def _last(self, count: float, position: Position) -> Value:
        if count < 1:
            raise FormulaEvaluationError(f"{self.name} cannot give {count:.15g} samples", position)
        return tuple(self.samples.latest(int(count), self.now))

    def _frame(
        self,
        start: TimeInterval | Timestamp,
        end: TimeInterval | Timestamp | None,
        wanted_percent: float,
        position: Position,
    ) -> Value:
        frame = self._between(start, end)
        percent = self.samples.percent(*frame, self.now)
        if percent < wanted_percent:
            raise insufficient_sample_data(self.name, wanted_percent, percent, position)
        return tuple(self.samples.between(*frame, self.now))

    def _between(
        self, start: TimeInterval | Timestamp, end: TimeInterval | Timestamp | None
    ) -> tuple[datetime, datetime]:
        """The time frame of two times in either order: an interval looks back from now, no end is now."""
        times = [self._time(start), self.now if end is None else self._time(end)]
        return min(times), max(times)

    def _time(self, bound: TimeInterval | Timestamp) -> datetime:
        if isinstance(bound, TimeInterval):
            bound = Timestamp(Timestamp.of(self.now).ticks - bound.ticks)
        return bound.datetime()
