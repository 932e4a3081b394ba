"""A run killed with SIGKILL at any point and run again with its key ends as if nothing had happened.

TOPN_KILL=all (make kill) has all points; else a few of them.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from pathlib import Path

import pytest

from tasks.clients import Clients
from tests.conftest import naive_top
from tests.kill_points import BY_NAME, FEW_RESUMED, reached
from tests.killed_run import behind_gates, run_to_its_end, run_until_killed

NAMES = list(BY_NAME) if os.environ.get("TOPN_KILL") == "all" else FEW_RESUMED


def made(requests: list[str]) -> dict[str, int]:
    """How many pools, jobs and collections of tasks it asked for."""
    patterns = {"pools": r"^POST /pools\?", "jobs": r"^POST /jobs\?", "tasks": r"^POST /jobs/[^/]+/addtaskcollection"}
    return {what: sum(bool(re.match(pattern, one)) for one in requests) for what, pattern in patterns.items()}


@pytest.mark.parametrize("name", NAMES)
async def test_a_killed_run_that_is_run_again_makes_only_what_is_missing(
    name: str, clients: Clients, environment: dict[str, str], prefect_api: str, texts: Path, tmp_path: Path
) -> None:
    key = f"resumed-{name}"[:40].rstrip("-")
    for number in range(3):  # never counted before, as results are kept
        (texts / f"{number}").write_text(f"{name} {number} {number} {uuid.uuid4()}\n" * (number + 1))
    arguments = [str(texts / "*"), "--run-key", key, "--outputs", str(tmp_path), "--claim-seconds", "15"]
    if name == "counting":
        arguments += ["--delay-seconds", "4"]
    async with behind_gates({**environment, "PREFECT_API_URL": prefect_api}) as gates:
        await run_until_killed(BY_NAME[name], gates, arguments)
        before = len(gates.batch.seen)
        status, said = await run_to_its_end(gates, arguments)

    assert status == 0, said
    results = json.loads((tmp_path / "latest/results.json").read_text("utf-8"))
    expected = {f"{number}": naive_top((texts / f"{number}").read_bytes(), 3) for number in range(3)}
    assert {one["name"]: [tuple(word) for word in one["words"]] for one in results["files"]} == expected
    assert results["failed"] == results["left_behind"] == []
    # What the first run had asked for, whether or not it heard of it, is not asked for again.
    assert made(gates.batch.seen[before:]) == {
        "pools": 0 if reached(name, "after-pool") else 1,
        "jobs": 0 if reached(name, "after-job") else 1,
        "tasks": 0 if reached(name, "after-batch-tasks") else 1,
    }, said
    assert [job.id async for job in clients.batch.list_jobs() if job.state != "deleting"] == []
    assert [pool.id async for pool in clients.batch.list_pools() if pool.state != "deleting"] == []
    assert [one.name async for one in clients.blobs.list_containers(name_starts_with=f"topn-{key}-")] == []
