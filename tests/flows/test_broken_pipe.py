"""What becomes of a run whose log nobody reads any more (with a worker that is killed: end_to_end/test_stack.py)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from flows.broken_pipe import outlive_the_reader


@pytest.fixture
def unread() -> Iterator[PrefectConsoleHandler]:
    """A handler of a flow run's log that writes to a pipe whose other end is closed."""
    reader, writer = os.pipe()
    os.close(reader)
    logger = logging.getLogger("prefect.flow_runs")
    stream = os.fdopen(writer, "w")
    handler = PrefectConsoleHandler(stream)
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        handler.close()
        with pytest.raises(BrokenPipeError):
            stream.close()


def test_a_run_goes_on_when_nobody_reads_its_log(unread: PrefectConsoleHandler) -> None:
    outlive_the_reader()
    for _ in range(3):
        unread.handle(logging.makeLogRecord({"msg": "Deleting pool", "levelno": logging.INFO, "levelname": "INFO"}))
    assert unread.console.quiet
