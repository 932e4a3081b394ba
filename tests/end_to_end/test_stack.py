"""`make up`, `prefect deployment run topn/nightly --watch`, `make down`: as a user types them."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from prefect.states import Cancelling

from deployments.services import AZURITE_ACCOUNT, AZURITE_KEY, EMULATOR_ACCOUNT, EMULATOR_KEY
from tasks.clients import Clients, open_clients
from tasks.settings import Settings
from tests.conftest import naive_top, until
from tests.local_stack import ROOT, LocalStack, local, start_stack
from tests.patience import PATIENCE

SAMPLES = sorted((ROOT / "data").glob("*.txt"))


@pytest.fixture(scope="module")
def stack_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """One stack for this module's tests, in their order."""
    stack = start_stack(tmp_path_factory.mktemp("stack"))
    try:
        stack.wait_until_up()
        yield stack
    finally:
        stack.process.send_signal(signal.SIGINT)
        stack.process.wait(timeout=PATIENCE)
    assert stack.processes() == []


async def artifacts_of(api: PrefectClient, flow_run: UUID) -> dict[str, Artifact]:
    """The run's artifacts by their keys; of those of one key, from a run and its retry, the newest."""
    found = await api.read_artifacts(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
    return {str(artifact.key): artifact for artifact in sorted(found, key=lambda one: str(one.created))}


async def last_run(api: PrefectClient):
    runs = await api.read_flow_runs()
    return max((run for run in runs if run.start_time), key=lambda run: str(run.start_time))


async def test_a_nightly_run_ends_completed_with_all_its_artifacts(stack_up: LocalStack) -> None:
    done = stack_up.prefect("deployment", "run", "topn/nightly", "--watch")
    assert done.returncode == 0, done.stdout + done.stderr + stack_up.said
    async with PrefectClient(stack_up.api) as api:
        run = await last_run(api)
        assert run.state is not None
        assert run.state.is_completed()
        filter = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))

        async def recorded() -> bool:
            names = {task_run.name for task_run in await api.read_task_runs(flow_run_filter=filter)}
            return {sample.name for sample in SAMPLES} <= names

        await until(recorded, "each file has its task run")
        artifacts = await artifacts_of(api, run.id)
    assert {"topn-results", "topn-report", "topn-progress", "topn-output"} == set(artifacts)
    rows = {row["file"]: row for row in json.loads(str(artifacts["topn-results"].data))}
    for sample in SAMPLES:
        top = naive_top(sample.read_bytes(), 10)
        assert rows[sample.name]["top words"] == ", ".join(f"{word} ({count})" for word, count in top)
    everything = naive_top(b" ".join(sample.read_bytes() for sample in SAMPLES), 10)
    assert rows["ALL FILES"]["top words"] == ", ".join(f"{word} ({count})" for word, count in everything)
    report = str(artifacts["topn-report"].data)
    assert report.count("data:image/svg+xml;base64,") == 2
    assert "| left behind | nothing |" in report
    assert "sig=" not in report + str(artifacts["topn-output"].data)
    assert artifacts["topn-progress"].data == 100


async def test_a_second_nightly_run_at_the_same_time_is_refused_not_queued(stack_up: LocalStack) -> None:
    slow = json.dumps({"inputs": ["az://topn-inputs/nightly/"], "delay_seconds": 4})
    first = stack_up.prefect("deployment", "run", "topn/nightly", "--param", f"parameters={slow}")
    assert first.returncode == 0, first.stderr
    async with PrefectClient(stack_up.api) as api:

        async def running() -> bool:
            state = (await last_run(api)).state
            return bool(state and state.is_running())

        await until(running, "the first run is running")
        first_id = (await last_run(api)).id
        second = stack_up.prefect("deployment", "run", "topn/nightly", "--watch")
        assert second.returncode == 1
        assert "Cancelled" in second.stdout

        async def over() -> bool:
            state = (await api.read_flow_run(first_id)).state
            return bool(state and state.is_completed())

        await until(over, "the first run, undisturbed, has completed")


async def test_parameters_out_of_range_are_refused_before_a_run_exists(stack_up: LocalStack) -> None:
    async with PrefectClient(stack_up.api) as api:
        before = {run.id for run in await api.read_flow_runs()}
        for parameters in ({"words": 0}, {"wrods": 3}, {"run_key": "latest"}):
            done = stack_up.prefect(
                "deployment", "run", "topn/adhoc", "--param", f"parameters={json.dumps(parameters)}"
            )
            assert done.returncode != 0, done.stdout
            assert next(iter(parameters)) in done.stdout + done.stderr
        assert {run.id for run in await api.read_flow_runs()} == before


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"inputs": ["az://not-there/x"]}, "az://not-there/x: there is no container not-there"),
        ({"credentials": "nobodys"}, "credentials: there is no AzureBatchCredentials block named nobodys"),
    ],
)
async def test_what_is_not_there_fails_the_run_with_one_sentence(
    stack_up: LocalStack, parameters: dict[str, object], sentence: str
) -> None:
    given = f"parameters={json.dumps(parameters)}"
    done = stack_up.prefect("deployment", "run", "topn/adhoc", "--watch", "--param", given)
    assert done.returncode == 1, done.stdout
    async with PrefectClient(stack_up.api) as api:
        run = await last_run(api)
    assert run.state is not None
    assert run.state.is_failed()
    assert sentence in str(run.state.message)


