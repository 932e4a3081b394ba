"""Time as an account sees it: dates, durations, ETags in Batch's spelling, and the service's own delays."""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import re
import time
from datetime import UTC, datetime, timedelta

UNLIMITED = "P10675199DT2H48M5.4775807S"  # .NET's longest TimeSpan: how Batch says "no limit"

_DURATION = re.compile(
    r"P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)
_etags = itertools.count(time.time_ns() // 100)


class Clock:
    """One account's clock: real time plus an offset that a test may set, and delays shortened by `speed`."""

    def __init__(self, speed: float) -> None:
        self.speed = speed
        self.offset = timedelta(0)

    def now(self) -> datetime:
        """The time this account lives in."""
        return datetime.now(UTC) + self.offset

    def stamp(self) -> str:
        """Now, as bodies carry it."""
        return written(self.now())

    async def delay(self, seconds: float) -> None:
        """Wait as the service would for something it takes `seconds` for."""
        await asyncio.sleep(seconds / self.speed)


def written(moment: datetime) -> str:
    """A moment as bodies carry it: UTC, microseconds, `Z`."""
    # Not strftime: its %Y leaves out the leading zeros of a year, and what it wrote then is no date.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def http_date(moment: datetime) -> str:
    """A moment as headers carry it (RFC 1123)."""
    return email.utils.format_datetime(moment.astimezone(UTC), usegmt=True)


def etag() -> str:
    """A new ETag, unquoted as Batch sends it."""
    return f"0x8D{next(_etags):X}"


def read_duration(text: str) -> timedelta:
    """The duration that an ISO 8601 text names; a year is 365 days and a month 30, as Batch counts them.

    Raises:
        ValueError: when the text is not a duration.
    """
    found = _DURATION.fullmatch(text)
    if not found or text.endswith(("P", "T")):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    part = {name: float(value) for name, value in found.groupdict(default="0").items()}
    try:
        return timedelta(
            days=part["years"] * 365 + part["months"] * 30 + part["weeks"] * 7 + part["days"],
            hours=part["hours"],
            minutes=part["minutes"],
            seconds=part["seconds"],
        )
    except OverflowError as error:
        raise ValueError(f"{text!r} is too long a duration") from error


def written_duration(length: timedelta) -> str:
    """A duration in Batch's shortest form: `PT15M`, `P7D`, `P1DT2H3.5S`."""
    if length >= timedelta(days=10_675_199):
        return UNLIMITED
    seconds = length.seconds
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    fraction = f"{length.microseconds / 1e6:.6f}"[1:].rstrip("0").rstrip(".")
    clock_part = (
        (f"{hours}H" if hours else "")
        + (f"{minutes}M" if minutes else "")
        + (f"{seconds}{fraction}S" if seconds or fraction else "")
    )
    day_part = f"{length.days}D" if length.days else ""
    if not day_part and not clock_part:
        return "PT0S"
    return f"P{day_part}" + (f"T{clock_part}" if clock_part else "")
