"""What was counted once in the same way is not counted again; and only that."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from azure.storage.blob.aio import ContainerClient
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from flows.parameters import Parameters
from flows.preflight import preflight
from flows.topn import topn
from tasks.clients import Clients
from tasks.containers import create_containers
from tasks.errors import FilesFailed
from tasks.inputs import upload_inputs
from tasks.results import Results
from tasks.run import Run
from tests.conftest import naive_top, until

pytestmark = pytest.mark.usefixtures("prefect_api", "environment")


async def count(tmp_path: Path, *inputs: str | Path, **parameters: object) -> Results:
    given = {"inputs": [str(one) for one in inputs], "outputs": str(tmp_path / "outputs"), **parameters}
    return await topn(Parameters.model_validate(given))  # pyright: ignore[reportReturnType]


def kept(clients: Clients) -> ContainerClient:
    return clients.blobs.get_container_client(clients.settings.results_container)


def cached(results: Results) -> dict[str, bool]:
    return {file.name: file.cached for file in results.files}


async def test_only_what_is_new_is_counted_and_nothing_is_made_when_nothing_is(
    clients: Clients, texts: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (texts / name).write_text(f"{name} word word")
    first = await count(tmp_path, texts / "*")
    assert cached(first) == {"a": False, "b": False}
    text = (tmp_path / "outputs/latest/a_OUTPUT.txt").read_bytes()

    (texts / "b").write_text("changed")
    (texts / "c").write_text("new")
    second = await count(tmp_path, texts / "*")
    assert cached(second) == {"a": True, "b": False, "c": False}
    assert [file.words for file in second.files] == [naive_top((texts / n).read_bytes(), 3) for n in "abc"]
    assert (tmp_path / "outputs/latest/a_OUTPUT.txt").read_bytes() == text

    before = {pool.id async for pool in clients.batch.list_pools()}
    third = await count(tmp_path, texts / "*", run_key="nothing-new")
    assert cached(third) == {"a": True, "b": True, "c": True}
    assert third.overall == second.overall
    assert {pool.id async for pool in clients.batch.list_pools()} <= before
    assert not await clients.blobs.get_container_client("topn-nothing-new-output").exists()

    assert cached(await count(tmp_path, texts / "a", words=4)) == {"a": False}
    assert cached(await count(tmp_path, texts / "a", refresh=True)) == {"a": False}


async def test_prefect_shows_cached_what_is_kept(texts: Path, tmp_path: Path) -> None:
    (texts / "a").write_text(f"only of this test: {tmp_path}")
    await count(tmp_path, texts / "a")
    given = Parameters(inputs=[str(texts / "a")], outputs=str(tmp_path))
    state = await topn(given, return_state=True)  # pyright: ignore[reportGeneralTypeIssues]
    flow_run_id = state.state_details.flow_run_id
    async with get_client() as api:

        async def shown_as_cached() -> bool:
            runs = await api.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
            return any(run.name == "a" and run.state is not None and run.state.name == "Cached" for run in runs)

        await until(shown_as_cached, "the file's task run is Cached")


@pytest.mark.parametrize("content", [b"{}", b"not JSON"])
async def test_a_kept_result_that_is_damaged_is_counted_again_and_said(
    clients: Clients, texts: Path, tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (texts / "a").write_text("right right")
    await count(tmp_path, texts / "a")
    (name,) = [name async for name in kept(clients).list_blob_names() if name.endswith(".json")]
    await kept(clients).upload_blob(name, content, overwrite=True)
    again = await count(tmp_path, texts / "a")
    assert cached(again) == {"a": False}
    assert again.files[0].words == [("right", 2)]
    assert "a: its kept result is no good" in caplog.text
    assert cached(await count(tmp_path, texts / "a")) == {"a": True}


async def test_an_empty_file_is_kept_too(texts: Path, tmp_path: Path) -> None:
    (texts / "empty").touch()
    await count(tmp_path, texts / "empty")
    assert cached(await count(tmp_path, texts / "empty")) == {"empty": True}


async def test_a_file_that_failed_is_not_kept_and_the_run_may_complete_all_the_same(
    texts: Path, tmp_path: Path
) -> None:
    (texts / "good").write_text("good")
    (texts / "gone").write_bytes(b"\x1f\x8b\x08")  # gzip that ends in its header
    with pytest.raises(FilesFailed, match=r"1 of 2 files failed: gone: .*exit code 10"):
        await count(tmp_path, texts / "*")
    state = await topn(
        Parameters(inputs=[str(texts / "*")], outputs=str(tmp_path / "outputs"), fail_when=0.5), return_state=True
    )  # pyright: ignore[reportGeneralTypeIssues]
    assert state.is_completed()
    assert "1 of 2 files failed" in str(state.message)
    results = await state.result()
    assert isinstance(results, Results)
    assert cached(results) == {"good": True}
    assert [(failed.name, failed.failure, failed.exit_code, failed.attempts) for failed in results.failed] == [
        ("gone", "exit_code", 10, 1)
    ]


async def test_a_blob_that_changes_during_the_run_fails_and_is_not_kept(clients: Clients, tmp_path: Path) -> None:
    container = clients.blobs.get_container_client(f"in-{uuid.uuid4().hex}")
    await container.create_container()
    await container.upload_blob("a", b"before")
    await container.upload_blob("b", b"stays")
    running = asyncio.create_task(count(tmp_path, f"az://{container.container_name}/", delay_seconds=2))

    async def a_task_runs() -> bool:
        jobs = [job.id async for job in clients.batch.list_jobs()]
        return any([(await clients.batch.get_job_task_counts(job)).task_counts.running for job in jobs])

    await until(a_task_runs, "a task runs")
    await container.upload_blob("a", b"after!", overwrite=True)
    with pytest.raises(FilesFailed, match="its ETag is another than the plan's") as caught:
        await running
    results = caught.value.results
    assert results is not None
    assert [file.name for file in results.files] == ["b"]
    assert [(failed.name, failed.failure) for failed in results.failed] == [("a", "changed")]
    assert len([name async for name in kept(clients).list_blob_names() if name.endswith(".json")]) == 1


async def test_a_file_that_changes_between_plan_and_upload_fails_alone(
    clients: Clients, texts: Path, tmp_path: Path
) -> None:
    for name in ("changes", "stays", "vanishes"):
        (texts / name).write_text(name)
    plan = await preflight(clients, Parameters(inputs=[str(texts / "*")], outputs=str(tmp_path)))
    (texts / "changes").write_text("CHANGES")
    (texts / "vanishes").unlink()
    run = Run.of(uuid.uuid4())

    @flow
    async def upload() -> dict[str, str]:
        await create_containers(clients, run, timedelta(hours=1))
        return await upload_inputs(clients, run, plan.files)

    failed = await upload()
    names = {file.key: file.name for file in plan.files}
    assert {names[key]: sentence for key, sentence in failed.items()} == {
        "changes": "the file changed between the plan and its upload",
        "vanishes": "it cannot be read any more: No such file or directory",
    }
