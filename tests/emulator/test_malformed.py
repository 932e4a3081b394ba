"""Requests that make no sense are refused; none is a fault of the emulator."""

from __future__ import annotations

from typing import Any

import azure.batch.models
import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulator.body import properties_of
from emulator.routes import OPERATIONS
from tests.emulator.conftest import UBUNTU, Account

TIMES = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "a", "pool", "PT5M", "P1D", "P99999999999D", "2026-01-01T00:00:00Z", "true", "7", "admin"])
)
NAMES = sorted(
    {
        name
        for model in vars(azure.batch.models).values()
        if isinstance(model, type) and model.__name__.startswith(("BatchPool", "BatchJob", "BatchTask", "Exit"))
        if hasattr(model, "_deserialize")
        for name in properties_of(model)
    }
)
BODIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
WHOLE: dict[str, dict[str, Any]] = {
    "/pools": {"id": "p", "vmSize": "standard_d2_v3", "virtualMachineConfiguration": UBUNTU},
    "/jobs": {"id": "j", "poolInfo": {"poolId": "pool"}, "onTaskFailure": "performexitoptionsjobaction"},
    "/jobs/job/tasks": {"id": "t", "commandLine": "/bin/true"},
    "/jobs/job/addtaskcollection": {"value": [{"id": "t", "commandLine": "/bin/true"}]},
    "/pools/pool/resize": {"targetDedicatedNodes": 0},
    "/pools/pool/enableautoscale": {"autoScaleFormula": "$TargetDedicatedNodes = 0;"},
    "/_emulator/faults": {"action": "answer", "path": "/nowhere"},
    "/_emulator/settings": {},
    "/_emulator/pools/pool/identity": {"userAssignedIdentities": []},
}


def _status(account: Account, request: HttpRequest) -> int:
    try:
        return account.client.send_request(request, retry_total=0).status_code
    except HttpResponseError as error:
        assert error.status_code is not None
        return error.status_code


def _fine(status: int) -> bool:
    return status < 500 or status in (501, 503)  # 503: too many changes of a formula


@pytest.mark.parametrize("path", WHOLE)
def test_no_body_is_a_fault(account: Account, path: str) -> None:
    account.control("POST", "/settings", {"quotas": {"dedicated_cores": 4, "spot_cores": 4}})
    account.pool(nodes=0)
    account.job()

    @TIMES
    @given(st.dictionaries(st.sampled_from(NAMES), BODIES, max_size=4) | BODIES, st.booleans())
    def fuzz(body: Any, completed: bool) -> None:
        if completed and isinstance(body, dict):
            body = {**body, **WHOLE[path]}
        request = HttpRequest("POST", path, params={"api-version": "2025-06-01"}, json=body)
        assert _fine(_status(account, request)), body

    fuzz()


QUERIES = (
    {"$filter": "a"},
    {"$filter": "id eq 'x'"},
    {"$select": ","},
    {"maxresults": "-1"},
    {"maxresults": "9" * 30},
    {"$skiptoken": "x"},
    {"$expand": "stats"},
    {"recursive": "maybe"},
)
HEADERS = ({"If-Match": "\u00e9,,", "ocp-range": "bytes=-"}, {"If-Modified-Since": "soon"})
NAMED = {"poolId": "pool", "jobId": "job", "taskId": "task", "nodeId": "x", "filePath:path": "stdout.txt"}


def test_no_query_or_header_is_a_fault(account: Account) -> None:
    account.pool(nodes=0)
    account.job()
    account.task("task", "/bin/true")
    for operation in (row for row in OPERATIONS if row.method != "DELETE"):
        path = operation.path
        for part in NAMED:
            path = path.replace(f"{{{part}}}", NAMED[part])
        for query, headers in [*((query, {}) for query in QUERIES), *(({}, headers) for headers in HEADERS)]:
            parameters = {"api-version": "2025-06-01", **query}
            request = HttpRequest(operation.method, path, params=parameters, headers=headers)
            assert _fine(_status(account, request)), (operation.name, query, headers)
