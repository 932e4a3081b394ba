"""The recovery table, walked through all of it; and what its actions do to jobs and pools."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from azure.batch.models import (
    BatchJob,
    BatchJobConstraints,
    BatchJobCreateOptions,
    BatchMetadataItem,
    BatchPool,
    BatchPoolInfo,
    BatchStartTask,
    BatchTaskCreateOptions,
)

from tasks.claim import Claim, Record, claiming
from tasks.clients import Clients
from tasks.errors import RunFailed
from tasks.lease import INTERVAL, Lease, Terms
from tasks.recovery import TABLE, Action, JobFound, PoolFound, Wanted, find_pool, judge_job, recover
from tasks.run import OWNER, Run
from tests.conftest import create_pool

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
OWNERS = frozenset({"me", "the one before"})
START = BatchStartTask(command_line="/bin/true", wait_for_success=True)
WANTED = Wanted(frozenset({"a", "b"}), HOUR / 2, None, Terms(0, 1, 1), START, "STANDARD_D2S_V3", 1)

# What the page says must be so, for any state of the other side.
CELLS = list(itertools.product(get_args(JobFound), get_args(PoolFound)))


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(CELLS)


@pytest.mark.parametrize(("job", "pool"), CELLS)
def test_each_cell_keeps_what_it_must(job: JobFound, pool: PoolFound) -> None:
    action = TABLE[job, pool]
    assert (action is Action.REFUSE) == ("foreign" in (job, pool)), "what is not this key's is never touched"
    if action is Action.REFUSE:
        return
    assert not action.adopts_job or job == "active"
    assert not action.adopts_pool or pool == "active"
    if job == "active" and pool in ("active", "named"):
        assert action.adopts_job, "running tasks are not counted a second time"
    if job == "over" or pool == "gone":
        assert action is Action.NEXT, "an id is never used again"
    if action is not Action.NEXT:
        assert action.adopts_job or job == "none", "a job is made only where there is none"
        assert action.adopts_pool or pool in ("none", "named"), "a pool, too"


def test_the_page_shows_this_table() -> None:
    page = (Path(__file__).parent.parent.parent / "docs/architecture.md").read_text("utf-8")
    for job in get_args(JobFound):
        row = " | ".join(str(TABLE[job, pool]) for pool in get_args(PoolFound))
        assert f"| **{job}** | {row} |" in page
    assert f"| job \\ pool | {' | '.join(get_args(PoolFound))} |" in page


def job(state: str = "active", owner: str | None = "me", pool_id: str = "topn-x-g1") -> BatchJob:
    metadata = [BatchMetadataItem(name=OWNER, value=owner)] if owner else []
    return BatchJob(
        {"state": state, "poolInfo": {"poolId": pool_id}, "metadata": [item.as_dict() for item in metadata]}
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, "none"),
        (job(), "active"),
        (job("enabling"), "active"),
        (job(owner="the one before"), "active"),
        *((job(state), "over") for state in ("disabling", "disabled", "terminating", "completed", "deleting")),
        (job(pool_id="mine"), "over"),
        (job(owner="somebody"), "foreign"),
        (job("completed", owner="somebody"), "foreign"),
        (job(owner=None), "foreign"),
        (job("deleting", owner="somebody"), "over"),
    ],
)
def test_the_jobs_side(found: BatchJob | None, expected: JobFound) -> None:
    assert judge_job(found, OWNERS, "topn-x-g1") == expected


def pool(owner: str | None = "me", **changes: object) -> BatchPool:
    return BatchPool(
        {
            "state": "active",
            "vmSize": "standard_d2s_v3",
            "taskSlotsPerNode": 1,
            "autoScaleFormula": Lease(0, 1, NOW + HOUR).formula,
            "creationTime": f"{NOW - MINUTE:%Y-%m-%dT%H:%M:%SZ}",
            "startTask": START.as_dict(),
            "metadata": [{"name": OWNER, "value": owner}] if owner else [],
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, "none"),
        (pool(), "active"),
        (pool("the one before"), "active"),
        (pool(state="deleting"), "gone"),
        (pool("somebody", state="deleting"), "gone"),
        (pool("somebody"), "foreign"),
        (pool(None), "foreign"),
        (pool(vmSize="standard_d4s_v3"), "gone"),
        (pool(taskSlotsPerNode=2), "gone"),
        (pool(startTask={"commandLine": "another application"}), "gone"),
        (pool(startTask=None), "gone"),
        (pool(autoScaleFormula="$TargetDedicatedNodes = 1;"), "gone"),
        (pool(autoScaleFormula=Lease(0, 1, NOW - MINUTE).formula), "gone"),
        (pool(autoScaleFormula=Lease(0, 1, NOW + 4 * MINUTE).formula), "gone"),
        (pool(creationTime=f"{NOW - 40 * MINUTE:%Y-%m-%dT%H:%M:%SZ}"), "active"),
        (pool(creationTime=f"{NOW - 50 * MINUTE:%Y-%m-%dT%H:%M:%SZ}"), "gone"),
    ],
)
def test_the_pools_side(found: BatchPool | None, expected: PoolFound) -> None:
    assert find_pool(found, OWNERS, WANTED, NOW) == expected
    assert find_pool(found, OWNERS, replace(WANTED, pool_id="mine"), NOW) == "named"


# Against the emulator: a dead run, and the one that goes on with it.


@pytest.fixture
async def claim(clients: Clients) -> AsyncIterator[Claim]:
    """The claim of a run that came after another one."""
    run = Run(f"rec-{uuid.uuid4().hex[:12]}", str(uuid.uuid4()))
    async with claiming(clients, run) as held:
        await held.take(HOUR)
        await held.write(Record(run.owner, 1, ("the one before",)))
        yield held


async def make_pool(clients: Clients, id: str, owner: str = "the one before") -> None:
    await create_pool(
        clients,
        id,
        auto_scale_formula=Lease(0, 0, datetime.now(UTC) + HOUR).formula,
        auto_scale_evaluation_interval=INTERVAL,
        start_task=START,
        metadata=[BatchMetadataItem(name=OWNER, value=owner)],
    )


async def make_job(clients: Clients, id: str, *task_ids: str, pool_id: str = "", owner: str = "the one before") -> None:
    await clients.batch.create_job(
        BatchJobCreateOptions(
            id=id,
            pool_info=BatchPoolInfo(pool_id=pool_id or id),
            constraints=BatchJobConstraints(max_wall_clock_time=5 * MINUTE),
            metadata=[BatchMetadataItem(name=OWNER, value=owner)],
        )
    )
    for task_id in task_ids:
        await clients.batch.create_task(id, BatchTaskCreateOptions(id=task_id, command_line="/bin/true"))


async def there(clients: Clients) -> dict[str, str]:
    """What is there and is not being deleted, and whose it is."""
    found = {}
    async for job in clients.batch.list_jobs():
        if job.state != "deleting":
            found[f"job {job.id}"] = (job.metadata or [])[0].value
    async for pool in clients.batch.list_pools():
        if pool.state != "deleting":
            found[f"pool {pool.id}"] = (pool.metadata or [])[0].value
    return found


async def test_nothing_there_is_the_first_generation(clients: Clients, claim: Claim) -> None:
    recovered = await recover.fn(clients, claim, WANTED)
    assert (recovered.action, recovered.run.generation) == (Action.CREATE_BOTH, 1)
    assert claim.record == Record(claim.run.owner, 1, ()), "nothing of those before is left"


async def test_a_live_job_and_pool_change_their_owner_and_last_longer(clients: Clients, claim: Claim) -> None:
    id, me = claim.run.job_id, claim.run.owner
    await make_pool(clients, id)
    await make_job(clients, id, "a", "b-a2")
    recovered = await recover.fn(clients, claim, WANTED)
    assert recovered.action is Action.ADOPT_BOTH
    assert await there(clients) == {f"job {id}": me, f"pool {id}": me}
    constraints = (await clients.batch.get_job(id)).constraints
    assert constraints is not None
    assert constraints.max_wall_clock_time is not None
    assert HOUR / 2 <= constraints.max_wall_clock_time < HOUR / 2 + MINUTE
    assert (await recover.fn(clients, claim, WANTED)).action is Action.ADOPT_BOTH, "and again, after a crash"


async def test_a_job_that_counts_other_files_too_is_deleted_with_its_pool(clients: Clients, claim: Claim) -> None:
    id = claim.run.job_id
    await make_pool(clients, id)
    await make_job(clients, id, "a", "another")
    recovered = await recover.fn(clients, claim, WANTED)
    assert (recovered.action, recovered.run.job_id) == (Action.CREATE_BOTH, f"topn-{claim.run.key}-g2")
    assert await there(clients) == {}
    assert claim.record.generation == 2


async def test_a_pool_without_a_job_is_adopted_and_a_job_without_a_pool_is_not(clients: Clients, claim: Claim) -> None:
    id = claim.run.job_id
    await make_pool(clients, id)
    assert (await recover.fn(clients, claim, WANTED)).action is Action.ADOPT_POOL
    assert await there(clients) == {f"pool {id}": claim.run.owner}
    await clients.batch.begin_delete_pool(id)
    await make_job(clients, id, "a", owner=claim.run.owner)
    assert (await recover.fn(clients, claim, WANTED)).run.generation == 2
    assert await there(clients) == {}


async def test_with_a_pool_of_the_users_only_the_job_is_adopted(clients: Clients, claim: Claim) -> None:
    id = claim.run.job_id
    await make_pool(clients, "mine", owner="a person")
    await make_pool(clients, id)
    await make_job(clients, id, "a", pool_id="mine")
    recovered = await recover.fn(clients, claim, replace(WANTED, pool_id="mine"))
    assert recovered.action is Action.ADOPT_JOB
    assert await there(clients) == {f"job {id}": claim.run.owner, "pool mine": "a person"}


@pytest.mark.parametrize("kind", ["job", "pool"])
async def test_what_is_not_this_keys_is_refused_and_spared(kind: str, clients: Clients, claim: Claim) -> None:
    id = claim.run.job_id
    if kind == "job":
        await make_job(clients, id, "a", owner="somebody", pool_id="mine")
    else:
        await make_pool(clients, id, owner="somebody")
    # A key of which this one is a beginning, and earlier generations: theirs, and ours.
    await make_job(clients, f"{id}-g1", owner="the one before")
    with pytest.raises(RunFailed, match=f"The {kind} {id} exists already and is not this run's"):
        await recover.fn(clients, claim, WANTED)
    assert await there(clients) == {f"{kind} {id}": "somebody", f"job {id}-g1": "the one before"}


async def test_earlier_generations_of_those_before_are_deleted_and_nobody_elses(clients: Clients, claim: Claim) -> None:
    key, me = claim.run.key, claim.run.owner
    await claim.write(replace(claim.record, generation=3))
    for id, owner in ((f"topn-{key}-g1", "the one before"), (f"topn-{key}-g2", "somebody"), (f"topn-{key}-g3", me)):
        await make_pool(clients, id, owner)
        await make_job(clients, id, "a", owner=owner)
    assert (await recover.fn(clients, claim, WANTED)).action is Action.ADOPT_BOTH
    assert await there(clients) == {
        f"job topn-{key}-g2": "somebody",
        f"pool topn-{key}-g2": "somebody",
        f"job topn-{key}-g3": me,
        f"pool topn-{key}-g3": me,
    }
