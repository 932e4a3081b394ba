"""A node that reaches blobs as an identity of its pool: how it gets tokens, and what it does with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

import blobs
import failures
import identity
from failures import Failure
from tests.identity import Identity, managed_identity
from tests.node_task.blob_server import BlobServer, blob_server
from tests.node_task.conftest import run

OURS = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
)
STORAGE = "https://storage.azure.com/"


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Identity]:
    """The metadata service of a node that has an identity."""
    with managed_identity(timedelta(hours=1)) as service:
        service.assigned = OURS
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", f"{service.metadata}/")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # it is not to be asked by way of that
        monkeypatch.setenv("no_proxy", "nowhere.invalid")
        yield service


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of the pauses, which are not made."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


@pytest.fixture
def server(metadata: Identity, pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[BlobServer]:
    """Storage; the node has the variables of an identity, and none of a SAS."""
    with blob_server() as server:
        monkeypatch.setenv("TOPN_BLOB_ENDPOINT", server.url)
        monkeypatch.setenv("TOPN_IDENTITY", OURS)
        monkeypatch.delenv("http_proxy")  # which urllib takes for storage
        identity.of.cache_clear()
        yield server


def test_a_token_is_kept_as_long_as_it_is_good(metadata: Identity) -> None:
    ours = identity.Identity(OURS)
    with ThreadPoolExecutor(8) as threads:
        tokens = set(threads.map(lambda _: ours.token(), range(50)))
    assert [*tokens] == metadata.tokens[STORAGE]


@pytest.mark.parametrize("lifetime", [timedelta(0), timedelta(minutes=4)])
def test_a_token_that_is_about_to_expire_is_renewed(metadata: Identity, lifetime: timedelta) -> None:
    metadata.lifetime = lifetime
    ours = identity.Identity(OURS)
    assert [ours.token(), ours.token()] == metadata.tokens[STORAGE]


def test_what_may_pass_is_asked_again_for_longer_than_an_update_of_the_service_takes(
    metadata: Identity, pauses: list[float]
) -> None:
    faults = [404, 410, 429, 500, b"no JSON", b"[]", b'{"access_token": "a\\nb", "expires_in": "60"}']
    metadata.faults.extend(faults)
    assert [identity.Identity(OURS).token()] == metadata.tokens[STORAGE]
    assert len(pauses) == len(faults)
    assert sum(pauses) > 70


@pytest.mark.parametrize(
    ("faults", "resource_id", "cause", "number"),
    [
        ([], OURS.replace("nodes", "others"), "others: HTTP 400 Identity not found", 0),
        ([403], OURS, "nodes: HTTP 403 on request", 0),
        ([503] * 8, OURS, "nodes: HTTP 503 on request, after 8 attempts", 7),
        ([b"{}"] * 8, OURS, "nodes: the answer has no token, after 8 attempts", 7),
    ],
)
def test_no_token_is_one_sentence(
    metadata: Identity, pauses: list[float], faults: list[int | bytes], resource_id: str, cause: str, number: int
) -> None:
    metadata.faults.extend(faults)
    with pytest.raises(Failure) as raised:
        identity.Identity(resource_id).token()
    assert (raised.value.status, str(raised.value)) == (
        failures.IDENTITY,
        f"cannot get a token for the identity {cause}",
    )
    assert len(pauses) == number


def test_nobody_listens(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1")
    with pytest.raises(Failure, match="Connection refused, after 8 attempts"):
        identity.Identity(OURS).token()
    assert len(pauses) == 7


def test_blobs_go_up_and_down_with_a_token_and_no_sas(
    server: BlobServer, metadata: Identity, result: Path, tmp_path: Path
) -> None:
    blobs.upload("out", result)
    blobs.download("out", "k.json", tmp_path / "back", sas_in="TOPN_CACHE_SAS")
    assert (tmp_path / "back").read_bytes() == b"{}"
    (token,) = metadata.tokens[STORAGE]
    assert server.asked == [("/out/k.json", f"Bearer {token}")] * 2


def test_a_token_that_storage_refuses_is_renewed_once(server: BlobServer, metadata: Identity, result: Path) -> None:
    server.faults.append("401")
    blobs.upload("out", result)
    first, second = metadata.tokens[STORAGE]
    assert [by for _, by in server.asked] == [f"Bearer {first}", f"Bearer {second}"]
    server.always = "401"
    with pytest.raises(Failure, match=r"HTTP 401 .*; the identity nodes's token is not accepted") as raised:
        blobs.upload("out", result)
    assert raised.value.status == failures.SAS
    assert len(metadata.tokens[STORAGE]) == 3


def test_an_identity_without_its_role_is_told(server: BlobServer, result: Path) -> None:
    server.always = "forbidden"
    with pytest.raises(Failure) as raised:
        blobs.upload("out", result)
    assert (raised.value.status, str(raised.value)) == (
        failures.SAS,
        "cannot upload k.json to container [out]: HTTP 403 AuthenticationFailed; "
        "the identity nodes needs the role Storage Blob Data Contributor",
    )


def test_another_server_does_not_get_the_token(server: BlobServer, tmp_path: Path) -> None:
    server.blobs["elsewhere/b"] = b"x"
    server.faults.append("elsewhere")
    blobs.download("tables", "b", tmp_path / "b")
    (_, first), (path, second) = server.asked
    assert first is not None
    assert (path, second) == ("/elsewhere/b", None)


@pytest.mark.parametrize("program", ["top_words.py", "reduce_tables.py"])
@pytest.mark.parametrize(("assigned", "status"), [(OURS, 0), ("", failures.IDENTITY)])
def test_the_programs_need_no_sas(
    program: str,
    assigned: str,
    status: int,
    server: BlobServer,
    metadata: Identity,
    stage: Callable[[Path | None], Path],
    tmp_path: Path,
) -> None:
    metadata.assigned = assigned
    (tmp_path / "text").write_text("a b a")
    (tmp_path / "manifest").write_text(json.dumps({"container": "out", "tables": []}))
    done: subprocess.CompletedProcess[str] = run(
        stage(None) / program,
        *("text" if program == "top_words.py" else "manifest", "--key", "k", "--output-container", "out"),
        folder=tmp_path,
        TOPN_BLOB_ENDPOINT=server.url,
        TOPN_IDENTITY=OURS,
        AZURE_POD_IDENTITY_AUTHORITY_HOST=metadata.metadata,
    )
    assert done.returncode == status, done.stderr
    assert ("out/k.json" in server.put) is (status == 0)
    if status:
        assert done.stderr == "cannot get a token for the identity nodes: HTTP 400 Identity not found\n"
    assert "eyJ" not in done.stdout + done.stderr  # as every such token begins
