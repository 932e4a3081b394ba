"""How nodes reach blobs: by SAS, each for one thing, or as an identity of their pool, with no SAS at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from azure.batch.models import (
    BatchNodeIdentityReference,
    EnvironmentSetting,
    OutputFileBlobContainerDestination,
    ResourceFile,
)

from tasks.clients import Clients
from tasks.errors import BadInput
from tasks.settings import Settings


def name_of(identity: str) -> str:
    """The name of an identity, of its resource id."""
    return identity.rpartition("/")[2]


def check_access(settings: Settings, identity: str | None) -> None:
    """Make sure that a node may send its token to this storage. Raises BadInput."""
    if identity and not settings.blob_endpoint.startswith("https://"):
        raise BadInput(
            f"Nodes send a token of the identity {name_of(identity)} with each result, and {settings.blob_endpoint} "
            f"is not https: leave out pool_identity, or choose another storage."
        )


@dataclass(frozen=True)
class NodeAccess:
    """What the nodes of a run get to reach its blobs."""

    clients: Clients
    lifetime: timedelta  # of the SAS, from when each is made: nodes may start, and tasks wait and run, so long
    identity: str | None = None  # the resource id of one of the pool's; with it no SAS is made

    async def blob(self, container: str, blob: str, file_path: str) -> ResourceFile:
        """Brings one blob to a path in the task's working directory; a SAS reads this blob alone."""
        if self.identity:
            url = self.clients.blobs.get_blob_client(container, blob).url
            return ResourceFile(http_url=url, file_path=file_path, identity_reference=self._reference)
        url = await self.clients.blob_read_url(container, blob, self.lifetime)
        return ResourceFile(http_url=url, file_path=file_path)

    async def folder(self, container: str, prefix: str) -> ResourceFile:
        """Brings all blobs whose names begin so; a SAS reads and lists this container."""
        if self.identity:
            url = self.clients.blobs.get_container_client(container).url
            return ResourceFile(storage_container_url=url, blob_prefix=prefix, identity_reference=self._reference)
        url = await self.clients.container_read_url(container, self.lifetime)
        return ResourceFile(storage_container_url=url, blob_prefix=prefix)

    async def destination(self, container: str, path: str) -> OutputFileBlobContainerDestination:
        """Takes files to a path in a container; a SAS creates and writes there."""
        url = self.clients.blobs.get_container_client(container).url
        if self.identity:
            return OutputFileBlobContainerDestination(container_url=url, path=path, identity_reference=self._reference)
        sas = await self.clients.container_write_sas(container, self.lifetime)
        return OutputFileBlobContainerDestination(container_url=f"{url}?{sas}", path=path)

    async def environment(self, output_container: str, **read: str) -> list[EnvironmentSetting]:
        """What a program of the node needs to write into one container, and to read others.

        `read` has the name of a variable for each container whose SAS it may hold.
        """
        settings = {"TOPN_BLOB_ENDPOINT": self.clients.settings.blob_endpoint}
        if self.identity:
            settings["TOPN_IDENTITY"] = self.identity
        else:
            settings["TOPN_OUTPUT_SAS"] = await self.clients.container_write_sas(output_container, self.lifetime)
            for variable, container in read.items():
                settings[variable] = await self.clients.container_read_sas(container, self.lifetime)
        return [EnvironmentSetting(name=name, value=value) for name, value in settings.items()]

    @property
    def _reference(self) -> BatchNodeIdentityReference:
        return BatchNodeIdentityReference(resource_id=self.identity)
