"""Which errors may pass by themselves."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from tasks.errors import RunFailed, TryAgain
from tasks.retries import is_transient


def answer(status: int) -> HttpResponseError:
    error = HttpResponseError()
    error.status_code = status
    return error


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_throttling_and_the_services_own_trouble_pass(status: int) -> None:
    assert is_transient(answer(status))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 412, 413, 501])
def test_answers_that_will_not_change_do_not(status: int) -> None:
    assert not is_transient(answer(status))


def test_lost_connections_pass_and_our_own_errors_do_not() -> None:
    assert is_transient(ServiceRequestError("gone"))
    assert is_transient(TryAgain("later"))
    assert not is_transient(RunFailed("no"))
