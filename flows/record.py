"""Prefect's own server ends with the program that started it: it is first let record how the task runs ended.

Task runs reach a server as events, a moment after the fact. One that is stopped meanwhile loses them, and its recorder,
stopped in the middle of writing, says so in a traceback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from datetime import timedelta

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import TERMINAL_STATES

PATIENCE = timedelta(seconds=15)
INTERVAL = timedelta(seconds=0.2)


class Record(logging.Handler):
    """Which task runs there were, by what Prefect's engine says of each: how it ended."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.flow_run_ids: set[str] = set()
        self.task_run_ids: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Note the task run that a record is about."""
        if flow_run_id := getattr(record, "flow_run_id", None):
            self.flow_run_ids.add(str(flow_run_id))
            self.task_run_ids.add(str(record.__dict__["task_run_id"]))

    def wait(self, patience: timedelta = PATIENCE) -> str | None:
        """Wait until the server has recorded the end of all task runs; when it has not in time, a sentence about it."""
        if not self.task_run_ids:
            return None
        try:
            asyncio.run(self._recorded(patience))
        except (TimeoutError, httpx.HTTPError, RuntimeError) as error:
            why = f"within {patience.total_seconds():g} s" if isinstance(error, TimeoutError) else f"({error})"
            return f"Prefect's server did not record the end of all {len(self.task_run_ids)} task runs {why}."
        return None

    async def _recorded(self, patience: timedelta) -> None:
        wanted = {
            "flow_runs": {"id": {"any_": sorted(self.flow_run_ids)}},
            "task_runs": {"state": {"type": {"any_": sorted(state.value for state in TERMINAL_STATES)}}},
        }
        async with asyncio.timeout(patience.total_seconds()), get_client() as api:
            while True:
                answer = await api.request("POST", "/task_runs/count", json=wanted)
                if answer.raise_for_status().json() >= len(self.task_run_ids):
                    return
                await asyncio.sleep(INTERVAL.total_seconds())


@contextlib.contextmanager
def kept() -> Iterator[Record]:
    """A record of the task runs while the block lasts."""
    record, engine = Record(), logging.getLogger("prefect.task_runs")
    engine.addHandler(record)
    try:
        yield record
    finally:
        engine.removeHandler(record)
