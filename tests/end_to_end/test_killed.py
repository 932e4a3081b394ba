"""A run killed with SIGKILL at any point costs nothing once its lease is over, and the sweep leaves nothing of it.

TOPN_KILL=all (make kill) has all points; else a few of them, of each kind one.
"""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core.rest import HttpRequest

from tasks.clients import Clients
from tasks.expiry import find_expired, sweep_away
from tasks.lease import INTERVAL, LENGTH
from tests.conftest import until
from tests.kill_points import BY_NAME, FEW
from tests.killed_run import behind_gates, run_until_killed

NAMES = list(BY_NAME) if os.environ.get("TOPN_KILL") == "all" else FEW


@pytest.mark.parametrize("name", NAMES)
async def test_a_killed_run_has_no_nodes_after_its_lease_and_no_resources_after_the_sweep(
    name: str, clients: Clients, environment: dict[str, str], prefect_api: str, texts: Path, tmp_path: Path
) -> None:
    key = f"killed-{name}"
    delay = ["--delay-seconds", "4"] if name == "counting" else []
    for number in range(3):  # never counted before, as results are kept
        (texts / f"{number}").write_text(f"{name} {number} {uuid.uuid4()}")
    arguments = [str(texts / "*"), "--run-key", key, "--outputs", str(tmp_path), *delay]
    async with behind_gates({**environment, "PREFECT_API_URL": prefect_api}) as gates:
        await run_until_killed(BY_NAME[name], gates, arguments)

    later = LENGTH + INTERVAL
    settings = {"clockOffset": later.total_seconds()}
    (await clients.batch.send_request(HttpRequest("POST", "/_emulator/settings", json=settings))).raise_for_status()

    async def no_nodes() -> bool:
        pools = [pool async for pool in clients.batch.list_pools()]
        return not any((pool.current_dedicated_nodes or 0) + (pool.current_low_priority_nodes or 0) for pool in pools)

    await until(no_nodes, "no node is left", 30)

    # The containers stay longer than the nodes, for whoever goes on with the run; the sweep of then takes them too.
    at = datetime.now(UTC) + timedelta(days=8)
    found = [one for one in await find_expired(clients, at) if key in one.id]
    assert all(one.expired or one.verdict == "being deleted" for one in found), [one.row for one in found]
    swept = await sweep_away(clients, found)
    assert not any(one.failed for one in swept), [one.row for one in swept]

    async def nothing() -> bool:
        return not [one async for one in clients.batch.list_pools()] and not [
            one async for one in clients.batch.list_jobs()
        ]

    await until(nothing, "no pool and no job is left", 30)
    left = [one.name async for one in clients.blobs.list_containers(name_starts_with=f"topn-{key}-")]
    assert left == []
