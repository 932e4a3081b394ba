"""Filters and selections of lists."""

from __future__ import annotations

from typing import Any

import pytest
from azure.batch.models import BatchTask
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import BatchError, InvalidQueryParameterValue
from emulator.odata import filtered, selected
from emulator.routes import OLDER_OPERATIONS, OPERATIONS, OlderOperation
from tests.emulator.conftest import Account

TASK: dict[str, Any] = {
    "id": "Task-1",
    "state": "completed",
    "requiredSlots": 2,
    "creationTime": "2026-01-02T03:04:05.123456Z",
    "executionInfo": {"exitCode": 3, "requeueCount": 0},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("state eq 'completed'", True),
        ("state eq 'Completed'", True),
        ("state ne 'active'", True),
        ("id eq 'task-1'", True),
        ("startswith(id, 'TASK')", True),
        ("startswith(id,'x') or requiredSlots ge 2", True),
        ("not startswith(id,'t')", False),
        ("(requiredSlots gt 2 or requiredSlots lt 2) and state eq 'completed'", False),
        ("requiredSlots gt 2 or requiredSlots lt 3 and state eq 'active'", False),
        ("executionInfo/exitCode ne 0 and executionInfo/exitCode le 3", True),
        ("executionInfo/exitCode lt -1", False),
        ("executionInfo/startTime eq null", True),
        ("executionInfo/exitCode ne null", True),
        ("creationTime gt DateTime'2026-01-02T03:04:05Z'", True),
        ("creationTime lt datetime'2026-01-02T03:04:05Z'", False),
        ("displayName eq 'it''s'", False),
        ("displayName eq 'x'", False),
        ("displayName ne 'x'", True),
        ("executionInfo/failureInfo/code eq null", True),
    ],
)
def test_a_filter_matches(text: str, matches: bool) -> None:
    assert filtered(text, BatchTask)(TASK) is matches


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "State eq 'x'",
        "state is 'x'",
        "state eq",
        "state eq 'x",
        "state eq 'x' and",
        "(" * 3000,
        "id gt null",
        "contains(id,'x')",
        "creationTime gt DateTime'soon'",
        "colour eq null",
        "executionInfo/nonsense eq 1",
        "executionInfo/exitCode/nonsense eq 1",
        "executionInfo/failureInfo/nonsense ne null",
        "id/nonsense eq 'x'",
        "resourceFiles/filePath eq 'x'",
        "startswith(executionInfo/nonsense,'x')",
        "not executionInfo/nonsense",
    ],
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidQueryParameterValue):
        filtered(text, BatchTask)


@given(st.text(max_size=60) | st.text("stae q'()0/-and or", max_size=40))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        assert filtered(text, BatchTask)(TASK) in (True, False)
    except BatchError as error:
        assert error.status == 400


@pytest.mark.parametrize(
    "text", ["(" * 1900 + "id eq 'x'" + ")" * 1900, "not " * 40 + "id eq 'x'", "not " * 900 + "id eq 'x'"]
)
def test_a_deep_filter_is_read_or_refused(text: str) -> None:
    try:
        assert filtered(text, BatchTask)(TASK) is False
    except InvalidQueryParameterValue:
        assert text.startswith("not " * 51)


def test_a_selection_names_properties() -> None:
    assert selected("id, state,executionInfo", BatchTask) == ["id", "state", "executionInfo"]
    for unknown in ("id,colour", "executionInfo/nonsense", "id,,state"):
        with pytest.raises(InvalidQueryParameterValue):
            selected(unknown, BatchTask)


LISTS = [row for row in (*OPERATIONS, *OLDER_OPERATIONS) if row.name.startswith("list_")]


def test_every_list_refuses_properties_that_it_has_not(account: Account) -> None:
    """In the newest api-version and in the oldest."""
    account.pool(nodes=1)
    account.job(jobPreparationTask={"commandLine": "/bin/true"})
    account.task("task", "/bin/true")
    account.completed("task")
    account.client.create_job_schedule(
        {"id": "schedule", "schedule": {}, "jobSpecification": {"poolInfo": {"poolId": "pool"}}}
    )
    (node,) = account.client.list_nodes("pool")
    names = {"poolId": "pool", "nodeId": node.id, "jobId": "job", "taskId": "task", "jobScheduleId": "schedule"}
    assert len(LISTS) > 15
    for row in LISTS:
        path = row.path.format(**names)
        for version in ("2016-07-01.3.1", "2024-02-01.19.0", "2025-06-01"):
            if isinstance(row, OlderOperation) and version >= row.before:
                continue
            for query in (
                {},
                {"$filter": "nonsense eq 1"},
                {"$filter": "nonsense/of ne null"},
                {"$select": "nonsense"},
            ):
                request = HttpRequest("GET", path, params={"api-version": version, **query})
                code = _code(account, request)
                assert code == ("InvalidQueryParameterValue" if query else ""), (row.name, version, query)


def _code(account: Account, request: HttpRequest) -> str:
    """The code of the error that a request gets, if it gets one; it is one of status 400 then."""
    try:
        account.client.send_request(request).raise_for_status()
    except HttpResponseError as error:
        assert error.error is not None
        assert error.status_code == 400
        return str(error.error.code)
    return ""
