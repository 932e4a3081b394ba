"""How fast task runs may start: Prefect's server keeps so many events waiting and loses what comes beyond."""

from __future__ import annotations

import asyncio

# Three events a task run, 10,000 of them in the server's queue, 85 task runs a second recorded (two cores, SQLite).
BURST = 1000
PER_SECOND = 80.0


class Pace:
    """Lets `burst` through at once, and then `per_second`."""

    def __init__(self, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        self._interval_seconds = 1 / per_second
        self._credit_seconds = burst * self._interval_seconds
        self._next: float | None = None  # when the next one would be due if there were no burst, by the loop's clock

    async def turn(self) -> None:
        """Wait for one's turn."""
        now = asyncio.get_running_loop().time()
        due = max(self._next if self._next is not None else now - self._credit_seconds, now - self._credit_seconds)
        self._next = due + self._interval_seconds
        if due > now:
            await asyncio.sleep(due - now)
