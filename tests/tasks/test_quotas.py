"""The account's quotas, read from a management API and compared with a run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from azure.core import AsyncPipelineClient

from tasks.clients import Clients
from tasks.errors import BadInput
from tasks.quotas import Quotas, Usage, cores, exceeded, read_quotas, read_usage
from tests.conftest import create_pool

ACCOUNT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Batch/batchAccounts/mine"
# As Microsoft.Batch answers (the specification's example BatchAccountGet).
ANSWER = {
    "id": ACCOUNT,
    "properties": {
        "dedicatedCoreQuota": 20,
        "lowPriorityCoreQuota": 20,
        "poolQuota": 1,
        "activeJobAndJobScheduleQuota": 20,
        "dedicatedCoreQuotaPerVMFamilyEnforced": False,
    },
}


@pytest.fixture
def management_url() -> Iterator[str]:
    """A management API that knows one account."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == f"{ACCOUNT}?api-version=2024-07-01"
            body = json.dumps(ANSWER if known else {"error": {"code": "ResourceNotFound"}}).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


async def test_quotas_are_read_from_the_accounts_resource(management_url: str) -> None:
    async with AsyncPipelineClient(management_url, policies=[]) as management:
        assert await read_quotas(management, ACCOUNT) == Quotas(1, 20, 20, 20)
        with pytest.raises(BadInput, match="AZURE_BATCH_ACCOUNT_ID: the quotas of /nowhere cannot be read: 404"):
            await read_quotas(management, "/nowhere")


async def test_usage_is_what_the_account_has_now(clients: Clients) -> None:
    assert await read_usage(clients) == Usage(0, 0, 0, 0)
    await create_pool(clients, "p", target_dedicated_nodes=0)
    assert (await read_usage(clients)).pools == 1


@pytest.mark.parametrize(
    ("size", "number"),
    [("STANDARD_D2S_V3", 2), ("Standard_D64ads_v5", 64), ("standard_m8-4ms", 4), ("STANDARD_A1", 1), ("odd", 1)],
)
def test_a_vm_sizes_name_tells_its_cores(size: str, number: int) -> None:
    assert cores(size) == number


def test_each_quota_that_would_be_exceeded_is_a_sentence() -> None:
    quotas = Quotas(pools=2, active_jobs=5, dedicated_cores=8, spot_cores=0)
    now = Usage(pools=2, active_jobs=1, dedicated_cores=4, spot_cores=0)
    added = Usage(pools=1, active_jobs=1, dedicated_cores=4, spot_cores=2)
    assert exceeded(quotas, now, added) == [
        "pools: 2 in use + 1 are more than the quota of 2",
        "spot cores: 0 in use + 2 are more than the quota of 0",
    ]
