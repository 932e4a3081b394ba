"""A whole run with no key at all: Entra ID's tokens over TLS, and SAS that a user delegation key signs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from deployments.services import azurite_ready, emulator_ready, start_azurite, start_emulator
from emulator import certificate
from tests.conftest import naive_top
from tests.identity import Identity, managed_identity

ROOT = Path(__file__).parent.parent.parent
SAMPLE = ROOT / "data/taskdata1.txt"
# Shorter than the run: who does not renew is refused by Azurite, which checks the time in a token.
LIFETIME = timedelta(seconds=8)


@pytest.fixture
def keyless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Identity, dict[str, str]]]:
    """Both services over TLS, the endpoint that gives tokens, and the environment of a run."""
    trusted, key = certificate.make(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))  # the nodes', too
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(trusted))  # Azurite asks itself for what it is to copy
    tls = ("--cert", str(trusted), "--key", str(key))
    (tmp_path / "logs").mkdir()
    azurite = start_azurite(tmp_path / "logs", 0, None, "--oauth", "basic", *tls)
    batch = start_emulator(tmp_path / "logs", tmp_path / "nodes", 0, *tls)
    try:
        with managed_identity(LIFETIME) as identity:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("AZURE_")}
            yield (
                identity,
                {
                    **environment,
                    **identity.environment,
                    "AZURE_BATCH_ENDPOINT": emulator_ready(batch).url,
                    "AZURE_STORAGE_ACCOUNT": "devstoreaccount1",
                    "AZURE_STORAGE_BLOB_ENDPOINT": f"{azurite_ready(azurite).url}/devstoreaccount1",
                    "REQUESTS_CA_BUNDLE": str(trusted),
                },
            )
    finally:
        batch.stop()
        azurite.stop()


async def test_a_run_with_no_keys_counts_over_tls_and_renews_its_tokens(
    keyless: tuple[Identity, dict[str, str]], prefect_api: str, tmp_path: Path
) -> None:
    identity, environment = keyless
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "flows.topn", str(SAMPLE), "--outputs", str(tmp_path / "outputs")),
        *("--delay-seconds", str(LIFETIME.total_seconds() + 4)),
        cwd=ROOT,
        env={**environment, "PREFECT_API_URL": prefect_api},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await run.communicate()
    assert run.returncode == 0, said.decode() + (tmp_path / "logs/emulator.log").read_text()
    saved = json.loads((tmp_path / "outputs/latest/results.json").read_text("utf-8"))
    assert [tuple(pair) for pair in saved["files"][0]["words"]] == naive_top(SAMPLE.read_bytes(), 3)
    assert saved["left_behind"] == []
    assert {one.rstrip("/") for one in identity.tokens} == {
        "https://batch.core.windows.net",
        "https://storage.azure.com",
    }
    assert all(len(tokens) > 1 for tokens in identity.tokens.values()), "no token was renewed"
    everything = said + b"".join(path.read_bytes() for path in (tmp_path / "logs").iterdir())
    for token in (token for tokens in identity.tokens.values() for token in tokens):
        assert token.encode() not in everything
