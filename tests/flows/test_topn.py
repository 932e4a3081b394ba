"""The flow, in this process, through the real clients against the emulator and Azurite."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.batch.models import BatchJobCreateOptions, BatchPoolInfo
from azure.core.exceptions import ResourceNotFoundError
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterId

from deployments.services import STATE
from flows.parameters import Parameters
from flows.topn import topn
from tasks.clients import Clients
from tasks.errors import BadInput, FilesFailed, RunFailed
from tasks.results import Results
from tasks.run import Run
from tests.conftest import create_pool, naive_top, until
from tests.local_stack import ROOT, inputs_on_nodes

pytestmark = pytest.mark.usefixtures("prefect_api", "environment")


async def count(tmp_path: Path, *inputs: str | Path, **parameters: object) -> Results:
    given = {"inputs": [str(one) for one in inputs], "outputs": str(tmp_path / "outputs"), **parameters}
    return await topn(Parameters.model_validate(given))  # pyright: ignore[reportReturnType]


def assert_right(results: Results, files: dict[str, Path]) -> None:
    """Each file has its row, in order, with the words of the naive count."""
    assert [file.name for file in results.files] == list(files)
    for file in results.files:
        content = files[file.name].read_bytes()
        assert file.words == naive_top(content, results.num_words), file.name
        everything = naive_top(content, 10**9)
        assert (file.total_words, file.distinct_words) == (sum(n for _, n in everything), len(everything))


async def left(clients: Clients, run: Run) -> list[str]:
    """What of a run exists, but for what is being deleted."""
    found = []
    for kind, get, id in (
        ("job", clients.batch.get_job, run.job_id),
        ("pool", clients.batch.get_pool, run.pool_id),
    ):
        try:
            if (await get(id)).state != "deleting":
                found.append(kind)
        except ResourceNotFoundError:
            pass
    for name in run.containers:
        if await clients.blobs.get_container_client(name).exists():
            found.append(name.rsplit("-", 1)[1])
    return found


async def test_the_nine_steps_count_the_sample_files(clients: Clients, tmp_path: Path) -> None:
    samples = {path.name: path for path in sorted((ROOT / "data").glob("*.txt"))}
    results = await count(tmp_path, *samples.values(), run_key="samples")
    assert_right(results, samples)
    assert results.failed == []
    assert results.left_behind == []
    assert all(file.node.startswith("tvm") and file.seconds > 0 for file in results.files)
    assert await left(clients, Run("samples", "")) == []

    folder = tmp_path / "outputs" / "samples"
    assert (tmp_path / "outputs" / "latest").resolve() == folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "results.json",
        *(f"{name}_OUTPUT.txt" for name in samples),
        "timeline.svg",
        "top-words.svg",
    ]
    assert json.loads((folder / "results.json").read_text("utf-8")) == json.loads(
        results.model_dump_json(by_alias=True)
    )
    first = results.files[0]
    text = (folder / f"{first.name}_OUTPUT.txt").read_text("utf-8")
    assert text.splitlines()[2] == f"{first.words[0][0]}:\t{first.words[0][1]}"
    assert "Pool: topn-samples-g1" in text


async def test_prefect_shows_each_step_and_each_file_and_keeps_the_table(tmp_path: Path) -> None:
    state = await topn(Parameters(inputs=[str(ROOT / "data/taskdata1.txt")], outputs=str(tmp_path)), return_state=True)  # pyright: ignore[reportGeneralTypeIssues]
    flow_run_id = state.state_details.flow_run_id
    steps = {
        *("plan", "containers", "upload application", "upload inputs", "pool", "job", "batch tasks", "monitor"),
        *(
            "results",
            "results tables",
            "output link",
            "report",
            "release job",
            "release pool",
            "release containers",
            "left behind",
            "taskdata1.txt",
        ),
    }
    async with get_client() as api:

        async def recorded() -> bool:
            runs = await api.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])))
            done = {run.name.rsplit("-", 1)[0] for run in runs if run.state and run.state.is_completed()}
            names = done | {run.name for run in runs if run.state and run.state.is_completed()}
            return steps <= names

        await until(recorded, f"task runs {steps} are recorded")
        artifacts = await api.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["topn-results"])),
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])),
        )
    (artifact,) = artifacts
    everything, row = json.loads(str(artifact.data))
    assert (everything["file"], row["file"]) == ("ALL FILES", "taskdata1.txt")
    assert row["top words"] == everything["top words"] == "the (23), keeper (6), The (5)"


@pytest.mark.parametrize(
    ("keep", "spared"),
    [("results", ["output"]), ("everything", ["job", "pool", "application", "input", "output"])],
)
async def test_keep_spares_what_it_says(clients: Clients, tmp_path: Path, keep: str, spared: list[str]) -> None:
    run = Run(f"keep-{keep}", "")
    results = await count(tmp_path, ROOT / "data/taskdata1.txt", keep=keep, run_key=run.key)
    assert await left(clients, run) == spared
    assert len(results.left_behind) == len(spared)
    assert {name.split()[0] for name in results.left_behind} >= ({"container"} if keep == "results" else {"job"})


async def test_odd_names_and_contents_each_get_their_row(texts: Path, tmp_path: Path) -> None:
    contents = {
        "a/same name.txt": b"one two two",
        "b/same name.txt": b"three three four",
        "twin 1": b"alike alike",
        "twin 2": b"alike alike",
        "empty": b"",
        "binary": bytes(range(256)) * 3,
        "crlf": b"x y\r\nx z\r\n",
        "no newline": b"end",
        "bom": b"\xef\xbb\xbfword word",
        "\"quotes'$HOME;`echo`&|.txt": b"shell $HOME",
        "{monitor._batch._config.credential.named_key}{x}": b"braces",
        "-rf": b"dash",
        "new\nline": b"line",
        "žluťoučký кот 猫": "kůň кот 猫 кот".encode(),
    }
    for name, content in contents.items():
        (texts / name).parent.mkdir(exist_ok=True)
        (texts / name).write_bytes(content)
    files = {name: texts / name for name in contents}
    results = await count(tmp_path, *files.values(), words=5)
    assert_right(results, files)
    folder = tmp_path / "outputs" / "latest"
    for name in contents:
        assert (folder / f"{name}_OUTPUT.txt").is_file(), name
    assert results.files[2].key == results.files[3].key
    assert results.files[4].words == []


async def test_nothing_secret_is_on_a_command_line_and_each_sas_may_do_one_thing(
    clients: Clients, tmp_path: Path
) -> None:
    await count(tmp_path, ROOT / "data/taskdata1.txt", keep="everything", run_key="secrets")
    tasks = [task async for task in clients.batch.list_tasks("topn-secrets-g1")]
    pool = await clients.batch.get_pool("topn-secrets-g1")
    job = await clients.batch.get_job("topn-secrets-g1")
    assert pool.start_task is not None
    assert pool.start_task.resource_files is not None
    assert "sig=" not in (pool.start_task.command_line or "")
    assert job.constraints is not None
    assert job.constraints.max_wall_clock_time is not None
    assert job.constraints.max_wall_clock_time.total_seconds() == 30 * 60
    (task,) = tasks
    assert task.command_line is not None
    assert task.command_line.startswith("/bin/bash -c 'set -e; ")
    assert "sig=" not in task.command_line
    assert task.resource_files is not None
    (input,), (application,) = task.resource_files, pool.start_task.resource_files
    sas = parse_qs(urlsplit(str(input.http_url)).query)
    assert (sas["sr"], sas["sp"]) == (["b"], ["r"])
    assert application.storage_container_url is not None
    assert urlsplit(application.storage_container_url).path.endswith("/topn-secrets-application")
    sas = parse_qs(urlsplit(application.storage_container_url).query)
    assert (sas["sr"], sas["sp"]) == (["c"], ["rl"])
    output = clients.blobs.get_container_client("topn-secrets-output")
    logs = {name async for name in output.list_blob_names(name_starts_with="logs/")}
    assert logs == {f"logs/{task.id}/stdout.txt", f"logs/{task.id}/stderr.txt"}  # its node may go, its story stays
    environment = {setting.name: setting.value for setting in task.environment_settings or []}
    sas = parse_qs(str(environment["TOPN_OUTPUT_SAS"]))
    assert (sas["sr"], sas["sp"]) == (["c"], ["cw"])


async def test_a_pool_that_the_user_names_is_used_and_left_alone(clients: Clients, tmp_path: Path) -> None:
    await create_pool(clients, "mine")
    results = await count(tmp_path, ROOT / "data/taskdata1.txt", pool_id="mine", run_key="named-pool")
    assert len(results.files) == 1
    assert await left(clients, Run("named-pool", "")) == []
    assert (await clients.batch.get_pool("mine")).state == "active"


async def test_one_file_fails_and_all_others_are_kept(clients: Clients, texts: Path, tmp_path: Path) -> None:
    for name in ("bad", "good"):
        (texts / name).write_text(f"{name} word")
    run = Run("one-fails", "")
    running = asyncio.create_task(count(tmp_path, texts / "*", delay_seconds=3, run_key=run.key, nodes=2))

    async def taken_away() -> bool:
        for path in inputs_on_nodes(STATE):
            if run.job_id in path.parts and path.read_text() == "bad word":
                path.unlink()
                return True
        return False

    await until(taken_away, "the bad file's input is on its node")
    with pytest.raises(FilesFailed) as caught:
        await running
    results = caught.value.results
    assert results is not None
    assert [file.name for file in results.files] == ["good"]
    (failed,) = results.failed
    assert (failed.name, failed.failure, failed.exit_code) == ("bad", "exit_code", 3)
    assert failed.stderr_tail == "cannot read input.txt: No such file or directory\n"
    saved = json.loads((tmp_path / "outputs/latest/results.json").read_text("utf-8"))
    assert saved["failed"][0]["class"] == "exit_code"
    assert "bad" in str(caught.value)
    assert "exit code 3" in str(caught.value)
    assert await left(clients, run) == []


async def test_at_the_timeout_what_is_counted_is_kept_and_all_is_released(
    clients: Clients, texts: Path, tmp_path: Path
) -> None:
    (texts / "slow").write_text("x")
    run = Run("late", "")
    with pytest.raises(
        RunFailed, match=r"1 of 1 tasks of job topn-late-g1 did not complete within the timeout"
    ) as caught:
        await count(tmp_path, texts / "*", delay_seconds=600, timeout_minutes=0.1, run_key=run.key)
    saved = json.loads((tmp_path / "outputs/latest/results.json").read_text("utf-8"))
    assert [(one["name"], one["class"]) for one in saved["failed"]] == [("slow", "timeout")]
    assert caught.value.results is not None
    assert caught.value.results.failed[0].name == "slow"
    assert await left(clients, run) == []


async def test_a_run_key_whose_names_are_taken_is_refused_and_those_things_are_spared(
    clients: Clients, tmp_path: Path, texts: Path
) -> None:
    (texts / "new").write_text(f"new {uuid.uuid4()}")
    await create_pool(clients, "mine")
    job = BatchJobCreateOptions(id="topn-taken-g1", pool_info=BatchPoolInfo(pool_id="mine"))
    await clients.batch.create_job(job)
    with pytest.raises(RunFailed, match=r"job topn-taken-g1 exists already .*: choose another run key than taken"):
        await count(tmp_path, texts / "new", run_key="taken")
    assert await left(clients, Run("taken", "")) == ["job"]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"pool_id": "nowhere"}, "There is no pool nowhere"),
        ({"image": "a:b:c"}, "no verified Linux image a:b:c"),
    ],
)
async def test_bad_parameters_are_refused_before_anything_is_created(
    clients: Clients, tmp_path: Path, parameters: dict[str, str], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        await count(tmp_path, ROOT / "data/taskdata1.txt", run_key="refused", **parameters)
    assert await left(clients, Run("refused", "")) == []
    assert not (tmp_path / "outputs").exists()
