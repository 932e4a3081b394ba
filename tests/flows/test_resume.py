"""Going on with a run under its key, in this process: what is there is used, and nothing is counted twice."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from flows.parameters import Parameters
from flows.topn import topn
from tasks.clients import Clients
from tasks.results import Results
from tasks.run import Run
from tests.conftest import naive_top, until

pytestmark = pytest.mark.usefixtures("prefect_api", "environment")


async def count(tmp_path: Path, texts: Path, **parameters: object) -> Results:
    given = {"inputs": [str(texts / "*")], "outputs": str(tmp_path / "outputs"), "claim_seconds": 15, **parameters}
    results = await topn(Parameters.model_validate(given))  # pyright: ignore[reportGeneralTypeIssues]
    assert isinstance(results, Results)
    return results


def write(texts: Path, *names: str) -> None:
    """Files that were never counted before, as results are kept."""
    for name in names:
        (texts / name).write_text(f"{name} {name} {uuid.uuid4()}")


def assert_counted(results: Results, texts: Path) -> None:
    expected = {path.name: naive_top(path.read_bytes(), 3) for path in texts.iterdir()}
    assert {file.name: file.words for file in results.files} == expected


async def task_ids(clients: Clients, job_id: str) -> dict[str, object]:
    return {str(one.id): one.creation_time async for one in clients.batch.list_tasks(job_id)}


async def test_what_a_run_left_for_others_is_adopted_and_counted_anew_only_when_asked(
    clients: Clients, texts: Path, tmp_path: Path
) -> None:
    run = Run("kept-run", "")
    write(texts, "one", "two")
    await count(tmp_path, texts, run_key=run.key, keep="everything")
    before = await task_ids(clients, run.job_id)
    cached = await count(tmp_path, texts, run_key=run.key)
    assert all(file.cached for file in cached.files)
    assert await task_ids(clients, run.job_id) == before, "what was left on purpose is spared"
    write(texts, "three")
    results = await count(tmp_path, texts, run_key=run.key, keep="everything")
    assert_counted(results, texts)
    after = await task_ids(clients, run.job_id)
    assert len(after) == 3
    assert before.items() <= after.items(), "the tasks that were there are the same ones"

    results = await count(tmp_path, texts, run_key=run.key, refresh=True)
    assert_counted(results, texts)
    assert not any(file.cached for file in results.files)
    assert results.left_behind == []
    assert all(file.node.startswith("tvm") for file in results.files)
    assert [job.id async for job in clients.batch.list_jobs() if job.state != "deleting"] == []


async def test_results_that_nodes_delivered_are_taken_where_their_job_is_gone(
    clients: Clients, texts: Path, tmp_path: Path
) -> None:
    run = Run("delivered", "")
    write(texts, "one", "two")
    first = await count(tmp_path, texts, run_key=run.key, keep="everything")
    await clients.batch.begin_delete_job(run.job_id)
    await clients.batch.begin_delete_pool(run.pool_id)
    kept = clients.blobs.get_container_client(clients.settings.results_container)
    keys = {file.key for file in first.files}
    for blob in [one async for one in kept.list_blob_names()]:
        if blob.rpartition("/")[2].removesuffix(".json") in keys:
            await kept.delete_blob(blob)
    second = await count(tmp_path, texts, run_key=run.key)
    assert_counted(second, texts)
    assert second.left_behind == []
    assert [pool.id async for pool in clients.batch.list_pools() if pool.state != "deleting"] == []


async def test_of_two_runs_with_one_key_the_second_waits_and_counts_nothing_twice(
    clients: Clients, texts: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run("twice", "")
    write(texts, "one", "two")
    first = asyncio.create_task(count(tmp_path, texts, run_key=run.key, delay_seconds=3))

    async def working() -> bool:
        return bool([job.id async for job in clients.batch.list_jobs()])

    await until(working, "the first run has its job")
    second = await count(tmp_path, texts, run_key=run.key)
    assert_counted(await first, texts)
    assert_counted(second, texts)
    assert all(file.cached for file in second.files)
    assert "Run twice is still held by flow run" in caplog.text
    assert caplog.text.count("Creating job") == 1
