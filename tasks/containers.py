"""Step 1: the run's own three containers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from azure.core.exceptions import ResourceExistsError
from prefect import get_run_logger, task

from tasks.clients import Clients
from tasks.errors import RunFailed, error_code
from tasks.retries import STEP
from tasks.run import OWNER, Run

UNTIL = "topn_until"  # of a container: when topn-sweep may delete it, in ISO 8601


@task(name="containers", **STEP)
async def create_containers(clients: Clients, run: Run, retention: timedelta) -> None:
    """Create the application, input and output container, each marked with how long it may stay if it is left.

    Raises RunFailed when a name is another run's.
    """
    get_run_logger().info("Creating containers [%s]...", "], [".join(run.containers))
    for name in run.containers:
        await _create_container(clients, run, name, datetime.now(UTC) + retention)


async def _create_container(clients: Clients, run: Run, name: str, until: datetime) -> None:
    container = clients.blobs.get_container_client(name)
    try:
        await container.create_container(metadata={OWNER: run.owner, UNTIL: until.isoformat(timespec="seconds")})
    except ResourceExistsError as error:
        # Ours, when this is the repetition of a creation whose answer was lost.
        if error_code(error) == "ContainerBeingDeleted" or not await owns_container(clients, run, name):
            raise RunFailed(
                f"The container {name} exists already or is being deleted: choose another run key than {run.key}."
            ) from None


async def owns_container(clients: Clients, run: Run, name: str) -> bool:
    """Whether this run made this container. Raises azure-core's ResourceNotFoundError when it is not there."""
    properties = await clients.blobs.get_container_client(name).get_container_properties()
    return (properties.metadata or {}).get(OWNER) == run.owner
