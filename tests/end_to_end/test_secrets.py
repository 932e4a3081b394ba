"""After a whole run with known secrets these are nowhere where they do not belong, and no signature is."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import secrets
import sys
from collections.abc import AsyncIterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.settings import get_current_settings

from deployments.services import azurite_ready, emulator_ready, start_azurite, start_emulator
from tasks.clients import Clients, open_clients
from tasks.settings import Settings

ROOT = Path(__file__).parent.parent.parent
SAMPLES = [str(path) for path in sorted((ROOT / "data").glob("*.txt"))][:2]
# Prefect's own block types show "sig=SIGNATURE" as an example.
SIGNATURE = re.compile(rb"sig=(?!REDACTED|SIGNATURE)[A-Za-z0-9%+/]{8}")

# Where a SAS belongs: Batch needs it to fetch an input, a node to deliver a result.
ITS_PLACES = {"resourceFiles", "environmentSettings", "outputFiles"}


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Services with keys that nobody else has; the environment of a run."""
    batch_key, storage_key = _key(), _key()
    monkeypatch.setenv("EMULATOR_KEY", batch_key)
    monkeypatch.setenv("AZURITE_ACCOUNTS", f"guarded:{storage_key}")
    (tmp_path / "logs").mkdir()
    azurite = start_azurite(tmp_path / "logs")
    emulator = start_emulator(tmp_path / "logs", tmp_path / "nodes")
    try:
        yield {
            "AZURE_BATCH_ENDPOINT": emulator_ready(emulator).url,
            "AZURE_BATCH_ACCOUNT": "guarded",
            "AZURE_BATCH_ACCESS_KEY": batch_key,
            "AZURE_STORAGE_ACCOUNT": "guarded",
            "AZURE_STORAGE_KEY": storage_key,
            "AZURE_STORAGE_BLOB_ENDPOINT": f"{azurite_ready(azurite).url}/guarded",
        }
    finally:
        emulator.stop()
        azurite.stop()


async def command_lines(until: asyncio.Task[Any]) -> set[str]:
    """Of all processes of this machine, again and again."""
    seen: set[str] = set()
    while not until.done():
        for process in psutil.process_iter(["cmdline"]):
            seen.add(" ".join(process.info["cmdline"] or []))
        await asyncio.sleep(0.1)
    return seen


def without_its_places(model: Any) -> Any:
    """A Batch resource without what only Batch and its nodes read."""
    if isinstance(model, dict):
        return {name: without_its_places(value) for name, value in model.items() if name not in ITS_PLACES}
    return [without_its_places(one) for one in model] if isinstance(model, list) else model


async def batch_shows(clients: Clients) -> str:
    """All that Batch's lists show of pools, jobs and tasks."""

    async def shown(listing: AsyncIterable[Any]) -> list[Any]:
        return [without_its_places(one.as_dict()) async for one in listing]

    found = await shown(clients.batch.list_pools()) + await shown(clients.batch.list_jobs())
    async for job in clients.batch.list_jobs():
        found += await shown(clients.batch.list_tasks(job.id))
    return json.dumps(found, default=str)


async def blobs_hold(clients: Clients) -> dict[str, bytes]:
    """All blobs and the metadata of their containers."""
    found: dict[str, bytes] = {}
    async for container in clients.blobs.list_containers(include_metadata=True):
        found[f"container {container.name}"] = json.dumps(container.metadata).encode()
        client = clients.blobs.get_container_client(str(container.name))
        async for blob in client.list_blobs():
            found[f"blob {container.name}/{blob.name}"] = await (await client.download_blob(blob.name)).readall()
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(Path(where, name)): Path(where, name).read_bytes()
        for where, _, names in os.walk(folder)
        for name in names
        if Path(where, name).is_file()
    }


def prefects_database() -> dict[str, bytes]:
    """The database of the tests' server, as it is on disk."""
    url = str(get_current_settings().server.database.connection_url.get_secret_value())  # pyright: ignore[reportOptionalMemberAccess]
    path = Path(url.partition("///")[2].partition("?")[0])
    return {str(one): one.read_bytes() for one in path.parent.glob(f"{path.name}*")}


@pytest.mark.usefixtures("prefect_api")
async def test_no_secret_is_anywhere_where_it_does_not_belong(
    guarded: dict[str, str], prefect_api: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "flows.topn", *SAMPLES, "--keep", "everything", "--run-key", "guarded"),
        *("--outputs", str(tmp_path / "outputs"), "--delay-seconds", "1"),
        cwd=ROOT,
        env={
            **os.environ,
            **guarded,
            "PREFECT_API_URL": prefect_api,
            "PREFECT_HOME": str(home),
            "PREFECT_LOGGING_LEVEL": "DEBUG",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "azure,aiohttp,asyncio,tasks,flows",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    talk = asyncio.create_task(run.communicate())
    lines = await command_lines(talk)
    said, _ = await talk
    assert run.returncode == 0, said.decode()
    assert any("top_words" in line and "--output-container" in line for line in lines), "the tasks were not seen"

    async with open_clients(Settings.from_environment(guarded)) as clients:
        places = {
            "the terminal": said,
            "the processes": "\n".join(lines).encode(),
            "Batch": (await batch_shows(clients)).encode(),
            **await blobs_hold(clients),
            **files_below(tmp_path),
            **prefects_database(),
        }
    names = "\n".join(places)
    for expected in ("emulator.log", "azurite.log", "results.json", "guarded-output", ".db"):
        assert expected in names, f"{expected} was not looked at"
    for name, content in places.items():
        for secret in (guarded["AZURE_BATCH_ACCESS_KEY"], guarded["AZURE_STORAGE_KEY"]):
            assert secret.encode() not in content, f"a key is in {name}"
        found = SIGNATURE.search(content)
        assert found is None, f"a signature is in {name}: {content[found.start() - 200 : found.start()]!r}"
