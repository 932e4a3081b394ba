"""The lease: nodes until then and none afterwards, renewed while the run lives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.batch.models import (
    BatchJobCreateOptions,
    BatchPoolInfo,
    BatchTaskCreateOptions,
)
from azure.core.rest import HttpRequest

from deployments.services import services
from tasks.clients import Clients
from tasks.lease import INTERVAL, Lease, Terms, kept, renew
from tasks.run import Run
from tests.conftest import create_pool, until


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, str]]:
    """One whose service is in a hurry: it takes a new formula after a second and a half, not after half a minute."""
    with services("--speed", "20") as environment:
        yield environment


RUN = Run("leased", "the owner")
HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


async def create_leased_pool(clients: Clients, lease: Lease, run: Run = RUN) -> None:
    await create_pool(
        clients,
        RUN.pool_id,
        auto_scale_formula=lease.formula,
        auto_scale_evaluation_interval=INTERVAL,
        metadata=run.metadata,
    )


async def control(clients: Clients, what: str, **settings: object) -> None:
    answer = await clients.batch.send_request(HttpRequest("POST", f"/_emulator/{what}", json=settings))
    answer.raise_for_status()


async def nodes_become(clients: Clients, dedicated: int, spot: int) -> None:
    async def reached() -> bool:
        pool = await clients.batch.get_pool(RUN.pool_id)
        now = (pool.current_dedicated_nodes, pool.current_low_priority_nodes)
        return pool.allocation_state == "steady" and now == (dedicated, spot)

    await until(reached, f"the pool has {dedicated} nodes and {spot} spot nodes")


async def held(clients: Clients) -> Lease:
    lease = Lease.read((await clients.batch.get_pool(RUN.pool_id)).auto_scale_formula)
    assert lease is not None
    return lease


def soon() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10)


def test_the_end_is_read_back_out_of_the_formula() -> None:
    lease = Lease(2, 3, NOON)
    assert Lease.read(lease.formula) == lease
    assert lease.formula.startswith('$TargetDedicatedNodes = time() < time("2026-11-28T12:00:00Z") ? 2 : 0;')


@pytest.mark.parametrize(
    "formula",
    [
        None,
        "",
        "$TargetDedicatedNodes = 3;",
        Lease(1, 0, NOON).formula + "\n$TargetDedicatedNodes = 100;",
        Lease(1, 0, NOON).formula.replace("2026-11-28", "2027-11-28", 1),
    ],
)
def test_another_formula_is_no_lease(formula: str | None) -> None:
    assert Lease.read(formula) is None


def test_a_lease_is_an_hour_and_never_beyond_the_ceiling() -> None:
    assert Terms(1, 1, 10).first(NOON).end == NOON + HOUR
    assert Terms(1, 1, 1).first(NOON).end == NOON + HOUR / 2
    terms, created = Terms(4, 0, 6), NOON
    lease = terms.renewed(terms.first(NOON), created, NOON + HOUR / 3)
    assert lease.end == NOON + HOUR * 4 / 3
    assert terms.renewed(lease, created, NOON + HOUR).end == NOON + HOUR * 1.5
    assert terms.renewed(lease, created, NOON).end == lease.end, "a lease is never shortened"


async def test_nodes_are_gone_when_the_lease_has_ended_and_the_client_is_not_there(clients: Clients) -> None:
    await create_leased_pool(clients, Terms(2, 1, 3).first(datetime.now(UTC)))
    await nodes_become(clients, 2, 1)
    await control(clients, "settings", clockOffset=3601)
    await nodes_become(clients, 0, 0)


async def test_it_is_renewed_while_the_run_lives_also_after_trouble(
    clients: Clients, caplog: pytest.LogCaptureFixture
) -> None:
    first = Lease(1, 0, soon())
    await create_leased_pool(clients, first)
    # Four, as the client itself tries so often before the keeper hears of it.
    await control(
        clients, "faults", action="answer", status=503, count=4, method="POST", path="/pools/*/enableautoscale"
    )
    async with kept(clients, RUN, Terms(1, 0, 5), every=timedelta(seconds=0.1), retry=timedelta(seconds=0.5)):

        async def renewed() -> bool:
            return (await held(clients)).end > first.end

        await until(renewed, "the lease is renewed")
    assert "cannot be renewed (503 ServerBusy): its nodes leave when it ends" in caplog.text
    lease = await held(clients)
    assert (lease.nodes, lease.spot_nodes) == (1, 0)
    assert lease.end - datetime.now(UTC) > timedelta(minutes=59)
    await nodes_become(clients, 1, 0)


async def test_the_pool_of_another_run_and_one_that_is_not_there_are_left_alone(clients: Clients) -> None:
    first = Lease(0, 0, soon())
    async with kept(clients, RUN, Terms(1, 0, 5), every=timedelta(seconds=0.05)):
        await asyncio.sleep(0.2)  # several times in vain
        await create_leased_pool(clients, first, Run("leased", "somebody else"))
        assert await renew(clients, RUN, Terms(1, 0, 5)) is None
    assert await held(clients) == first


async def test_scaling_in_gives_up_the_nodes_that_have_nothing_left_to_do(clients: Clients) -> None:
    terms = Terms(3, 0, 3, scale_in=True)
    await create_leased_pool(clients, Lease(3, 0, soon()))
    await nodes_become(clients, 3, 0)
    await clients.batch.create_job(BatchJobCreateOptions(id=RUN.job_id, pool_info=BatchPoolInfo(pool_id=RUN.pool_id)))
    for id, seconds in (("quick", 0), ("slow", 600)):
        await clients.batch.create_task(RUN.job_id, BatchTaskCreateOptions(id=id, command_line=f"sleep {seconds}"))

    async def one_left() -> bool:
        counts = (await clients.batch.get_job_task_counts(RUN.job_id)).task_counts
        return (counts.running, counts.completed) == (1, 1)

    await until(one_left, "one task runs and the other has completed")
    async with kept(clients, RUN, terms, every=timedelta(seconds=0.1), retry=timedelta(seconds=0.5)):
        await nodes_become(clients, 1, 0)
    task = await clients.batch.get_task(RUN.job_id, "slow")
    assert task.state == "running"
    assert task.execution_info is not None
    assert task.execution_info.requeue_count == 0
