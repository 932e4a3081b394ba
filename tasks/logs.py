"""Where this project's own messages go."""

from __future__ import annotations

import logging

from prefect import get_run_logger
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger


def run_logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The logger of the run in whose context this is called; outside of any (hooks, sweep), the project's own."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("topn")
