"""Whatever comes to a route, the emulator answers it, and never with a fault. FUZZ_CASES says how much comes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from azure.core.rest import HttpRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.routes import OLDER_OPERATIONS, OPERATIONS
from tests.emulator.conftest import Account, Emulator
from tests.emulator.test_malformed import BODIES, NAMES, WHOLE, _fine, _status

CONTROL = [
    ("POST", "/_emulator/settings", "settings"),
    ("POST", "/_emulator/pools/{poolId}/identity", "identify"),
    ("POST", "/_emulator/pools/{poolId}/nodes/{nodeId}/{what}", "befall"),
    ("GET", "/_emulator/window/{account}/jobs/{jobId}/tasks", "window_tasks"),
    ("GET", "/_emulator/window/{account}/jobs/{jobId}/tasks/{taskId}/{stream}", "window_stream"),
]
ROUTES = [*((row.method, row.path, row.name) for row in (*OPERATIONS, *OLDER_OPERATIONS)), *CONTROL]
OLDER = {row.name for row in OLDER_OPERATIONS} | {"create_pool", "create_task"}
OLDER |= {row.name for row in OPERATIONS if row.name.startswith("list_")}
VERSIONS = ["2025-06-01", "2016-07-01.3.1", "2018-03-01.6.1", "2024-02-01.19.0"]
CASES = int(os.environ.get("FUZZ_CASES", "300"))

WORDS = st.sampled_from(["..", "%2e%2e", "a/b", "", " ", "\0", "\n", "é", "\U0001f600", "A" * 3000, "$", "'", "pool;x"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | WORDS
FILTERS = st.sampled_from(
    [
        "state eq 'active'",
        "not (id eq 'a') and startswith(id, 't')",
        "creationTime gt DateTime'soon'",
        "id gt 5 or",
        "((((",
        "executionInfo/exitCode ne null",
        "executionInfo/schedulingError/code eq 'x'",
        "not startTask/runElevated",
        "executionInfo/nonsense ne null",
        "id,state,stats",
        "stats",
        "id eq '''",
        "state eq",
    ]
)
QUERIES = st.dictionaries(
    st.sampled_from(
        ["$filter", "$select", "$expand", "maxresults", "$skiptoken", "timeOut", "recursive", "startTime", "force", "x"]
    ),
    TEXTS | FILTERS | st.integers().map(str),
    max_size=3,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "ocp-range", "client-request-id"]
    ),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
    | st.sampled_from(["*", "bytes=9-1", "bytes=0-" + "9" * 30, "Sun, 99 Nov 9999 99:99:99 GMT", "bytes=-0", '"0x8D"']),
    max_size=2,
)
RAW = st.sampled_from([b"", b"{", b"[]", b"null", b'"\xff"', b"[" * 9000, b'{"a":NaN}', b'{"id":"\\ud800"}', b"1e999"])
EXISTING = {"poolId": "pool", "jobId": "job", "taskId": "task", "stream": "stdout", "what": "break"}


@pytest.fixture(autouse=True)
def no_traceback(emulator: Emulator) -> Iterator[None]:
    """The emulator's log has no traceback of this test."""
    begun = emulator.log.stat().st_size
    yield
    with emulator.log.open("rb") as log:
        log.seek(begun)
        assert b"Traceback" not in log.read()


def _bodies(path: str) -> st.SearchStrategy[bytes]:
    """Bodies for a route: nonsense, and what makes sense but for a part of it."""
    made_up = st.dictionaries(st.sampled_from(NAMES), BODIES, max_size=4) | BODIES
    whole: dict[str, Any] = WHOLE.get(path.replace("{jobId}", "job").replace("{poolId}", "pool"), {})
    sensible = st.dictionaries(st.sampled_from(NAMES), BODIES, max_size=2).map(lambda more: {**more, **whole})
    return RAW | (made_up | sensible).map(lambda body: json.dumps(body).encode())


@pytest.mark.parametrize(("method", "path", "name"), ROUTES, ids=[name for *_, name in ROUTES])
def test_a_route_answers_anything(account: Account, method: str, path: str, name: str) -> None:
    account.control("POST", "/settings", {"quotas": {"dedicated_cores": 4, "spot_cores": 4}})
    account.pool(nodes=0)
    account.job()
    account.task("task", "/bin/true")
    parts = re.findall(r"\{(\w+)(?::path)?\}", path)

    @settings(
        max_examples=max(1, CASES // len(ROUTES)),
        deadline=None,
        database=None,
        derandomize=CASES <= 300,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        values = {
            part: data.draw(st.just(EXISTING.get(part, account.name)) | TEXTS if part in EXISTING else TEXTS)
            for part in parts
        }
        filled = re.sub(r"\{(\w+)(?::path)?\}", lambda found: quote(values[found[1]], safe=""), path)
        version = data.draw(st.sampled_from(VERSIONS) if name in OLDER else st.just(VERSIONS[0]))
        query = {"api-version": version, **data.draw(QUERIES)}
        body = data.draw(_bodies(path)) if method in ("POST", "PUT", "PATCH") else None
        request = HttpRequest(method, filled, params=query, headers=data.draw(HEADERS), content=body)
        request.url = request.url.replace("{", "{{").replace("}", "}}")  # the SDK's client takes it for a template
        if body is not None:
            request.headers["Content-Type"] = "application/json"
        assert _fine(_status(account, request)), (name, filled, query, dict(request.headers), body)

    fuzz()
