"""Step 2: the application files and the input files, uploaded."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from azure.core.exceptions import ResourceNotFoundError
from prefect import get_run_logger, task

from tasks.application import TRAVELLED, Application
from tasks.clients import Clients
from tasks.concurrency import for_each
from tasks.errors import RunFailed
from tasks.files import Blob
from tasks.plan import InputFile
from tasks.retries import STEP, patiently
from tasks.run import Run

AT_ONCE = 16  # uploads; each holds one block in memory
MOST_TOLD = 20  # files, one by one: each line is a record in Prefect's database


@task(name="upload application", **STEP)
async def upload_application(clients: Clients, run: Run, application: Application) -> None:
    """Upload the application files into the application container."""
    container = clients.blobs.get_container_client(run.application_container)

    async def upload(name: str) -> None:
        await container.upload_blob(f"{TRAVELLED}/{name}", application.files[name], overwrite=True)

    number = len(application.files)
    get_run_logger().info("Uploading the application, %d files, to container [%s]...", number, container.container_name)
    await for_each(upload, application.files, AT_ONCE)


@task(name="upload inputs", **STEP)
async def upload_inputs(clients: Clients, run: Run, files: Sequence[InputFile]) -> dict[str, str]:
    """Upload the local inputs into the input container under their keys: any file name will do, identical files once.

    Files that are in Blob Storage already stay where they are. Returns, by key, why a file could not be uploaded:
    it is gone or changed since the plan; the others are not held up by that.
    """
    logger = get_run_logger()
    local = {file.key: (file, file.place) for file in files if isinstance(file.place, Path)}
    if len(local) > MOST_TOLD:
        logger.info("Uploading %d files to container [%s]...", len(local), run.input_container)
    failed: dict[str, str] = {}

    async def upload(one: tuple[InputFile, Path]) -> None:
        file, path = one
        if len(local) <= MOST_TOLD:
            logger.info("Uploading file %s to container [%s]...", file.name, run.input_container)
        try:
            # An interrupted upload begins again, and no other file with it.
            await patiently(lambda: _upload(clients, run.input_container, file, path))
        except RunFailed as error:
            failed[file.key] = str(error)

    await for_each(upload, local.values(), AT_ONCE)
    return failed


def blob_of(run: Run, file: InputFile) -> tuple[str, str]:
    """(container, name) of the blob that holds an input file, uploaded or not."""
    if isinstance(file.place, Blob):
        return file.place.container, file.place.name
    return run.input_container, file.key


async def _upload(clients: Clients, container: str, file: InputFile, path: Path) -> None:
    try:
        stream = await asyncio.to_thread(path.open, "rb")
    except OSError as error:
        raise RunFailed(f"it cannot be read any more: {error.strerror}") from error
    with stream:
        await clients.blobs.get_blob_client(container, file.key).upload_blob(stream, overwrite=True)
        now = os.fstat(stream.fileno())
    # Its key says what was in it at the time of the plan.
    if (now.st_size, now.st_mtime_ns) != (file.size_bytes, file.modified_ns):
        raise RunFailed("the file changed between the plan and its upload")


async def changed_blob(clients: Clients, file: InputFile) -> str | None:
    """Why what the node has counted may not be what the plan has: the blob changed since, or is gone; None: it is.

    An ETag never comes again, so the one of the plan, found after the counting, was there all the time.
    """
    if not isinstance(file.place, Blob):
        return None
    try:
        blob = clients.blobs.get_blob_client(file.place.container, file.place.name)
        properties = await blob.get_blob_properties()
    except ResourceNotFoundError:
        return "the blob was deleted during the run"
    if properties.etag.strip('"') != file.place.etag.strip('"'):
        return "the blob changed during the run: its ETag is another than the plan's"
    return None
