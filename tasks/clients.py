"""The clients of Batch and Blob Storage: the only place that builds any."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.batch.aio import BatchClient
from azure.batch.models import BatchSupportedImage
from azure.core import AsyncPipelineClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError, DeserializationError, HttpResponseError
from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy, AsyncRetryPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest
from azure.identity.aio import DefaultAzureCredential
from azure.storage.blob import (
    BlobSasPermissions,
    ContainerSasPermissions,
    UserDelegationKey,
    generate_blob_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import BlobServiceClient

from tasks.errors import BadInput, brief
from tasks.logs import redact_logs
from tasks.settings import Settings

CLOCK_SKEW = timedelta(minutes=15)  # between this clock and the cloud's, as Azure's SAS guidance has it

LONGEST_SAS = timedelta(days=7)  # that a user delegation key signs, from its own start to its end

MANAGEMENT = "https://management.azure.com"
Management = AsyncPipelineClient[HttpRequest, AsyncHttpResponse]

# The SDK logs a traceback for each answer without a body, such as HEAD's 404, which is no error here.
logging.getLogger("azure.batch").setLevel(logging.ERROR)
# It tells of each credential that it tries in vain; what matters is whether one works in the end.
logging.getLogger("azure.identity").setLevel(logging.ERROR)


def check_sas_lifetime(lifetime: timedelta) -> None:
    """Make sure that a SAS may live so long. Raises BadInput: the run would outlive it."""
    longest = LONGEST_SAS - 2 * CLOCK_SKEW
    if lifetime > longest:
        raise BadInput(
            f"Nodes would need a SAS for {lifetime / timedelta(hours=1):.1f} hours, and none lives longer than "
            f"{longest / timedelta(hours=1):.1f}: choose a shorter timeout_minutes."
        )


class Clients:
    """One Batch and one Blob Storage client, open for a run, and the SAS that the nodes get."""

    def __init__(
        self, settings: Settings, batch: BatchClient, blobs: BlobServiceClient, management: Management | None
    ) -> None:
        self.settings = settings
        self.batch = batch
        self.blobs = blobs
        self.management = management  # of Azure's resources, where the settings name the account's
        self._delegation_key: UserDelegationKey | None = None
        self._images: list[BatchSupportedImage] = []

    async def supported_images(self) -> Sequence[BatchSupportedImage]:
        """The images that Batch supports, asked for once."""
        self._images = self._images or [one async for one in self.batch.list_supported_images()]
        return self._images

    async def blob_read_url(self, container: str, blob: str, lifetime: timedelta) -> str:
        """The URL of this one blob with a SAS that reads it, for `lifetime` from now."""
        expiry = datetime.now(UTC) + lifetime
        sas = generate_blob_sas(
            self.settings.storage_account,
            container,
            blob,
            account_key=self.settings.storage_key,
            user_delegation_key=await self._user_delegation_key(expiry),
            permission=BlobSasPermissions(read=True),
            expiry=expiry,
            protocol=self._protocol,
        )
        return f"{self.blobs.get_blob_client(container, blob).url}?{sas}"

    async def container_read_sas(self, container: str, lifetime: timedelta) -> str:
        """A SAS that reads the blobs of this one container, for `lifetime` from now."""
        return await self._container_sas(container, ContainerSasPermissions(read=True), lifetime)

    async def container_read_url(self, container: str, lifetime: timedelta) -> str:
        """The URL of this one container with a SAS that reads and lists its blobs, for `lifetime` from now."""
        sas = await self._container_sas(container, ContainerSasPermissions(read=True, list=True), lifetime)
        return f"{self.blobs.get_container_client(container).url}?{sas}"

    async def container_write_sas(self, container: str, lifetime: timedelta) -> str:
        """A SAS that creates and writes blobs in this one container, for `lifetime` from now."""
        return await self._container_sas(container, ContainerSasPermissions(create=True, write=True), lifetime)

    async def _container_sas(self, container: str, permission: ContainerSasPermissions, lifetime: timedelta) -> str:
        expiry = datetime.now(UTC) + lifetime
        return generate_container_sas(
            self.settings.storage_account,
            container,
            account_key=self.settings.storage_key,
            user_delegation_key=await self._user_delegation_key(expiry),
            permission=permission,
            expiry=expiry,
            protocol=self._protocol,
        )

    @property
    def _protocol(self) -> str:
        return "https" if self.settings.blob_endpoint.startswith("https://") else "https,http"

    async def _user_delegation_key(self, expiry: datetime) -> UserDelegationKey | None:
        """The key that signs SAS where the account's own key is not known."""
        if self.settings.storage_key is not None:
            return None
        if self._delegation_key is None or _signs_until(self._delegation_key) < expiry:
            self._delegation_key = await self.blobs.get_user_delegation_key(
                key_start_time=datetime.now(UTC) - CLOCK_SKEW, key_expiry_time=expiry + CLOCK_SKEW
            )
        return self._delegation_key


