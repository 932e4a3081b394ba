"""The results of all runs, kept by key: what was counted once in the same way is not counted again.

A container of their own, which nodes cannot write: a node's SAS reaches only its run's output container. A run checks
a result and then keeps it here, so no node can poison the cache, and deleting a run's containers loses nothing.

    topn-results/HOW/KEY.json      HOW: 16 hex digits for application and options; the blob's metadata has its SHA-256
"""

from __future__ import annotations

import hashlib

from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from prefect import get_run_logger

from tasks.clients import Clients
from tasks.errors import BadInput, brief, error_code
from tasks.plan import Plan

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

    async def known(self) -> set[str]:
        """The keys of all results that are kept. Raises BadInput where they may not be listed."""
        try:
            names = self._container.list_blob_names(name_starts_with=f"{self._folder}/")
            return {name.rpartition("/")[2].removesuffix(".json") async for name in names if name.endswith(".json")}
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

    async def keep(self, key: str, content: bytes) -> None:
        """Keep a result that was checked; one that cannot be kept is counted again another day, so this only warns."""
        metadata = {SHA256: hashlib.sha256(content).hexdigest()}
        try:
            await self._container.upload_blob(f"{self._folder}/{key}.json", content, overwrite=True, metadata=metadata)
        except AzureError as error:
            get_run_logger().warning("The result %s is not kept for the next run: %s", key, brief(error))
