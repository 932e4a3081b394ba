"""Credentials from Prefect blocks instead of environment variables."""

from __future__ import annotations

import uuid

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentCreate, BlockSchemaCreate, BlockTypeCreate
from prefect.exceptions import ObjectNotFound
from pydantic import SecretStr

from tasks.blocks import AzureBatchCredentials, load_settings
from tasks.errors import BadInput

KEY = "c2VjcmV0"

pytestmark = pytest.mark.usefixtures("prefect_api")


async def test_a_block_of_ours_names_both_accounts() -> None:
    name = f"mine-{uuid.uuid4().hex[:8]}"
    block = AzureBatchCredentials(
        batch_endpoint="https://mine.westeurope.batch.azure.com",
        batch_account="mine",
        batch_key=SecretStr(KEY),
        storage_account="store",
    )
    await block.save(name)  # pyright: ignore[reportGeneralTypeIssues]
    settings = await load_settings({"AZURE_STORAGE_ACCOUNT": "another"}, credentials=name)
    assert (settings.batch_account, settings.batch_key) == ("mine", KEY)
    assert (settings.storage_account, settings.storage_key) == ("store", None)


@pytest.mark.parametrize(
    ("data", "account", "key", "endpoint"),
    [
        (
            {"connection_string": f"DefaultEndpointsProtocol=https;AccountName=theirs;AccountKey={KEY}"},
            *("theirs", KEY, "https://theirs.blob.core.windows.net"),
        ),
        (
            {"connection_string": f"AccountName=theirs;AccountKey={KEY};EndpointSuffix=core.chinacloudapi.cn"},
            *("theirs", KEY, "https://theirs.blob.core.chinacloudapi.cn"),
        ),
        (
            {"account_url": "https://theirs.blob.core.windows.net/"},
            *("theirs", None, "https://theirs.blob.core.windows.net"),
        ),
    ],
)
async def test_prefect_azures_block_names_the_storage_account(
    data: dict[str, str], account: str, key: str | None, endpoint: str
) -> None:
    name = await save_storage_block(data)
    environment = {"AZURE_BATCH_ENDPOINT": "https://b", "AZURE_STORAGE_ACCOUNT": "another", "AZURE_STORAGE_KEY": KEY}
    settings = await load_settings(environment, storage_credentials=name)
    assert settings.batch_endpoint == "https://b"
    assert (settings.storage_account, settings.storage_key, settings.blob_endpoint) == (account, key, endpoint)


async def test_a_storage_block_that_says_nothing_is_named() -> None:
    name = await save_storage_block({})
    with pytest.raises(BadInput, match=f"storage_credentials: the block {name} has neither"):
        await load_settings({}, storage_credentials=name)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({"account_url": "https://a.blob.core.windows.net", "client_id": "x"}, "sets client_id"),
        ({"connection_string": "AccountName=a;SharedAccessSignature=sv=1"}, "has a SAS"),
    ],
)
async def test_what_a_storage_block_has_that_a_run_cannot_use_is_refused(data: dict[str, str], named: str) -> None:
    name = await save_storage_block(data)
    with pytest.raises(BadInput, match=f"storage_credentials: the block {name} {named}"):
        await load_settings({}, storage_credentials=name)


@pytest.mark.parametrize("parameter", ["credentials", "storage_credentials"])
async def test_a_missing_block_is_named_with_its_parameter(parameter: str) -> None:
    with pytest.raises(BadInput, match=f"^{parameter}: there is no .* block named nobodys"):
        await load_settings({}, **{parameter: "nobodys"})


async def save_storage_block(data: dict[str, str]) -> str:
    """A block as prefect-azure's type makes it, written through the API: the package need not be here."""
    name = f"storage-{uuid.uuid4().hex[:8]}"
    fields = {
        "type": "object",
        "properties": {field: {"type": "string"} for field in ("connection_string", "account_url", "client_id")},
    }
    async with get_client() as api:
        slug = "azure-blob-storage-credentials"
        try:
            type = await api.read_block_type_by_slug(slug)
        except ObjectNotFound:
            type = await api.create_block_type(BlockTypeCreate(name="Azure Blob Storage Credentials", slug=slug))
        schema = await api.create_block_schema(BlockSchemaCreate(fields=fields, block_type_id=type.id))
        document = BlockDocumentCreate(name=name, data=data, block_schema_id=schema.id, block_type_id=type.id)
        await api.create_block_document(document)
    return name
