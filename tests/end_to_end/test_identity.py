"""A whole run whose nodes reach storage as an identity of their pool: no SAS is made for them, and none is used."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from azure.core.rest import HttpRequest

from deployments.services import (
    AZURITE_KEY,
    Service,
    azurite_ready,
    emulator_ready,
    endpoints,
    start_azurite,
    start_emulator,
)
from emulator import certificate
from tasks.clients import Clients, open_clients
from tasks.settings import Settings
from tests.conftest import create_pool, naive_top
from tests.identity import Identity, managed_identity

ROOT = Path(__file__).parent.parent.parent
SAMPLES = [ROOT / "data" / name for name in ("taskdata1.txt", "taskdata2.txt")]
OURS = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
)
STORAGE = "https://storage.azure.com/"


@pytest.fixture
def azurite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Blob Storage that takes tokens, and so over TLS; its log has whole URLs."""
    trusted, key = certificate.make(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))  # the nodes', too
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(trusted))  # Azurite asks itself for what it is to copy
    (tmp_path / "logs").mkdir()
    tls = ("--oauth", "basic", "--cert", str(trusted), "--key", str(key))
    azurite = start_azurite(tmp_path / "logs", 0, None, *tls, access_log=True)
    try:
        yield azurite_ready(azurite)
    finally:
        azurite.stop()


@pytest.fixture
def identity(azurite: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    """What gives a node its tokens."""
    with managed_identity(timedelta(hours=1)) as identity:
        identity.assigned = OURS
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", identity.metadata)
        monkeypatch.setenv("AZURE_STORAGE_KEY", AZURITE_KEY)
        yield identity


@pytest.fixture
def environment(azurite: Service, identity: Identity, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables of a run: the client has keys, the nodes have an identity."""
    storage = f"{azurite.url}/devstoreaccount1"
    batch = start_emulator(tmp_path / "logs", tmp_path / "nodes", 0, "--auto-storage", storage)
    try:
        yield endpoints(emulator_ready(batch), azurite)
    finally:
        batch.stop()


async def make_pool(clients: Clients) -> None:
    """A pool with an identity, as the management plane makes it."""
    await create_pool(clients, "mine", task_slots_per_node=2)
    assigned = {"userAssignedIdentities": [OURS]}
    answer = await clients.batch.send_request(HttpRequest("POST", "/_emulator/pools/mine/identity", json=assigned))
    answer.raise_for_status()


async def test_a_run_with_a_pool_identity_makes_no_sas_for_its_nodes(
    environment: dict[str, str], azurite: Service, identity: Identity, prefect_api: str, tmp_path: Path
) -> None:
    async with open_clients(Settings.from_environment(environment)) as clients:
        await make_pool(clients)
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flows.topn", *map(str, SAMPLES), "--outputs", str(tmp_path / "outputs")),
            *("--pool-id", "mine", "--pool-identity", OURS),
            *("--exact", "always", "--keep", "everything", "--run-key", "identity"),
            cwd=ROOT,
            env={**os.environ, **environment, "PREFECT_API_URL": prefect_api},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await run.communicate()
        assert run.returncode == 0, said.decode() + (tmp_path / "logs/emulator.log").read_text()
        batch_tasks = [task async for task in clients.batch.list_tasks("topn-identity-g1")]

    saved = json.loads((tmp_path / "outputs/identity/results.json").read_text("utf-8"))
    for sample, counted in zip(SAMPLES, saved["files"], strict=True):
        assert [tuple(pair) for pair in counted["words"]] == naive_top(sample.read_bytes(), 3)
    together = naive_top(b"\n".join(sample.read_bytes() for sample in SAMPLES), 3)
    assert [tuple(pair) for pair in saved["overall"]["words"]] == together
    assert saved["overall"]["reduce_tasks"] == 1

    assert len(batch_tasks) == 3
    for task in batch_tasks:
        assert "sig=" not in json.dumps(task.as_dict(), default=str)
        reached = [*(task.resource_files or []), *(one.destination.container for one in task.output_files or [])]
        assert [one.identity_reference.resource_id for one in reached] == [OURS] * len(reached)  # pyright: ignore
        assert {one.name for one in task.environment_settings or []} == {"TOPN_BLOB_ENDPOINT", "TOPN_IDENTITY"}

    requests = re.findall(r'"(\w+) /devstoreaccount1/(\S+) HTTP/1.1" (\d+)', azurite.log.read_text())
    # The client has each table copied into the kept results, with a SAS: Azurite asks itself whether it may, by HEAD.
    assert [method for method, path, _ in requests if "sig=" in path] == ["HEAD"] * len(SAMPLES)
    put = " ".join(path for method, path, status in requests if method == "PUT" and status in ("201", "202"))
    assert len(re.findall(r"topn-identity-output/\w+\.table\.gz", put)) == len(SAMPLES)
    assert len(re.findall(r"topn-results/\w+/\w+\.table\.gz", put)) == len(SAMPLES)
    assert len(identity.tokens[STORAGE]) == 3  # one for each task's process
    everything = said + b"".join(path.read_bytes() for path in (tmp_path / "logs").iterdir())
    for token in identity.tokens[STORAGE]:
        assert token.encode() not in everything
