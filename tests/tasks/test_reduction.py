"""How tables are grouped into reduce tasks, and what those are told."""

from __future__ import annotations

import json

import pytest

from tasks.overall import OverallWords
from tasks.reduction import Exact, Table, is_needed, manifest, number_of_tasks
from tasks.run import Run

RUN = Run("key", "owner")


@pytest.mark.parametrize(
    ("tables", "tasks"), [(1, 1), (200, 1), (201, 2 + 1), (40_000, 200 + 1), (40_001, 201 + 2 + 1)]
)
def test_more_than_200_tables_are_a_tree_of_tasks(tables: int, tasks: int) -> None:
    assert number_of_tasks(tables) == tasks


@pytest.mark.parametrize(
    ("exact", "merged_is_exact", "needed"),
    [("when_needed", True, False), ("when_needed", False, True), ("always", True, True), ("never", False, False)],
)
def test_tables_are_merged_when_the_parameter_says_so(exact: Exact, merged_is_exact: bool, needed: bool) -> None:
    assert is_needed(exact, OverallWords(words=[], exact=merged_is_exact, largest_error=0)) is needed


def test_a_manifest_names_the_container_of_a_table_that_is_not_the_runs_own() -> None:
    tables = [Table("topn-key-output", "a.table.gz", "0a", 2), Table("topn-results", "b.table.gz", None)]
    assert json.loads(manifest(RUN, tables)) == {
        "container": "topn-key-output",
        "tables": [
            {"name": "a.table.gz", "times": 2, "sha256": "0a"},
            {"name": "b.table.gz", "times": 1, "sha256": None, "container": "topn-results"},
        ],
    }
