"""The flow where Batch is in trouble: what may pass is waited for, and nothing is made twice."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from azure.core.rest import HttpRequest

from flows.parameters import Parameters
from flows.topn import topn
from tasks.clients import Clients
from tasks.errors import RunFailed
from tasks.results import Results
from tests.conftest import naive_top

SAMPLE = Path(__file__).parent.parent.parent / "data/taskdata1.txt"

pytestmark = pytest.mark.usefixtures("prefect_api", "environment")


async def fail(clients: Clients, **fault: object) -> None:
    """Ask the emulator for a fault."""
    answer = await clients.batch.send_request(HttpRequest("POST", "/_emulator/faults", json=fault))
    answer.raise_for_status()


async def count(tmp_path: Path, run_key: str) -> Results:
    return await topn(Parameters(inputs=[str(SAMPLE)], outputs=str(tmp_path), run_key=run_key))  # pyright: ignore[reportReturnType]


def assert_counted(results: Results) -> None:
    assert [file.words for file in results.files] == [naive_top(SAMPLE.read_bytes(), 3)]
    assert results.left_behind == []


async def test_a_step_is_repeated_when_the_client_has_given_up_on_trouble_that_passes(
    clients: Clients, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # The SDK tries four times, so the fifth is the step's own second try.
    await fail(clients, action="answer", status=503, count=4, method="POST", path="/pools")
    assert_counted(await count(tmp_path, "trouble"))
    assert "trying again" in caplog.text


@pytest.mark.parametrize(
    ("path", "action"),
    [
        ("/pools", {"action": "drop-after"}),
        ("/jobs", {"action": "answer-after", "status": 500}),
        ("/jobs/*/addtaskcollection", {"action": "answer-after", "status": 500}),
        ("/jobs/*/addtaskcollection", {"action": "drop-after"}),
    ],
)
async def test_what_was_made_although_its_answer_was_lost_is_not_made_twice(
    clients: Clients, tmp_path: Path, path: str, action: dict[str, object]
) -> None:
    await fail(clients, **action, count=1, method="POST", path=path)
    assert_counted(await count(tmp_path, f"lost-{uuid.uuid4().hex[:12]}"))


async def test_throttling_while_watching_and_releasing_passes(clients: Clients, tmp_path: Path) -> None:
    await fail(clients, action="answer", status=429, retryAfter=1, count=2, method="GET", path="/jobs/*/taskcounts")
    await fail(clients, action="answer", status=429, retryAfter=1, count=2, method="DELETE", path="/*")
    assert_counted(await count(tmp_path, "throttled"))


async def test_counts_that_lag_do_not_hold_up_the_run_for_long(clients: Clients, tmp_path: Path) -> None:
    settings = HttpRequest("POST", "/_emulator/settings", json={"taskCountsLag": 600})
    (await clients.batch.send_request(settings)).raise_for_status()
    assert_counted(await count(tmp_path, "lagging"))


async def test_a_quota_that_is_reached_ends_the_run_with_its_code_and_all_is_released(
    clients: Clients, tmp_path: Path
) -> None:
    settings = HttpRequest("POST", "/_emulator/settings", json={"quotas": {"pools": 0}})
    (await clients.batch.send_request(settings)).raise_for_status()
    with pytest.raises(RunFailed, match="409 PoolQuotaReached"):
        await count(tmp_path, "no-pool")
    container = clients.blobs.get_container_client("topn-no-pool-output")
    assert not await container.exists()
