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

from azure.batch.models import BatchJob, BatchJobState, BatchPool, BatchPoolState
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from prefect import task

from tasks.clients import Clients
from tasks.containers import owns_container
from tasks.errors import brief
from tasks.logs import run_logger
from tasks.retries import STEP
from tasks.run import Run

Keep = Literal["nothing", "results", "everything"]

_FIELDS = ["id", "state", "metadata"]


def kept_containers(run: Run, keep: Keep) -> Collection[str]:
    """The containers that `keep` spares."""
    return {"nothing": (), "results": (run.output_container,), "everything": run.containers}[keep]


async def _jobs(clients: Clients, run: Run) -> AsyncIterator[BatchJob]:
    async for job in clients.batch.list_jobs(filter=f"startswith(id,'topn-{run.key}-g')", select=_FIELDS):
        if run.owns(job.metadata):
            yield job


async def _pools(clients: Clients, run: Run) -> AsyncIterator[BatchPool]:
    async for pool in clients.batch.list_pools(filter=f"startswith(id,'topn-{run.key}-g')", select=_FIELDS):
        if run.owns(pool.metadata):
            yield pool


async def release_job(clients: Clients, run: Run) -> None:
    """Start deleting the run's job with its tasks; one that is gone, or not this run's, is no error."""
    async for job in _jobs(clients, run):
        if job.state != BatchJobState.DELETING:
            run_logger().info("Deleting job [%s]...", job.id)
            with contextlib.suppress(ResourceNotFoundError, ResourceExistsError):  # gone, or being deleted (409)
                await clients.batch.begin_delete_job(job.id)


async def release_pool(clients: Clients, run: Run) -> None:
    """Start deleting the run's pool with its nodes; one that is gone, or not this run's, is no error."""
    async for pool in _pools(clients, run):
        if pool.state != BatchPoolState.DELETING:
            run_logger().info("Deleting pool [%s]...", pool.id)
            with contextlib.suppress(ResourceNotFoundError, ResourceExistsError):
                await clients.batch.begin_delete_pool(pool.id)


async def release_containers(clients: Clients, run: Run, keep: Keep) -> None:
    """Delete the run's containers but those that `keep` spares; one gone, or not this run's, is no error."""
    for name in run.containers:
        if name in kept_containers(run, keep):
            continue
        with contextlib.suppress(ResourceNotFoundError, ResourceExistsError):
            if await owns_container(clients, run, name):
                run_logger().info("Deleting container [%s]...", name)
                await clients.blobs.get_container_client(name).delete_container()


async def try_each(run: Run, steps: Mapping[str, Callable[[], Awaitable[None]]], patience: timedelta) -> None:
    """Take the steps of a release, each in bounded time and whatever becomes of the others; log what fails."""
    for name, step in steps.items():
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await step()
        except (AzureError, TimeoutError) as error:
            run_logger().error("Could not delete the %s of run %s: %s", name, run.key, brief(error))


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

    async for job in _jobs(clients, run):
        note(f"job {job.id}", job.state == BatchJobState.DELETING)
    async for pool in _pools(clients, run):
        note(f"pool {pool.id}", pool.state == BatchPoolState.DELETING)
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
