"""The flow where nothing will ever run: it says why, ends at once, and pays for no more nodes."""

from __future__ import annotations

from pathlib import Path

import pytest
from azure.core.rest import HttpRequest

from flows.parameters import Parameters
from flows.topn import topn
from tasks.clients import Clients
from tasks.errors import RunFailed
from tests.conftest import until

SAMPLE = Path(__file__).parent.parent.parent / "data/taskdata1.txt"

pytestmark = pytest.mark.usefixtures("prefect_api", "environment")


async def test_a_run_whose_start_task_fails_ends_with_that_cause_and_releases_its_pool(
    clients: Clients, tmp_path: Path
) -> None:
    settings = HttpRequest("POST", "/_emulator/settings", json={"failingStartTasks": 100})
    (await clients.batch.send_request(settings)).raise_for_status()
    parameters = Parameters(inputs=[str(SAMPLE)], outputs=str(tmp_path), run_key="no-start", timeout_minutes=30)
    with pytest.raises(
        RunFailed, match=r"^The start task failed on the one node of pool topn-no-start-g1 \(exit code 1"
    ):
        await topn(parameters)

    async def gone() -> bool:
        return not [pool async for pool in clients.batch.list_pools()]

    await until(gone, "the pool is deleted")
