"""Uploads and downloads, when storage fails."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import blobs
import failures
from failures import Failure
from tests.node_task.blob_server import BlobServer, blob_server

EXPIRED = "se=2020-01-01T00%3A00%3A00Z&sig=secret"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[BlobServer]:
    with blob_server() as server:
        monkeypatch.setenv("TOPN_BLOB_ENDPOINT", f"{server.url}/")
        monkeypatch.setenv("TOPN_OUTPUT_SAS", "sig=secret")
        monkeypatch.setenv("TOPN_TABLES_SAS", "sig=secret")
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        yield server


@pytest.mark.parametrize("fault", ["503", "429", "drop", "garbage"])
def test_what_may_pass_is_tried_again(fault: str, server: BlobServer, result: Path) -> None:
    server.faults.extend([fault, fault])
    blobs.upload("out", result)
    assert server.blobs == {"out/k.json": b"{}"}


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("503", "HTTP 503 Service Unavailable, after 6 attempts"),
        ("409", "HTTP 409 Conflict"),
        ("garbage", "BadStatusLine in the answer, after 6 attempts"),
        ("drop", "Remote end closed connection without response, after 6 attempts"),
    ],
)
def test_an_upload_that_fails_says_why(fault: str, cause: str, server: BlobServer, result: Path) -> None:
    server.always = fault
    with pytest.raises(Failure) as raised:
        blobs.upload("out", result)
    assert (raised.value.status, str(raised.value)) == (
        failures.UPLOAD,
        f"cannot upload k.json to container [out]: {cause}",
    )


def test_nobody_listens(server: BlobServer, result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPN_BLOB_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(Failure, match="Connection refused, after 6 attempts"):
        blobs.upload("out", result)


@pytest.mark.parametrize(
    ("sas", "more"),
    [
        ("sig=secret", ""),
        (EXPIRED, "; the SAS expired at 2020-01-01T00:00:00Z"),
        ("se=nonsense", ""),
        ("se=2999-01-01T00%3A00%3A00Z", ""),
        ("se=2020-01-01", ""),
    ],
)
def test_a_refused_sas(sas: str, more: str, server: BlobServer, result: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPN_OUTPUT_SAS", sas)
    server.always = "forbidden"
    with pytest.raises(Failure) as raised:
        blobs.upload("out", result)
    assert raised.value.status == failures.SAS
    assert str(raised.value) == f"cannot upload k.json to container [out]: HTTP 403 AuthenticationFailed{more}"


def test_a_download_is_whole_or_tried_again(server: BlobServer, tmp_path: Path) -> None:
    content = b"x" * 1_000_000
    server.blobs["tables/a b"] = content
    server.faults.extend(["short", "drop", "503", "garbage"])
    assert blobs.download("tables", "a b", tmp_path / "a") == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "a").read_bytes() == content


def test_a_download_of_nothing(server: BlobServer, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"cannot fetch b from container \[tables\]: HTTP 404 BlobNotFound") as raised:
        blobs.download("tables", "b", tmp_path / "b")
    assert raised.value.status == failures.TABLE


def test_a_full_disk_is_not_taken_for_a_lost_connection(server: BlobServer) -> None:
    server.blobs["tables/b"] = b"x"
    with pytest.raises(Failure, match="the disk is full: fetching full: No space left on device") as raised:
        blobs.download("tables", "b", Path("/dev/full"))
    assert raised.value.status == failures.DISK_FULL
