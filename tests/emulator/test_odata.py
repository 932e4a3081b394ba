"""Filters and selections of lists."""

from __future__ import annotations

from typing import Any

import pytest
from azure.batch.models import BatchTask
from hypothesis import given
from hypothesis import strategies as st

from emulator.errors import BatchError, InvalidQueryParameterValue
from emulator.odata import filtered, selected

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
    with pytest.raises(InvalidQueryParameterValue):
        selected("id,colour", BatchTask)
