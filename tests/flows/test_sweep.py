"""The sweep: what carries a run's mark and has expired is deleted, and nothing else."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from azure.batch.models import (
    BatchJobConstraints,
    BatchJobCreateOptions,
    BatchMetadataItem,
    BatchPoolInfo,
    BatchPoolUpdateOptions,
)

from tasks.clients import Clients
from tasks.containers import UNTIL
from tasks.expiry import find_expired, sweep_away
from tasks.lease import INTERVAL, Lease
from tasks.run import OWNER
from tests.conftest import create_pool, until

NOW = datetime.now(UTC).replace(microsecond=0)
PAST, FUTURE = NOW - timedelta(hours=1), NOW + timedelta(hours=1)


async def make_pool(clients: Clients, id: str, formula: str, *, marked: bool = True) -> None:
    await create_pool(
        clients,
        id,
        auto_scale_formula=formula,
        auto_scale_evaluation_interval=INTERVAL,
        metadata=[BatchMetadataItem(name=OWNER if marked else "owner", value="a run")],
    )


async def make_job(clients: Clients, id: str, pool_id: str, *, marked: bool = True) -> None:
    await clients.batch.create_job(
        BatchJobCreateOptions(
            id=id,
            pool_info=BatchPoolInfo(pool_id=pool_id),
            constraints=BatchJobConstraints(max_wall_clock_time=timedelta(minutes=30)),
            metadata=[BatchMetadataItem(name=OWNER, value="a run")] if marked else [],
        )
    )


async def make_container(clients: Clients, name: str, **metadata: str) -> None:
    container = clients.blobs.get_container_client(name)
    if await container.exists():
        await container.delete_container()
    await container.create_container(metadata=metadata)


async def make_all(clients: Clients) -> None:
    await make_pool(clients, "topn-old-g1", Lease(0, 0, PAST).formula)
    await make_pool(clients, "topn-new-g1", Lease(0, 0, FUTURE).formula)
    await make_pool(clients, "topn-changed-g1", "$TargetDedicatedNodes = 0;")
    await make_pool(clients, "topn-not-marked-g1", Lease(0, 0, PAST).formula, marked=False)
    await make_job(clients, "topn-new-g1", "topn-new-g1")
    await make_job(clients, "topn-not-marked-g1", "topn-old-g1", marked=False)
    await make_container(clients, "topn-sweep-old-output", **{OWNER: "a run", UNTIL: PAST.isoformat()})
    await make_container(clients, "topn-sweep-new-output", **{OWNER: "a run", UNTIL: FUTURE.isoformat()})
    await make_container(clients, "topn-sweep-odd-output", **{OWNER: "a run", UNTIL: "when it is over"})
    await make_container(clients, "topn-sweep-inputs", **{UNTIL: PAST.isoformat()})


async def test_only_what_carries_the_mark_and_has_expired_is_deleted(clients: Clients) -> None:
    await make_all(clients)
    found = {one.what: one for one in await find_expired(clients, NOW)}
    expired = {what for what, one in found.items() if one.expired}
    assert {"pool topn-old-g1", "container topn-sweep-old-output"} == {
        what for what in expired if "g1" in what or "sweep" in what
    }
    assert "somebody changed it" in found["pool topn-changed-g1"].verdict
    assert "does not say until when" in found["container topn-sweep-odd-output"].verdict
    assert not {what for what in found if "not-marked" in what or "inputs" in what}
    swept = {one.what: one.verdict for one in await sweep_away(clients, list(found.values()))}
    assert swept["pool topn-old-g1"] == swept["container topn-sweep-old-output"] == "deleted"
    assert swept["pool topn-new-g1"] == swept["job topn-new-g1"] == "left alone: its time is not up"
    assert await clients.blobs.get_container_client("topn-sweep-new-output").exists()
    assert await clients.blobs.get_container_client("topn-sweep-inputs").exists()
    assert not await clients.blobs.get_container_client("topn-sweep-old-output").exists()

    async def gone() -> bool:
        return {pool.id async for pool in clients.batch.list_pools()} == {
            "topn-new-g1",
            "topn-changed-g1",
            "topn-not-marked-g1",
        }

    await until(gone, "the expired pool is gone")
    assert {job.id async for job in clients.batch.list_jobs()} == {"topn-new-g1", "topn-not-marked-g1"}


async def test_a_job_goes_at_its_limit_or_with_its_pool(clients: Clients) -> None:
    now = datetime.now(UTC)  # the jobs' limits count from their creation, long after this module was imported
    await make_pool(clients, "topn-short-g1", Lease(0, 0, now + timedelta(minutes=10)).formula)
    await make_job(clients, "topn-short-g1", "topn-short-g1")
    await make_job(clients, "topn-named-g1", "somebodys-pool")

    async def expired(after: timedelta) -> set[str]:
        return {one.what for one in await find_expired(clients, now + after) if one.expired and one.kind != "container"}

    assert await expired(timedelta(0)) == set()
    assert await expired(timedelta(minutes=16)) == {"pool topn-short-g1", "job topn-short-g1"}
    assert await expired(timedelta(minutes=40)) == {"pool topn-short-g1", "job topn-short-g1", "job topn-named-g1"}


async def test_what_was_renewed_meanwhile_is_left_alone(clients: Clients) -> None:
    await make_pool(clients, "topn-renewed-g1", Lease(0, 0, PAST).formula)
    found = [one for one in await find_expired(clients, NOW) if one.kind == "pool"]
    await clients.batch.update_pool(
        "topn-renewed-g1", BatchPoolUpdateOptions(metadata=[BatchMetadataItem(name=OWNER, value="another run")])
    )
    (swept,) = await sweep_away(clients, found)
    assert swept.verdict == "left alone: it was changed meanwhile"
    assert (await clients.batch.get_pool("topn-renewed-g1")).state == "active"


async def test_the_command_says_what_it_would_delete_and_deletes_nothing(
    clients: Clients, environment: dict[str, str]
) -> None:
    await make_pool(clients, "topn-dry-g1", Lease(0, 0, PAST).formula)
    command = [sys.executable, "-m", "flows.sweep", "--dry-run"]
    done = await asyncio.to_thread(
        subprocess.run, command, env={**os.environ, **environment}, capture_output=True, encoding="utf-8", timeout=90
    )
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if "topn-dry-g1" in line)
    assert "a run" in row
    assert "expired" in row
    assert f"{PAST:%Y-%m-%d %H:%M}" in row
    assert (await clients.batch.get_pool("topn-dry-g1")).state == "active"