def _signs_until(key: UserDelegationKey) -> datetime:
    return datetime.fromisoformat(str(key.signed_expiry))


@contextlib.asynccontextmanager
async def open_clients(settings: Settings) -> AsyncIterator[Clients]:
    """Build both clients, and close them when the block ends; their keys are in no log from now on."""
    redact_logs(settings.batch_key, settings.storage_key)
    async with contextlib.AsyncExitStack() as stack:
        entra = None
        if settings.batch_key is None or settings.storage_key is None or settings.batch_account_id:
            entra = await stack.enter_async_context(DefaultAzureCredential())
        batch_credential = entra
        if settings.batch_account and settings.batch_key:
            batch_credential = AzureNamedKeyCredential(settings.batch_account, settings.batch_key)
        blob_credential = entra
        if settings.storage_key:
            blob_credential = AzureNamedKeyCredential(settings.storage_account, settings.storage_key)
        assert batch_credential is not None  # Settings has no key without its account
        batch = await stack.enter_async_context(BatchClient(settings.batch_endpoint, batch_credential))
        blobs = await stack.enter_async_context(BlobServiceClient(settings.blob_endpoint, blob_credential))
        management = None
        if settings.batch_account_id and entra:
            policies = [AsyncBearerTokenCredentialPolicy(entra, f"{MANAGEMENT}/.default"), AsyncRetryPolicy()]
            management = await stack.enter_async_context(AsyncPipelineClient(MANAGEMENT, policies=policies))
        yield Clients(settings, batch, blobs, management)


async def check_reachable(clients: Clients) -> None:
    """Ask both services one cheap question. Raises BadInput when one is not there or refuses the credentials."""
    once: dict[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 10}
    settings = clients.settings
    try:
        await anext(clients.batch.list_supported_images(max_results=1, **once), None)
    except (AzureError, ValueError) as error:
        raise BadInput(_unreachable("Azure Batch", settings.batch_endpoint, "AZURE_BATCH", error)) from error
    try:
        await anext(clients.blobs.list_containers(results_per_page=1, **once), None)
    except (AzureError, ValueError, DeserializationError) as error:
        raise BadInput(_unreachable("Blob Storage", settings.blob_endpoint, "AZURE_STORAGE", error)) from error


def _unreachable(service: str, endpoint: str, variables: str, error: Exception) -> str:
    if not isinstance(error, AzureError):
        return f"What answers at {endpoint} is not {service}."
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        return (
            f"{variables}_ACCOUNT's key is not set, and Entra ID gives no token for {service}: log in, or set the key."
        )
    if isinstance(error, HttpResponseError) and error.status_code in (401, 403):
        return (
            f"{service} at {endpoint} refuses the credentials ({error.status_code}): check {variables}_ACCOUNT "
            f"and its key, or the identity's roles."
        )
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        return f"{service} at {endpoint} answers with an error: {brief(error)}."
    return f"Nobody answers for {service} at {endpoint}: {brief(error)}."
