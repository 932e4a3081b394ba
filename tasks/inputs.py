"""Step 2: the application files and the input files, uploaded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from prefect import get_run_logger, task

from tasks.application import TRAVELLED, Application
from tasks.clients import Clients
from tasks.concurrency import for_each
from tasks.errors import RunFailed
from tasks.files import Blob
from tasks.plan import InputFile
from tasks.retries import STEP
from tasks.run import Run

AT_ONCE = 16  # uploads; each holds one block in memory


@task(name="upload application", **STEP)
async def upload_application(clients: Clients, run: Run, application: Application) -> None:
    """Upload the application files into the application container."""
    container = clients.blobs.get_container_client(run.application_container)
    for name, content in application.files.items():
        get_run_logger().info("Uploading file %s to container [%s]...", name, run.application_container)
        await container.upload_blob(f"{TRAVELLED}/{name}", content, overwrite=True)


@task(name="upload inputs", **STEP)
async def upload_inputs(clients: Clients, run: Run, files: Iterable[InputFile]) -> None:
    """Upload the local inputs into the input container under their keys: any file name will do, identical files once.

    Files that are in Blob Storage already stay where they are.
    """
    logger = get_run_logger()
    local = {file.key: (file, file.place) for file in files if isinstance(file.place, Path)}

    async def upload(one: tuple[InputFile, Path]) -> None:
        file, path = one
        logger.info("Uploading file %s to container [%s]...", file.name, run.input_container)
        await _upload(clients, run.input_container, file.key, path)

    await for_each(upload, local.values(), AT_ONCE)


def blob_of(run: Run, file: InputFile) -> tuple[str, str]:
    """(container, name) of the blob that holds an input file, uploaded or not."""
    if isinstance(file.place, Blob):
        return file.place.container, file.place.name
    return run.input_container, file.key


async def _upload(clients: Clients, container: str, name: str, path: Path) -> None:
    try:
        stream = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise RunFailed(f"{path} cannot be read any more: {error.strerror}.") from error
    with stream:
        await clients.blobs.get_blob_client(container, name).upload_blob(stream, overwrite=True)
