"""A run outlives whoever reads what it says: its worker is killed, and the pipe to it is broken.

rich, by which Prefect writes its log, exits the program then, in the middle of whatever it was doing.
"""

from __future__ import annotations

import logging
from types import MethodType

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

_LOGGERS = ("prefect", "prefect.flow_runs", "prefect.task_runs")


def outlive_the_reader() -> None:
    """From now on a broken pipe silences Prefect's log on the console, and nothing else."""
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                # rich's own place for another behaviour, which it expects in a subclass; Prefect makes the console.
                handler.console.on_broken_pipe = MethodType(_fall_silent, handler.console)


def _fall_silent(console: Console) -> None:
    console.quiet = True
