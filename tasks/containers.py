"""Step 1: the run's own three containers, made or taken over from a run with the same key that is no more."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from prefect import task

from tasks.clients import Clients
from tasks.errors import RunFailed, error_code
from tasks.logs import run_logger
from tasks.retries import STEP
from tasks.run import OWNER, Run

UNTIL = "topn_until"  # of a container: when topn-sweep may delete it, in ISO 8601

# Blob Storage blocks the name of a deleted container for half a minute, and longer when it was full.
DELETION_TIMEOUT = timedelta(minutes=2)
DELETION_INTERVAL = timedelta(seconds=2)


@task(name="containers", **STEP)
async def create_containers(clients: Clients, run: Run, retention: timedelta) -> None:
    """Create the application, input and output container, each marked with how long it may stay if it is left.

    Those of an earlier run with this key are taken over with what is in them: the run must hold the key's claim.
    Raises RunFailed when a name is taken by something else.
    """
    run_logger().info("Creating containers [%s]...", "], [".join(run.containers))
    for name in run.containers:
        if not await make_container(clients, run, name, retention):
            await mark_container(clients, run, name, retention)


async def adopt_containers(clients: Clients, run: Run, retention: timedelta) -> None:
    """Take over those that an earlier run with this key has left, and make none. Raises azure-core's errors."""
    for name in run.containers:
        try:
            properties = await clients.blobs.get_container_client(name).get_container_properties()
        except (ResourceNotFoundError, ResourceExistsError):  # none, or it is being deleted
            continue
        if OWNER in (properties.metadata or {}):
            await mark_container(clients, run, name, retention)


async def make_container(clients: Clients, run: Run, name: str, retention: timedelta) -> bool:
    """Create a container with the run's mark; False where one with some run's mark is there already.

    Waits for one that is being deleted. Raises RunFailed for one without a mark, or at the end of its patience.
    """
    loop, container = asyncio.get_running_loop(), clients.blobs.get_container_client(name)
    deadline, said = loop.time() + DELETION_TIMEOUT.total_seconds(), False
    while True:
        try:
            await container.create_container(metadata=_mark(run, retention))
        except HttpResponseError as error:
            if error.status_code != 409:
                raise
            being_deleted = error_code(error) == "ContainerBeingDeleted"
        else:
            return True
        if not being_deleted:
            try:
                properties = await container.get_container_properties()
            except ResourceNotFoundError:
                being_deleted = True
            else:
                if OWNER in (properties.metadata or {}):
                    return False
                raise RunFailed(
                    f"The container {name} exists already and is no run's: choose another run key than {run.key}."
                )
        if loop.time() >= deadline:
            raise RunFailed(f"The container {name} is still being deleted: try again, or with another run key.")
        if not said:
            run_logger().info("Container [%s] is being deleted: waiting until its name is free...", name)
            said = True
        await asyncio.sleep(DELETION_INTERVAL.total_seconds())


async def mark_container(clients: Clients, run: Run, name: str, retention: timedelta) -> None:
    """Make a container this run's; only who holds the key's claim may. Raises azure-core's errors."""
    await clients.blobs.get_container_client(name).set_container_metadata(_mark(run, retention))


def _mark(run: Run, retention: timedelta) -> dict[str, str]:
    return {OWNER: run.owner, UNTIL: (datetime.now(UTC) + retention).isoformat(timespec="seconds")}


async def owns_container(clients: Clients, run: Run, name: str) -> bool:
    """Whether this run made this container. Raises azure-core's ResourceNotFoundError when it is not there."""
    properties = await clients.blobs.get_container_client(name).get_container_properties()
    return (properties.metadata or {}).get(OWNER) == run.owner
