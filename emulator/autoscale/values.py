"""The values of autoscale formulas: doubles, vectors, strings, times, intervals, deallocation options."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum

TICKS_PER_SECOND = 10_000_000  # a tick is 100 ns, the finest interval of the language
_TICKS_PER_DAY = 86_400 * TICKS_PER_SECOND
_FIRST_DAY = datetime(1, 1, 1, tzinfo=UTC)
_LAST_TICK = 3_652_059 * _TICKS_PER_DAY - 1  # the end of year 9999
_LONGEST = 2**63 - 1


class DeallocationOption(Enum):
    """What happens to the tasks of nodes that a smaller target removes."""

    REQUEUE = "requeue"
    TERMINATE = "terminate"
    TASK_COMPLETION = "taskcompletion"
    RETAINED_DATA = "retaineddata"


@dataclass(frozen=True, slots=True, order=True)
class TimeInterval:
    """A length of time in ticks of 100 ns; raises OverflowError beyond 64 bits."""

    ticks: int

    def __post_init__(self) -> None:
        if abs(self.ticks) > _LONGEST:
            raise OverflowError("The time interval is too long")

    @classmethod
    def of(cls, duration: timedelta) -> "TimeInterval":
        """The interval as long as `duration`."""
        return cls(duration // timedelta(microseconds=1) * 10)

    @classmethod
    def of_ticks(cls, ticks: float) -> "TimeInterval":
        """The interval of the nearest whole number of ticks."""
        if not abs(ticks) <= _LONGEST:  # also true for what is not a number
            raise OverflowError("The time interval is too long")
        return cls(round(ticks))

    def __str__(self) -> str:
        seconds, fraction = divmod(abs(self.ticks), TICKS_PER_SECOND)
        days, seconds = divmod(seconds, 86_400)
        return (
            ("-" if self.ticks < 0 else "")
            + (f"{days}." if days else "")
            + f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
            + (f".{fraction:07}" if fraction else "")
        )


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A point in time, in ticks of 100 ns since the year 1, UTC; OverflowError outside years 1 to 9999."""

    ticks: int

    def __post_init__(self) -> None:
        if not 0 <= self.ticks <= _LAST_TICK:
            raise OverflowError("The time is outside the years 1 to 9999")

    @classmethod
    def of(cls, time: datetime, extra_ticks: int = 0) -> "Timestamp":
        """The timestamp of an aware `time`, `extra_ticks` later."""
        return cls((time - _FIRST_DAY) // timedelta(microseconds=1) * 10 + extra_ticks)

    def datetime(self) -> datetime:
        """The time in UTC, to the microsecond."""
        return _FIRST_DAY + timedelta(microseconds=self.ticks // 10)

    def member(self, name: str) -> float | None:
        """One of year, month, day, weekday (1 is Monday, 0 is Sunday), hour, minute, second; else None."""
        time = self.datetime()
        if name == "weekday":
            return float(time.isoweekday() % 7)
        if name in {"year", "month", "day", "hour", "minute", "second"}:
            return float(getattr(time, name))
        return None

    def __str__(self) -> str:
        return self.datetime().isoformat(timespec="milliseconds").replace("+00:00", "Z")


DoubleVec = tuple[float, ...]
Value = float | DoubleVec | str | Timestamp | TimeInterval | DeallocationOption

_KINDS: dict[type, str] = {
    float: "double",
    tuple: "doubleVec",
    str: "string",
    Timestamp: "timestamp",
    TimeInterval: "timeinterval",
    DeallocationOption: "deallocation option",
}


def kind(value: Value) -> str:
    """The name of the value's type in the language."""
    return _KINDS[type(value)]


def render(value: Value) -> str:
    """The value as the results of an evaluation show it."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, tuple):
        return f"[{','.join(map(render, value))}]"
    if isinstance(value, DeallocationOption):
        return value.value
    return str(value)


_W3C_DTF = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?(Z|[+-]\d\d:\d\d))?)?)?",
    re.ASCII,
)
_RFC_1123 = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d{1,2}) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT", re.ASCII)
_WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def parse_time(text: str) -> Timestamp | None:
    """The time that a W3C-DTF or RFC 1123 text names, else None.

    W3C-DTF (a profile of ISO 8601) asks for a zone wherever there is a time of day; seconds have at
    most seven decimals, the service refuses nine (nextflow-io/nextflow#3866).
    """
    try:
        if found := _W3C_DTF.fullmatch(text):
            year, month, day, hour, minute, second, fraction, zone = found.groups()
            time = datetime(
                int(year),
                int(month or 1),
                int(day or 1),
                int(hour or 0),
                int(minute or 0),
                int(second or 0),
                tzinfo=_zone(zone or "Z"),
            )
            return Timestamp.of(time, int((fraction or "").ljust(7, "0")))
        if found := _RFC_1123.fullmatch(text):
            weekday, day, month, year, hour, minute, second = found.groups()
            time = datetime(
                int(year),
                _MONTHS.index(month) + 1,
                int(day),
                int(hour),
                int(minute),
                int(second),
                tzinfo=UTC,
            )
            return Timestamp.of(time) if _WEEKDAYS[time.weekday()] == weekday else None
    except (ValueError, OverflowError):
        return None
    return None


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[4:])
    if minutes > 59:
        raise ValueError(f"A zone of {text} does not exist.")
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)
