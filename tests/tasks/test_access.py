"""What nodes get to reach blobs: SAS, or a reference to an identity and no SAS anywhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from tasks.access import NodeAccess
from tasks.clients import Clients, open_clients
from tasks.settings import Settings

IDENTITY = "/subscriptions/x/resourceGroups/y/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
REFERENCE = {"resourceId": IDENTITY}
BLOBS = "https://store.blob.core.windows.net"


@pytest.fixture
async def offline() -> AsyncIterator[Clients]:
    """Clients that nobody answers; to sign a SAS they need nobody."""
    settings = Settings("https://mine.invalid", "mine", "c2VjcmV0", "store", "c2VjcmV0", BLOBS)
    async with open_clients(settings) as clients:
        yield clients


async def everything(access: NodeAccess) -> list[dict[str, Any]]:
    """One of each, as it goes to Batch."""
    return [
        (await access.blob("in", "a b", "input.txt")).as_dict(),
        (await access.folder("application", "node_task/")).as_dict(),
        (await access.destination("out", "logs")).as_dict(),
        {one.name: one.value for one in await access.environment("out", TOPN_TABLES_SAS="out", TOPN_CACHE_SAS="kept")},
    ]


async def test_an_identity_comes_with_no_sas(offline: Clients) -> None:
    found = await everything(NodeAccess(offline, timedelta(hours=1), IDENTITY))
    assert found == [
        {"httpUrl": f"{BLOBS}/in/a%20b", "filePath": "input.txt", "identityReference": REFERENCE},
        {
            "storageContainerUrl": f"{BLOBS}/application",
            "blobPrefix": "node_task/",
            "identityReference": REFERENCE,
        },
        {"containerUrl": f"{BLOBS}/out", "path": "logs", "identityReference": REFERENCE},
        {"TOPN_BLOB_ENDPOINT": BLOBS, "TOPN_IDENTITY": IDENTITY},
    ]


async def test_without_one_each_sas_may_do_one_thing(offline: Clients) -> None:
    found = await everything(NodeAccess(offline, timedelta(hours=1)))
    assert "identity" not in json.dumps(found).lower()
    file, folder, destination, environment = found
    queries = [file["httpUrl"], folder["storageContainerUrl"], destination["containerUrl"]]
    allowed = [parse_qs(url.partition("?")[2])["sp"] for url in queries]
    assert allowed == [["r"], ["rl"], ["cw"]]
    assert {name: parse_qs(value).get("sp") for name, value in environment.items()} == {
        "TOPN_BLOB_ENDPOINT": None,
        "TOPN_OUTPUT_SAS": ["cw"],
        "TOPN_TABLES_SAS": ["r"],
        "TOPN_CACHE_SAS": ["r"],
    }
