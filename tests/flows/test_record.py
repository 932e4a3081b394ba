"""Waiting for Prefect's server to have recorded a run's task runs: what happens where it does not."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.record import kept


def tell_of_a_task_run() -> None:
    """Log as Prefect's engine does of a task run."""
    identity = {"flow_run_id": str(uuid.uuid4()), "task_run_id": str(uuid.uuid4())}
    logging.getLogger("prefect.task_runs").info("Finished in state Completed()", extra=identity)


@pytest.mark.usefixtures("prefect_api")
def test_a_server_that_does_not_record_is_told_of_and_not_waited_for_forever() -> None:
    with kept() as record:
        tell_of_a_task_run()
    assert record.wait(timedelta(seconds=0.5)) == (
        "Prefect's server did not record the end of all 1 task runs within 0.5 s."
    )


def test_a_server_that_is_gone_is_told_of() -> None:
    with kept() as record:
        tell_of_a_task_run()
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        said = record.wait()
    assert said is not None
    assert said.startswith("Prefect's server did not record the end of all 1 task runs (")


def test_a_run_that_never_began_is_not_waited_for() -> None:
    with kept() as record:
        pass
    assert record.wait() is None
