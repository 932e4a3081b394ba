"""The results of all runs, kept by key: what was counted once in the same way is not counted again.

A container of their own, which nodes cannot write: a node's SAS reaches only its run's output container. A run checks
a result and then keeps it here, so no node can poison the cache, and deleting a run's containers loses nothing.

    topn-results/HOW/KEY.json      HOW: 16 hex digits for application and options; the blob's metadata has its SHA-256
    topn-results/HOW/KEY.table.gz  the table of all words, where the options ask for one; KEY.json has its SHA-256
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from prefect import get_run_logger

from tasks.clients import CLOCK_SKEW, Clients
from tasks.errors import BadInput, brief, error_code
from tasks.plan import Plan, table_name

COPY_PATIENCE = timedelta(minutes=10)  # for one table
COPY_INTERVAL = timedelta(seconds=1)
SHA256 = "sha256"  # in a kept result's metadata


class Damaged(Exception):
    """A kept result is not what was kept."""


class ResultsCache:
    """The kept results of files that are counted in one way."""

    def __init__(self, clients: Clients, plan: Plan) -> None:
        self._clients = clients
        self._name = clients.settings.results_container
        self._container = clients.blobs.get_container_client(self._name)
        self._folder = plan.how
        self._with_tables = plan.counting.table

    async def known(self) -> set[str]:
        """The keys of all results that are kept whole. Raises BadInput where they may not be listed."""
        try:
            listed = self._container.list_blob_names(name_starts_with=f"{self._folder}/")
            names = {name.rpartition("/")[2] async for name in listed}
            keys = {name.removesuffix(".json") for name in names if name.endswith(".json")}
            return {key for key in keys if not self._with_tables or table_name(key) in names}
        except ResourceNotFoundError:
            return set()
        except AzureError as error:
            raise BadInput(f"The kept results in container {self._name} cannot be listed: {brief(error)}.") from error

    async def prepare(self) -> None:
        """Make the container where it is missing. Raises azure-core's errors."""
        try:
            await self._container.create_container()
        except ResourceExistsError as error:
            if error_code(error) != "ContainerAlreadyExists":
                raise

    async def read(self, key: str) -> bytes:
        """A kept result. Raises Damaged where it is gone or not what was kept; azure-core's errors."""
        try:
            stream = await self._container.download_blob(f"{self._folder}/{key}.json")
            content = await stream.readall()
        except ResourceNotFoundError:
            raise Damaged("it is gone") from None
        if (stream.properties.metadata or {}).get(SHA256) != hashlib.sha256(content).hexdigest():
            raise Damaged("its SHA-256 differs")
        return content

    def table(self, key: str) -> tuple[str, str]:
        """Container and name of a kept result's table."""
        return self._name, f"{self._folder}/{table_name(key)}"

    async def keep(self, key: str, content: bytes, table: tuple[str, str] | None = None) -> None:
        """Keep a result that was checked; one that cannot be kept is counted again another day, so this only warns.

        `table` is the container and name of its table, which Blob Storage itself copies.
        """
        metadata = {SHA256: hashlib.sha256(content).hexdigest()}
        try:
            if table:
                await self._copy(table, key)
            await self._container.upload_blob(f"{self._folder}/{key}.json", content, overwrite=True, metadata=metadata)
        except (AzureError, TimeoutError) as error:
            get_run_logger().warning("The result %s is not kept for the next run: %s", key, brief(error))

    async def _copy(self, table: tuple[str, str], key: str) -> None:
        """Copy a table, whose result is kept only after it. Raises azure-core's errors, TimeoutError."""
        blob = self._container.get_blob_client(f"{self._folder}/{table_name(key)}")
        url = await self._clients.blob_read_url(*table, COPY_PATIENCE + CLOCK_SKEW)
        status = (await blob.start_copy_from_url(url))["copy_status"]
        async with asyncio.timeout(COPY_PATIENCE.total_seconds()):
            while status == "pending":  # within an account it seldom is
                await asyncio.sleep(COPY_INTERVAL.total_seconds())
                status = (await blob.get_blob_properties()).copy.status
        if status != "success":
            raise AzureError(f"the copying of its table ended as {status}")
