"""Steps 8 and 9: what the run made is deleted again: job, pool, then containers."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from azure.batch.models import BatchJobState, BatchPoolState
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from prefect import get_run_logger, task

from tasks.clients import Clients
from tasks.containers import owns_container
from tasks.retries import STEP
from tasks.run import Run

Keep = Literal["nothing", "results", "everything"]


def kept_containers(run: Run, keep: Keep) -> Collection[str]:
    """The containers that `keep` spares."""
    return {"nothing": (), "results": (run.output_container,), "everything": run.containers}[keep]


@task(name="release job", **STEP)
async def delete_job(clients: Clients, run: Run) -> None:
    """Start deleting the run's job with its tasks; one that is gone, or not this run's, is no error."""
    try:
        job = await clients.batch.get_job(run.job_id)
        if run.owns(job.metadata):
            get_run_logger().info("Deleting job [%s]...", run.job_id)
            await clients.batch.begin_delete_job(run.job_id)
    except (ResourceNotFoundError, ResourceExistsError):
        pass  # gone, or being deleted already (409)


@task(name="release pool", **STEP)
async def delete_pool(clients: Clients, run: Run) -> None:
    """Start deleting the run's pool with its nodes; one that is gone, or not this run's, is no error."""
    try:
        pool = await clients.batch.get_pool(run.pool_id)
        if run.owns(pool.metadata):
            get_run_logger().info("Deleting pool [%s]...", run.pool_id)
            await clients.batch.begin_delete_pool(run.pool_id)
    except (ResourceNotFoundError, ResourceExistsError):
        pass


@task(name="release containers", **STEP)
async def delete_containers(clients: Clients, run: Run, keep: Keep) -> None:
    """Delete the run's containers but those that `keep` spares; one gone, or not this run's, is no error."""
    for name in run.containers:
        if name in kept_containers(run, keep):
            continue
        try:
            if await owns_container(clients, run, name):
                get_run_logger().info("Deleting container [%s]...", name)
                await clients.blobs.get_container_client(name).delete_container()
        except (ResourceNotFoundError, ResourceExistsError):
            pass


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

    with contextlib.suppress(ResourceNotFoundError):
        job = await clients.batch.get_job(run.job_id)
        if run.owns(job.metadata):
            note(f"job {run.job_id}", job.state == BatchJobState.DELETING)
    with contextlib.suppress(ResourceNotFoundError):
        pool = await clients.batch.get_pool(run.pool_id)
        if run.owns(pool.metadata):
            note(f"pool {run.pool_id}", pool.state == BatchPoolState.DELETING)
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
