"""The claim: one run at a time works under a run key, and a dead one's passes on."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient

from tasks import claim
from tasks.claim import Claim, Record, claiming
from tasks.clients import Clients
from tasks.containers import create_containers, owns_container
from tasks.errors import RunFailed
from tasks.run import Run

DAY = timedelta(days=1)
SHORTEST = timedelta(seconds=15)


def new_run(key: str) -> Run:
    return Run(key, str(uuid.uuid4()))


@pytest.fixture
def key() -> str:
    return f"claim-{uuid.uuid4().hex[:12]}"


@contextlib.asynccontextmanager
async def dead(clients: Clients, run: Run) -> AsyncIterator[Claim]:
    """A claim that nobody renews any more, as a killed run leaves it."""
    async with asyncio.timeout(None) as scope:
        left = Claim(clients, run, SHORTEST, scope)
        await left.take(DAY)
        assert left._renewing is not None
        left._renewing.cancel()
        await asyncio.wait([left._renewing])
        yield left


def test_a_record_is_read_back_and_passes_on_with_all_owners_before() -> None:
    first = Record("a", 3)
    assert Record.read(first.metadata) == first
    assert Record.read(Record("a", closed=True).metadata).closed
    second = first.taken_by("b")
    assert second == Record("b", 3, ("a",))
    assert Record.read(second.metadata) == second
    assert second.taken_by("c").before == ("a", "b")
    assert second.taken_by("a") == Record("a", 3, ("b",)), "its own are not before it"
    assert second.taken_by("b") == second, "a retry of the same flow run"


@pytest.mark.parametrize("metadata", [None, {}, {claim.GENERATION: "x"}, {claim.GENERATION: "-1", claim.BEFORE: ","}])
def test_a_damaged_record_counts_as_none(metadata: dict[str, str] | None) -> None:
    assert Record.read(metadata) == Record("")


async def test_a_second_run_waits_and_is_refused_while_the_first_one_lives(clients: Clients, key: str) -> None:
    first, second = new_run(key), new_run(key)
    async with claiming(clients, first, SHORTEST) as held:
        await held.take(DAY)
        began = asyncio.get_running_loop().time()
        with pytest.raises(RunFailed, match=f"Flow run {first.owner} works under run key {key}"):
            async with claiming(clients, second, SHORTEST) as refused:
                await refused.take(DAY)
        waited = asyncio.get_running_loop().time() - began
        assert 18 <= waited < 25, "longer than a lease that is not renewed"
        assert await owns_container(clients, first, first.application_container)
    # Its end is the next one's beginning.
    async with asyncio.timeout(5), claiming(clients, second, SHORTEST) as held:
        await held.take(DAY)
        assert held.record == Record(second.owner, 1, (first.owner,))
        assert await owns_container(clients, second, first.application_container)


async def test_a_dead_runs_claim_passes_on_when_its_lease_has_ended_with_its_generation(
    clients: Clients, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = new_run(key), new_run(key)
    async with dead(clients, first) as left:
        await left.write(Record(first.owner, 4, ("one before",)))
        async with claiming(clients, second, SHORTEST) as held:
            await held.take(DAY)
            assert held.record == Record(second.owner, 4, ("one before", first.owner))
            assert held.owners == {second.owner, "one before", first.owner}
    assert f"still held by flow run {first.owner}: waiting up to 18 s" in caplog.text
    assert f"Going on with run key {key}, which flow run {first.owner} had" in caplog.text


async def test_a_retry_of_the_same_flow_run_holds_it_at_once(clients: Clients, key: str) -> None:
    run = new_run(key)
    async with dead(clients, run) as left:
        await left.write(Record(run.owner, 2, ("before",)))
        async with asyncio.timeout(5), claiming(clients, run, SHORTEST) as held:
            await held.take(DAY)
            await held.take(DAY)
            assert held.record == Record(run.owner, 2, ("before",))


async def test_a_run_whose_claim_another_one_has_is_stopped_and_touches_nothing_more(
    clients: Clients, key: str
) -> None:
    first, second, held = new_run(key), new_run(key), None
    with pytest.raises(RunFailed, match=f"Flow run {second.owner} has taken over run key {key}"):
        async with claiming(clients, first, SHORTEST) as held:
            await held.take(DAY)
            # As if this machine had slept for longer than the lease.
            claimed = clients.blobs.get_blob_client(first.application_container, claim.BLOB)
            await BlobLeaseClient(claimed, first.owner).release()
            async with dead(clients, second):
                await asyncio.sleep(30)
    assert held is not None
    assert not held.taken
    assert await owns_container(clients, second, second.application_container)


async def test_a_run_whose_claim_was_deleted_is_stopped(clients: Clients, key: str) -> None:
    run = new_run(key)
    with pytest.raises(RunFailed, match=f"The claim on run key {key} is gone"):
        async with claiming(clients, run, SHORTEST) as held:
            await held.take(DAY)
            await clients.blobs.get_container_client(run.application_container).delete_container()
            await asyncio.sleep(30)


async def test_a_run_that_deletes_its_containers_itself_is_not_stopped(clients: Clients, key: str) -> None:
    run = new_run(key)
    async with claiming(clients, run, SHORTEST) as held:
        await held.take(DAY)
        held.leave()
        await clients.blobs.get_container_client(run.application_container).delete_container()
        await asyncio.sleep(SHORTEST.total_seconds() / 3 + 1)
        assert held.taken


async def test_a_claim_that_was_never_taken_makes_nothing(clients: Clients, key: str) -> None:
    run = new_run(key)
    async with claiming(clients, run, SHORTEST) as held:
        assert not held.taken
    with pytest.raises(ResourceNotFoundError):
        await clients.blobs.get_container_client(run.application_container).get_container_properties()


async def test_containers_of_a_dead_run_are_taken_over_with_what_is_in_them(clients: Clients, key: str) -> None:
    first, second = new_run(key), new_run(key)
    await create_containers.fn(clients, first, DAY)
    await clients.blobs.get_blob_client(first.output_container, "KEY.json").upload_blob(b"{}")
    await create_containers.fn(clients, second, DAY)
    for name in second.containers:
        assert await owns_container(clients, second, name)
    assert await clients.blobs.get_blob_client(first.output_container, "KEY.json").exists()


async def test_a_container_that_is_no_runs_is_refused_and_left_as_it_is(clients: Clients, key: str) -> None:
    run = new_run(key)
    await clients.blobs.create_container(run.application_container, metadata={"mine": "yes"})
    with pytest.raises(RunFailed, match=f"{run.application_container} exists already and is no run's"):
        async with claiming(clients, run, SHORTEST) as held:
            await held.take(DAY)
    container = clients.blobs.get_container_client(run.application_container)
    assert (await container.get_container_properties()).metadata == {"mine": "yes"}
    assert [one async for one in container.list_blob_names()] == []