async def test_a_retry_of_a_failed_run_counts_the_file_that_failed_and_no_other(
    stack_up: LocalStack, tmp_path: Path
) -> None:
    (tmp_path / "good.txt").write_text("one two two")
    text = gzip.compress(b"three " * 3)
    (tmp_path / "cut.txt.gz").write_bytes(text[:-9])
    given = {"inputs": [f"{tmp_path}/*"], "run_key": "retried", "outputs": str(tmp_path / "outputs")}
    command = ["deployment", "run", "topn/adhoc", "--watch", "--param", f"parameters={json.dumps(given)}"]
    assert stack_up.prefect(*command).returncode == 1
    (tmp_path / "cut.txt.gz").write_bytes(text)
    async with PrefectClient(stack_up.api) as api:
        flow_run = (await last_run(api)).id
        retried = stack_up.prefect("flow-run", "retry", str(flow_run))
        assert retried.returncode == 0, retried.stdout + retried.stderr

        async def completed() -> bool:
            run = await api.read_flow_run(flow_run)
            return bool(run.run_count == 2 and run.state and run.state.is_completed())

        await until(completed, "the retry has completed")
        results = json.loads(str((await artifacts_of(api, flow_run))["topn-results"].data))
        logs = await api.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run])))
    assert {row["file"]: row["top words"] for row in results} == {
        "good.txt": "two (2), one (1)",
        "cut.txt.gz": "three (3)",
        "ALL FILES": "three (3), two (2), one (1)",
    }
    added = [log.message for log in sorted(logs, key=lambda log: log.timestamp) if log.message.startswith("Adding")]
    assert added == [f"Adding {number} tasks to job [topn-retried-g1]..." for number in (2, 1)]


