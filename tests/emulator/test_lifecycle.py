"""The tables of states, and what the documentation says of them and of what is supported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from azure.batch.models import BatchTask, BatchTaskState

from emulator import lifecycle
from emulator.body import REFUSED
from emulator.routes import OPERATIONS

PAGE = (Path(__file__).parents[2] / "docs/emulator.md").read_text()


def _drawn(name: str) -> set[tuple[str, str]]:
    """The arrows of a picture; one from a composite state starts at each state inside it."""
    (picture,) = (block for block in re.findall(r"```mermaid\n(.*?)```", PAGE, re.S) if f"%% {name}\n" in block)
    inside = {composite: body.split() for composite, body in re.findall(r"state (\w+) \{(.*?)\}", picture, re.S)}
    arrows = re.findall(r"^  (\w+) --> (\w+)", picture, re.M)
    return {(each, finish) for start, finish in arrows for each in inside.get(start, [start])}


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("task", lifecycle.TASK_TRANSITIONS),
        ("job", lifecycle.JOB_TRANSITIONS),
        ("job schedule", lifecycle.JOB_SCHEDULE_TRANSITIONS),
        ("pool", lifecycle.POOL_TRANSITIONS),
        ("allocation of a pool", lifecycle.ALLOCATION_TRANSITIONS),
        ("node", lifecycle.NODE_TRANSITIONS),
        ("certificate", lifecycle.CERTIFICATE_TRANSITIONS),
    ],
)
def test_the_pictures_are_the_tables(name: str, table: Mapping[Any, set[Any]]) -> None:
    assert _drawn(name) == {(start.value, finish.value) for start in table for finish in table[start]}


def test_a_transition_that_is_not_in_the_table_is_loud() -> None:
    task = BatchTask({"id": "task"})
    lifecycle.transition(task, BatchTaskState.ACTIVE, "2026-01-01T00:00:00Z")
    lifecycle.transition(task, BatchTaskState.COMPLETED, "2026-01-01T00:00:01Z")
    assert (task.previous_state, task.state) == ("active", "completed")
    with pytest.raises(lifecycle.IllegalTransition, match="'task' cannot go from completed to running"):
        lifecycle.transition(task, BatchTaskState.RUNNING, "2026-01-01T00:00:02Z")


def test_only_the_tables_owner_assigns_states() -> None:
    package = Path(lifecycle.__file__).parent
    assigns = re.compile(r'(\.state|\["state"\]|\.allocation_state|\["allocationState"\])\s*=[^=]')
    found = {
        path.name
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if assigns.search(line) and "info[" not in line
    }
    assert found == {"lifecycle.py"}


def test_the_documentation_lists_the_operations() -> None:
    (line,) = (line for line in PAGE.splitlines() if line.startswith("**Supported operations**"))
    assert re.findall(r"`(\w+)`", line) == [row.name for row in OPERATIONS]


def test_the_documentation_names_every_refused_property() -> None:
    refused = {name for names in REFUSED.values() for name in names}
    rows = [line.split("|")[-2] for line in PAGE.splitlines() if line.startswith("| ") and line.count("|") == 5]
    named = set(re.findall(r"`(?:\w+\.)*([\w$]+)`", " ".join(rows)))
    assert refused <= named
