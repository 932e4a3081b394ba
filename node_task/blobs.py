"""Blobs over plain HTTPS: results go up, tables come down, with the SAS that the environment holds, or as an identity.

No text of an error holds a URL, as the SAS is part of it.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import pathlib
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import identity
from failures import SAS, TABLE, UPLOAD, Failure, on_disk, why

API_VERSION = "2021-12-02"  # bearer tokens need one, 2017-11-09 or later
TIMEOUT_SECONDS = 60
ATTEMPTS = 6  # with pauses of half a minute in all
CHUNK_BYTES = 256 * 1024
CONTENT_TYPES = {".txt": "text/plain; charset=utf-8", ".gz": "application/gzip", ".json": "application/json"}


def upload(container: str, path: pathlib.Path, attempts: int = ATTEMPTS) -> None:
    """PUT a file into a container: the one that TOPN_OUTPUT_SAS is for, unless an identity does it. Raises Failure."""
    print(f"Uploading {path.name} to container [{container}]...", flush=True)
    cannot = f"cannot upload {path.name} to container [{container}]"
    sas_in = "TOPN_OUTPUT_SAS"
    headers = {
        "x-ms-blob-type": "BlockBlob",
        "x-ms-version": API_VERSION,
        "Content-Type": CONTENT_TYPES[path.suffix],
        "Content-Length": str(path.stat().st_size),
    }
    for cause in _attempts(attempts, sas_in, cannot, UPLOAD):
        with path.open("rb") as content:
            request = _request(container, path.name, sas_in, headers, content)
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
                    return
            except (OSError, http.client.HTTPException) as error:
                cause.append(error)


def download(
    container: str, name: str, path: pathlib.Path, attempts: int = ATTEMPTS, *, sas_in: str = "TOPN_TABLES_SAS"
) -> str:
    """GET a blob into a file; its SHA-256. The SAS in this variable is for its container. Raises Failure."""
    cannot = f"cannot fetch {name} from container [{container}]"
    for cause in _attempts(attempts, sas_in, cannot, TABLE):
        request = _request(container, name, sas_in, {"x-ms-version": API_VERSION})
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return _save(answer, path)
        except (OSError, http.client.HTTPException) as error:
            cause.append(error)
    raise AssertionError("the last attempt returns or raises")


def _save(answer: http.client.HTTPResponse, path: pathlib.Path) -> str:
    """Write an answer's body; its SHA-256. Raises Failure for the disk, OSError or HTTPException for the connection."""
    promised, got, sha256 = answer.headers.get("Content-Length", ""), 0, hashlib.sha256()
    try:
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise on_disk(error, f"fetching {path.name}") from None
    with file:
        while chunk := answer.read(CHUNK_BYTES):
            got += len(chunk)
            sha256.update(chunk)
            try:
                while chunk:
                    chunk = chunk[file.write(chunk) or 0 :]
            except OSError as error:
                raise on_disk(error, f"fetching {path.name}") from None
    if promised.isdecimal() and got < int(promised):
        raise ConnectionError(f"the connection was lost after {got} of {promised} bytes")
    return sha256.hexdigest()


def _identity() -> identity.Identity | None:
    """As whom this node reaches blobs; None: with SAS."""
    resource_id = os.environ.get(identity.VARIABLE)
    return identity.of(resource_id) if resource_id else None


def _request(
    container: str, name: str, sas_in: str, headers: dict[str, str], content: io.BufferedReader | None = None
) -> urllib.request.Request:
    """GET a blob, or PUT its content, as this node may now. Raises Failure where its identity gets no token."""
    endpoint = os.environ["TOPN_BLOB_ENDPOINT"].rstrip("/")
    url = f"{endpoint}/{urllib.parse.quote(container)}/{urllib.parse.quote(name)}"
    known, method = _identity(), "GET" if content is None else "PUT"
    if known is None:
        return urllib.request.Request(f"{url}?{os.environ[sas_in]}", content, headers, method=method)
    request = urllib.request.Request(url, content, headers, method=method)
    request.add_unredirected_header("Authorization", f"Bearer {known.token()}")  # no other server is to see it
    return request


def _attempts(number: int, sas_in: str, cannot: str, status: int) -> Iterator[list[Exception]]:
    """Give each attempt a list for its error; go on after one that may pass (408, 429, 5xx, a lost connection).

    Raises Failure after any other, and after the last.
    """
    text = ""
    for attempt in range(1, number + 1):
        errors: list[Exception] = []
        yield errors
        text, may_pass = _cause(errors[0])
        code, known = errors[0].code if isinstance(errors[0], urllib.error.HTTPError) else None, _identity()
        if code == 401 and known and attempt == 1:  # its token was withdrawn, or has expired by another clock
            known.forget()
            continue
        if code in (401, 403):
            more = _role(known, code) if known else _expiry(os.environ[sas_in])
            raise Failure(SAS, f"{cannot}: {text}{more}")
        if not may_pass:
            raise Failure(status, f"{cannot}: {text}")
        if attempt < number:
            time.sleep(min(2 ** (attempt - 1), 16))
    raise Failure(status, f"{cannot}: {text}, after {number} attempts")


def _role(known: identity.Identity, code: int) -> str:
    """What an identity lacks that is refused, most likely."""
    needs = " needs the role Storage Blob Data Contributor" if code == 403 else "'s token is not accepted"
    return f"; the identity {known.name}{needs}"


def _cause(error: Exception) -> tuple[str, bool]:
    """What went wrong, and whether it may pass."""
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the answer, too
        code = error.headers.get("x-ms-error-code") if error.headers else None
        return f"HTTP {error.code} {code or error.reason}", error.code in (408, 429) or error.code >= 500
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        return why(error.reason), True
    if isinstance(error, OSError):
        return why(error), True
    return f"{type(error).__name__} in the answer", True


def _expiry(sas: str) -> str:
    """Since when a SAS is no longer valid, if that is the reason."""
    import datetime

    try:
        ends = urllib.parse.parse_qs(sas)["se"][0]
        ended = datetime.datetime.fromisoformat(ends.replace("Z", "+00:00"))
        over = ended < datetime.datetime.now(datetime.timezone.utc)
    except (KeyError, ValueError, TypeError):
        return ""
    return f"; the SAS expired at {ends}" if over else ""
