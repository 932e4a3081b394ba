"""Step 3: a pool of Linux nodes, made ready by its start task."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime

from azure.batch.models import (
    AutoUserScope,
    AutoUserSpecification,
    BatchPoolCreateOptions,
    BatchStartTask,
    BatchSupportedImage,
    ElevationLevel,
    ImageVerificationType,
    OSType,
    UserIdentity,
    VirtualMachineConfiguration,
)
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from prefect import get_run_logger, task

from tasks.access import NodeAccess
from tasks.application import TRAVELLED, Application, resource_file
from tasks.clients import Clients
from tasks.errors import BadInput, RunFailed, error_code
from tasks.lease import INTERVAL, Terms
from tasks.retries import STEP
from tasks.run import Run

CHECK_PYTHON = (
    "python3 -c 'import sys; sys.version_info >= (3, 10) or "
    'sys.exit("topn needs Python 3.10 or newer on the node; this image has " + sys.version.split()[0])\''
)


def start_command(application: Application) -> str:
    """What a start task does: check Python, and stage the application where all tasks may read and run it.

    Tasks run as an unprivileged user, and a resource file of an elevated start task belongs to root with mode 0770.
    They may not write there, so that what Python would compile for each of them is compiled once, here.
    """
    folder = f'"{application.staged}"'
    staging = f"mkdir -p {folder}; cp {TRAVELLED}/* {folder}; python3 -m compileall -q {folder}; chmod -R 0755 {folder}"
    return f"set -e; {CHECK_PYTHON}; {staging}"


def in_shell(commands: str) -> str:
    """A command line that runs shell commands: Batch itself runs no shell."""
    return f"/bin/bash -c {shlex.quote(commands)}"


@task(name="pool", **STEP)
async def create_pool(
    access: NodeAccess,
    run: Run,
    application: Application,
    *,
    image: str,
    vm_size: str,
    terms: Terms,
    task_slots: int,
) -> None:
    """Create the run's pool, whose start task checks Python and stages the application that step 2 uploaded.

    Args:
        access: how its nodes reach the application, for as long as they may start.
        image: "publisher:offer:sku".
        terms: how many nodes, and for how long: the pool is created with its first lease.
        task_slots: Batch tasks at once on each node.

    Raises:
        BadInput: Batch lists no verified image of that name.
        RunFailed: the pool's id is another run's.
    """
    get_run_logger().info("Creating pool [%s]...", run.pool_id)
    clients = access.clients
    chosen = await find_image(clients, image)
    pool = BatchPoolCreateOptions(
        id=run.pool_id,
        vm_size=vm_size,
        enable_auto_scale=True,
        auto_scale_formula=terms.first(datetime.now(UTC)).formula,
        auto_scale_evaluation_interval=INTERVAL,
        task_slots_per_node=task_slots,
        virtual_machine_configuration=VirtualMachineConfiguration(
            image_reference=chosen.image_reference, node_agent_sku_id=chosen.node_agent_sku_id
        ),
        start_task=await start_task(access, run, application),
        metadata=run.metadata,
    )
    try:
        await clients.batch.create_pool(pool)
    except ResourceExistsError as error:
        if error_code(error) != "PoolExists":  # the client takes any 409 for this, a quota's too
            raise
        existing = await clients.batch.get_pool(run.pool_id)
        if not run.owns(existing.metadata):
            raise RunFailed(f"The pool {run.pool_id} exists already: choose another run key than {run.key}.") from None


async def start_task(access: NodeAccess, run: Run, application: Application) -> BatchStartTask:
    """Stages the application on a node."""
    return BatchStartTask(
        command_line=in_shell(start_command(application)),
        resource_files=[await resource_file(access, run)],
        user_identity=UserIdentity(
            auto_user=AutoUserSpecification(scope=AutoUserScope.POOL, elevation_level=ElevationLevel.ADMIN)
        ),
        wait_for_success=True,
    )


async def check_pool(clients: Clients, pool_id: str, identity: str | None = None) -> int:
    """Make sure that a pool named by the user is there, and has an identity; how many task slots its nodes have.

    Raises BadInput.
    """
    fields = ["taskSlotsPerNode", "identity"] if identity else ["taskSlotsPerNode"]
    try:
        pool = await clients.batch.get_pool(pool_id, select=fields)
    except ResourceNotFoundError:
        raise BadInput(f"There is no pool {pool_id} in this Batch account.") from None
    assigned = (pool.identity.user_assigned_identities if pool.identity else None) or []
    if identity and identity.lower() not in {one.resource_id.lower() for one in assigned}:
        known = ", ".join(one.resource_id for one in assigned)
        raise BadInput(f"The pool {pool_id} does not have the identity {identity}; it has {known or 'none'}.")
    return pool.task_slots_per_node or 1


async def find_image(clients: Clients, image: str) -> BatchSupportedImage:
    """The newest verified Linux image of a name "publisher:offer:sku", supported for the longest. Raises BadInput."""
    return newest_verified(await clients.supported_images(), image)


def newest_verified(supported: Sequence[BatchSupportedImage], image: str) -> BatchSupportedImage:
    """Choose from the images that Batch supports; names compare without case. Raises BadInput."""
    verified = [
        one
        for one in supported
        if one.os_type == OSType.LINUX and one.verification_type == ImageVerificationType.VERIFIED
    ]
    named = [one for one in verified if _name(one).lower() == image.lower()]
    if not named:
        known = ", ".join(sorted({_name(one) for one in verified}))
        raise BadInput(f"Batch lists no verified Linux image {image}; it lists {known or 'none'}.")
    never = datetime.max.replace(tzinfo=UTC)
    return max(named, key=lambda one: (one.batch_support_end_of_life or never, one.image_reference.version or ""))


def _name(image: BatchSupportedImage) -> str:
    reference = image.image_reference
    return f"{reference.publisher}:{reference.offer}:{reference.sku}"
