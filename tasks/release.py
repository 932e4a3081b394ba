"""Steps 8 and 9: what the run made is deleted again: job, pool, then containers; and only what it still owns.

A run's jobs and pools are found by their names and its mark, so that also a hook in another process finds all of
them, whatever generation they are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from azure.batch.models import BatchJob, BatchPool
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from prefect import task

from tasks.clients import Clients
from tasks.containers import owns_container
from tasks.errors import TryAgain, brief
from tasks.logs import run_logger
from tasks.retries import STEP
from tasks.run import OWNER, Run, owner_of

Keep = Literal["nothing", "results", "everything"]

_FIELDS = ["id", "state", "metadata", "eTag"]
DELETING = "deleting"  # as BatchJobState and BatchPoolState have it
ROUNDS = 5  # while what is to be deleted is being changed, as by the service itself


def kept_containers(run: Run, keep: Keep) -> Collection[str]:
    """The containers that `keep` spares."""
    return {"nothing": (), "results": (run.output_container,), "everything": run.containers}[keep]


async def _jobs(clients: Clients, run: Run, owners: Collection[str]) -> AsyncIterator[BatchJob]:
    async for job in clients.batch.list_jobs(filter=f"startswith(id,'{run.job_prefix}')", select=_FIELDS):
        if run.names(str(job.id)) and owner_of(job.metadata) in owners:
            yield job


async def _pools(clients: Clients, run: Run, owners: Collection[str]) -> AsyncIterator[BatchPool]:
    async for pool in clients.batch.list_pools(filter=f"startswith(id,'{run.job_prefix}')", select=_FIELDS):
        if run.names(str(pool.id)) and owner_of(pool.metadata) in owners:
            yield pool


async def delete_jobs(clients: Clients, run: Run, owners: Collection[str], spared: str | None = None) -> None:
    """Start deleting the jobs of the run's key, of all generations, that these flow runs own.

    One that is gone is no error; one that another run takes over meanwhile is left to it. Raises TryAgain.
    """
    await _delete_all("job", run, lambda: _jobs(clients, run, owners), clients.batch.begin_delete_job, spared)


async def delete_pools(clients: Clients, run: Run, owners: Collection[str], spared: str | None = None) -> None:
    """Start deleting the pools of the run's key with their nodes, as `delete_jobs` does the jobs."""
    await _delete_all("pool", run, lambda: _pools(clients, run, owners), clients.batch.begin_delete_pool, spared)


async def _delete_all(
    noun: str,
    run: Run,
    find: Callable[[], AsyncIterator[BatchJob] | AsyncIterator[BatchPool]],
    delete: Callable[..., Awaitable[object]],
    spared: str | None,
) -> None:
    for _ in range(ROUNDS):
        changed = False
        async for one in find():
            if one.state != DELETING and one.id != spared:
                run_logger().info("Deleting %s [%s]...", noun, one.id)
                changed |= not await _deleted(delete, one)
        if not changed:
            return
    raise TryAgain(f"The {noun} of run {run.key} changes all the time.")


async def _deleted(delete: Callable[..., Awaitable[object]], one: BatchJob | BatchPool) -> bool:
    """Start deleting it as it was listed; False when it was changed since, and must be looked at again."""
    try:
        await delete(one.id, etag=one.etag, match_condition=MatchConditions.IfNotModified)
    except ResourceModifiedError:
        return False
    except (ResourceNotFoundError, ResourceExistsError):  # gone, or being deleted (409)
        return True
    return True


async def release_job(clients: Clients, run: Run) -> None:
    """Start deleting the run's jobs with their tasks; one that is gone, or not this run's, is no error."""
    await delete_jobs(clients, run, {run.owner})


async def release_pool(clients: Clients, run: Run) -> None:
    """Start deleting the run's pools with their nodes; one that is gone, or not this run's, is no error."""
    await delete_pools(clients, run, {run.owner})


async def release_containers(clients: Clients, run: Run, keep: Keep) -> None:
    """Delete the run's containers but those that `keep` spares; one gone, or not this run's, is no error.

    The application container goes last, and only when no job and no pool is left to be deleted: it holds the claim,
    which tells the next run with this key whose these are.
    """
    for name in (run.output_container, run.input_container, run.application_container):
        if name in kept_containers(run, keep):
            continue
        if name == run.application_container and await _something_stays(clients, run):
            continue
        with contextlib.suppress(ResourceNotFoundError, ResourceExistsError, ResourceModifiedError):
            await _delete_container(clients, run, name)


async def _something_stays(clients: Clients, run: Run) -> bool:
    jobs = [job async for job in _jobs(clients, run, {run.owner}) if job.state != DELETING]
    pools = [pool async for pool in _pools(clients, run, {run.owner}) if pool.state != DELETING]
    return bool(jobs or pools)


async def _delete_container(clients: Clients, run: Run, name: str) -> None:
    container = clients.blobs.get_container_client(name)
    properties = await container.get_container_properties()
    if (properties.metadata or {}).get(OWNER) == run.owner:
        run_logger().info("Deleting container [%s]...", name)
        # Whoever takes it over writes its metadata, and so is its last change later than this.
        await container.delete_container(if_unmodified_since=properties.last_modified)


async def try_each(run: Run, steps: Mapping[str, Callable[[], Awaitable[None]]], patience: timedelta) -> None:
    """Take the steps of a release, each in bounded time and whatever becomes of the others; log what fails."""
    for name, step in steps.items():
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await step()
        except (AzureError, TimeoutError, TryAgain) as error:
            cause = str(error) if isinstance(error, TryAgain) else brief(error)
            run_logger().error("Could not delete the %s of run %s: %s", name, run.key, cause)


@task(name="release job", **STEP)
async def delete_job(clients: Clients, run: Run) -> None:
    """Step 8, the job."""
    await release_job(clients, run)


@task(name="release pool", **STEP)
async def delete_pool(clients: Clients, run: Run) -> None:
    """Step 8, the pool."""
    await release_pool(clients, run)


@task(name="release containers", **STEP)
async def delete_containers(clients: Clients, run: Run, keep: Keep) -> None:
    """Step 9."""
    await release_containers(clients, run, keep)


@dataclass(frozen=True)
class Remains:
    """What of a run is still there, such as "pool topn-x-g1"."""

    left_behind: list[str]
    deleting: list[str]  # on its way: Batch takes minutes over nodes


@task(name="left behind", **STEP)
async def find_remains(clients: Clients, run: Run) -> Remains:
    """Ask for each thing that the run may have made."""
    remains = Remains([], [])

    def note(what: str, deleting: bool) -> None:
        (remains.deleting if deleting else remains.left_behind).append(what)

    async for job in _jobs(clients, run, {run.owner}):
        note(f"job {job.id}", job.state == DELETING)
    async for pool in _pools(clients, run, {run.owner}):
        note(f"pool {pool.id}", pool.state == DELETING)
    for name in run.containers:
        with contextlib.suppress(ResourceNotFoundError):
            if await owns_container(clients, run, name):
                note(f"container {name}", False)
    return remains


def unreleased(run: Run, keep: Keep, left_behind: list[str]) -> list[str]:
    """What is left behind although `keep` does not ask for it."""
    if keep == "everything":
        return []
    spared = {f"container {name}" for name in kept_containers(run, keep)}
    return [name for name in left_behind if name not in spared]