def test_make_blocks_registers_the_credentials_block(stack_up: LocalStack) -> None:
    command = ["make", "-o", ".venv/.ready", "blocks"]  # what the tests run in is installed
    done = subprocess.run(
        command, cwd=ROOT, env=stack_up.environment, capture_output=True, encoding="utf-8", timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    types = stack_up.prefect("block", "type", "ls")
    assert "azure-batch-credentials" in types.stdout


def test_a_second_stack_and_a_port_in_use_are_refused(stack_up: LocalStack, tmp_path: Path) -> None:
    environment = {**os.environ, "TOPN_STATE": str(stack_up.state)}
    second = subprocess.run(
        local("up"), cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=PATIENCE
    )
    assert second.returncode == 1
    assert f"The stack runs already (process {stack_up.process.pid})" in second.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        elsewhere = start_stack(tmp_path, [f"--prefect-port={port}", "--azurite-port=0", "--batch-port=0"])
        assert elsewhere.process.wait(timeout=PATIENCE) == 1
    assert f"Port {port} of Prefect's server is in use: choose another with PREFECT_PORT=..." in elsewhere.said
    assert elsewhere.processes() == []


def endpoints_of(stack: LocalStack) -> dict[str, str]:
    """The environment variables that point at its emulator and Azurite."""
    batch, storage = (re.search(rf"{name} +(http\S+)", stack.said) for name in ("emulator", "azurite"))
    assert batch and storage
    return {
        "AZURE_BATCH_ENDPOINT": batch[1],
        "AZURE_BATCH_ACCOUNT": EMULATOR_ACCOUNT,
        "AZURE_BATCH_ACCESS_KEY": EMULATOR_KEY,
        "AZURE_STORAGE_ACCOUNT": AZURITE_ACCOUNT,
        "AZURE_STORAGE_KEY": AZURITE_KEY,
        "AZURE_STORAGE_BLOB_ENDPOINT": f"{storage[1]}/{AZURITE_ACCOUNT}",
    }


async def start_counting(stack: LocalStack, api: PrefectClient, clients: Clients, run_key: str) -> UUID:
    """Start a long run under the worker and wait until its task runs; the flow run."""
    # So many words as no other test asks for: results are kept.
    words = 1000 + len(run_key)
    slow = json.dumps(
        {"inputs": ["az://topn-inputs/nightly/"], "delay_seconds": 600, "run_key": run_key, "words": words}
    )
    started = stack.prefect("deployment", "run", "topn/adhoc", "--param", f"parameters={slow}")
    assert started.returncode == 0, started.stderr
    job_id = f"topn-{run_key}-g1"

    async def counting() -> bool:
        jobs = [job.id async for job in clients.batch.list_jobs()]
        return job_id in jobs and (await clients.batch.get_job_task_counts(job_id)).task_counts.running > 0

    await until(counting, "the run counts")
    return (await last_run(api)).id


async def nodes_released(clients: Clients, run_key: str) -> bool:
    """Whether the run has no job and no pool any more, or Batch is deleting them."""
    pools = [pool async for pool in clients.batch.list_pools() if run_key in pool.id]
    jobs = [job async for job in clients.batch.list_jobs() if run_key in job.id]
    return all(one.state == "deleting" for one in [*pools, *jobs])


async def containers_of(clients: Clients, run_key: str) -> list[str]:
    return [one.name async for one in clients.blobs.list_containers(name_starts_with=f"topn-{run_key}-")]


async def test_cancelled_in_the_ui_a_run_ends_within_half_a_minute_with_all_released(stack_up: LocalStack) -> None:
    settings = Settings.from_environment(endpoints_of(stack_up))
    async with PrefectClient(stack_up.api) as api, open_clients(settings) as clients:
        flow_run = await start_counting(stack_up, api, clients, "cancelled")
        await api.set_flow_run_state(flow_run, Cancelling())

        async def cancelled() -> bool:
            state = (await api.read_flow_run(flow_run)).state
            return bool(state and state.is_cancelled())

        await until(cancelled, "the run is cancelled", 30)
        await until(lambda: nodes_released(clients, "cancelled"), "job and pool are released", 30)
        assert await containers_of(clients, "cancelled") == []


async def test_killed_under_a_worker_a_run_has_crashed_its_nodes_go_and_its_containers_stay(
    stack_up: LocalStack,
) -> None:
    settings = Settings.from_environment(endpoints_of(stack_up))
    async with PrefectClient(stack_up.api) as api, open_clients(settings) as clients:
        flow_run = await start_counting(stack_up, api, clients, "crashed")
        (process,) = [
            one
            for one in psutil.Process(stack_up.process.pid).children(recursive=True)
            if "prefect.engine" in " ".join(one.cmdline()) or "prefect.flow_engine" in " ".join(one.cmdline())
        ]
        process.kill()

        async def crashed() -> bool:
            state = (await api.read_flow_run(flow_run)).state
            return bool(state and state.is_crashed())

        await until(crashed, "the run is marked as crashed", 60)
        await until(lambda: nodes_released(clients, "crashed"), "job and pool are released", 30)
        assert len(await containers_of(clients, "crashed")) == 3


async def test_a_run_that_vanished_with_nobody_watching_is_marked_as_crashed(stack_up: LocalStack) -> None:
    environment = {**os.environ, **endpoints_of(stack_up), "PREFECT_API_URL": stack_up.api}
    environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = "30"
    settings = Settings.from_environment(environment)
    async with PrefectClient(stack_up.api) as api, open_clients(settings) as clients:
        assert [one.name for one in await api.read_automations_by_name("topn-vanished")] == ["topn-vanished"]
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flows.topn", str(SAMPLES[0]), "--delay-seconds", "600", "--run-key", "vanished"),
            *("--words", "1001"),
            *("--outputs", str(stack_up.state / "outputs")),
            cwd=ROOT,
            env=environment,
        )

        async def counting() -> bool:
            jobs = [job.id async for job in clients.batch.list_jobs()]
            return (
                "topn-vanished-g1" in jobs
                and (await clients.batch.get_job_task_counts("topn-vanished-g1")).task_counts.running > 0
            )

        await until(counting, "the run counts")
        flow_run = (await last_run(api)).id
        run.kill()
        await run.wait()

        async def crashed() -> bool:
            state = (await api.read_flow_run(flow_run)).state
            return bool(state and state.is_crashed())

        await until(crashed, "the automation marks the run as crashed", 150)


async def test_a_dead_service_is_reported_and_all_stops_its_runs_too_and_the_next_start_has_the_history(
    stack_up: LocalStack,
) -> None:
    """The last test of this module: it stops the stack, and starts it again with the same state."""
    settings = Settings.from_environment(endpoints_of(stack_up))
    async with PrefectClient(stack_up.api) as api, open_clients(settings) as clients:
        await start_counting(stack_up, api, clients, "orphaned")
    record = json.loads((stack_up.state / "stack.json").read_text("utf-8"))
    worker = record["services"][-1][0]
    os.kill(worker, signal.SIGKILL)
    assert stack_up.process.wait(timeout=PATIENCE) == 1
    assert "worker ended with status -9; its last lines:" in stack_up.said
    assert stack_up.processes() == []
    assert "DELETE /pools/topn-orphaned-g1 " in (stack_up.state / "logs" / "emulator.log").read_text("utf-8")
    again = start_stack(stack_up.state)
    stack_up.process, stack_up.terminal = again.process, again.terminal
    stack_up.wait_until_up()
    async with PrefectClient(stack_up.api) as api:
        states = [run.state for run in await api.read_flow_runs()]
    assert any(state and state.is_completed() for state in states)
    environment = {**os.environ, "TOPN_STATE": str(stack_up.state)}
    await asyncio.to_thread(subprocess.run, local("down"), cwd=ROOT, env=environment, check=True, timeout=PATIENCE)
    assert stack_up.process.wait(timeout=PATIENCE) == 0
    assert stack_up.processes() == []
