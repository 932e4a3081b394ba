"""Credentials kept in Prefect: a block of our own for Batch and Storage, or prefect-azure's block for Storage.

make blocks     registers the type, so that the UI can make one
"""

from __future__ import annotations

from typing import Any

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from pydantic import Field, SecretStr

from tasks.errors import BadInput
from tasks.settings import Settings

STORAGE_SLUG = "azure-blob-storage-credentials"  # prefect-azure's


class AzureBatchCredentials(Block):
    """Which Batch and Storage accounts a run uses; a key left out means Entra ID."""

    _block_type_name = "Azure Batch Credentials"
    _block_type_slug = "azure-batch-credentials"
    _description = "A Batch account and a Storage account, with keys or with Entra ID."

    batch_endpoint: str = Field(description="https://ACCOUNT.REGION.batch.azure.com")
    batch_account: str | None = Field(default=None, description="The account's name; needed with a key.")
    batch_key: SecretStr | None = Field(default=None, description="Leave empty for Entra ID.")
    storage_account: str = Field(description="The Storage account's name.")
    storage_key: SecretStr | None = Field(default=None, description="Leave empty for Entra ID.")
    blob_endpoint: str | None = Field(default=None, description="Only where it is not the account's own.")

    def environment(self) -> dict[str, str]:
        """The same as environment variables, which tasks/settings.py reads and checks."""
        values = {
            "AZURE_BATCH_ENDPOINT": self.batch_endpoint,
            "AZURE_BATCH_ACCOUNT": self.batch_account,
            "AZURE_BATCH_ACCESS_KEY": self.batch_key and self.batch_key.get_secret_value(),
            "AZURE_STORAGE_ACCOUNT": self.storage_account,
            "AZURE_STORAGE_KEY": self.storage_key and self.storage_key.get_secret_value(),
            "AZURE_STORAGE_BLOB_ENDPOINT": self.blob_endpoint,
        }
        return {name: value for name, value in values.items() if value}


async def load_settings(
    environment: dict[str, str], credentials: str | None = None, storage_credentials: str | None = None
) -> Settings:
    """The settings of the environment, or of the blocks with these names instead.

    Raises BadInput naming the parameter, when a block is not there or lacks something.
    """
    if credentials:
        document = await _read("credentials", credentials, "azure-batch-credentials", "AzureBatchCredentials")
        environment = AzureBatchCredentials(**document).environment()
    if storage_credentials:
        document = await _read(
            "storage_credentials", storage_credentials, STORAGE_SLUG, "prefect-azure's AzureBlobStorageCredentials"
        )
        batch_only = {name: value for name, value in environment.items() if "STORAGE" not in name}
        environment = {**batch_only, **_storage_environment(storage_credentials, document)}
    return Settings.from_environment(environment)


async def _read(parameter: str, name: str, slug: str, kind: str) -> dict[str, Any]:
    """The fields of a block, through Prefect's API: prefect-azure need not be installed here to read its block."""
    async with get_client() as api:
        try:
            block = await api.read_block_document_by_name(name, slug)
        except ObjectNotFound:
            raise BadInput(
                f"{parameter}: there is no {kind} block named {name}; make it in the UI (`make blocks` registers ours)."
            ) from None
    return block.data


def _storage_environment(name: str, block: dict[str, Any]) -> dict[str, str]:
    other = [field for field in ("tenant_id", "client_id", "client_secret") if block.get(field)]
    if other:
        raise BadInput(
            f"storage_credentials: the block {name} sets {', '.join(other)}: leave them out, and set AZURE_TENANT_ID, "
            "AZURE_CLIENT_ID and AZURE_CLIENT_SECRET in the worker's environment instead."
        )
    pairs = (part.split("=", 1) for part in str(block.get("connection_string") or "").split(";") if "=" in part)
    connection = dict(pairs)
    if "SharedAccessSignature" in connection:
        raise BadInput(
            f"storage_credentials: the block {name} has a SAS, which cannot sign others: use the key, or none."
        )
    endpoint = block.get("account_url") or connection.get("BlobEndpoint") or ""
    if not endpoint and "EndpointSuffix" in connection:
        endpoint = f"{connection.get('AccountName')}.blob.{connection['EndpointSuffix']}"
    account = connection.get("AccountName") or endpoint.partition("://")[2].partition(".")[0]
    if not account:
        raise BadInput(f"storage_credentials: the block {name} has neither a connection string nor an account URL.")
    values = {
        "AZURE_STORAGE_ACCOUNT": account,
        "AZURE_STORAGE_KEY": connection.get("AccountKey", ""),
        "AZURE_STORAGE_BLOB_ENDPOINT": endpoint,
    }
    return {key: value for key, value in values.items() if value}
