"""The main job as a user starts it: processes of their own, signals, exit statuses, nothing left running."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.clients import Clients
from tasks.run import Run
from tests.conftest import naive_top, until
from tests.local_stack import ROOT, inputs_on_nodes
from tests.patience import PATIENCE


def start(*command: str, environment: dict[str, str], cwd: Path = ROOT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_of(session: int | str) -> Iterator[str]:
    """The command lines of all processes in a session, and in those that it started."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environment = (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"TOPN_TEST_SESSION={session}".encode() in environment and command:
                yield command


@pytest.fixture(scope="module")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Prefect's own server keeps its database: one for this module, as making it takes half a minute."""
    return tmp_path_factory.mktemp("prefect")


def task_run_states(prefect_home: Path, flow_run_key: str) -> dict[str, str]:
    """What is in the database of Prefect's own server of a run's task runs: their names and states."""
    query = (
        "select task_run.name, task_run.state_type from task_run join flow_run on flow_run.id = task_run.flow_run_id "
        "where flow_run.parameters like ?"
    )
    with contextlib.closing(sqlite3.connect(prefect_home / "prefect.db")) as database:
        return dict(database.execute(query, (f'%"{flow_run_key}"%',)).fetchall())


def test_make_runs_main_job_ends_with_a_table_and_leaves_nothing_running(prefect_home: Path, tmp_path: Path) -> None:
    mark = os.getpid()
    flow = start(
        *("deployments.local", "run", "--words", "2", "--outputs", str(tmp_path), "--run-key", "main-job"),
        *("--", "data/taskdata1.txt"),
        # An empty address of Prefect's API is none; to Prefect itself it is half an address.
        environment={
            "PREFECT_API_URL": "",
            "PREFECT_HOME": str(prefect_home),
            "TOPN_STATE": str(tmp_path / "state"),  # with no results that an earlier run of this test has kept
            "TOPN_TEST_SESSION": str(mark),
        },
    )
    said, _ = flow.communicate(timeout=PATIENCE)
    assert flow.returncode == 0, said
    in_order = ["Run start", "Creating pool [", "Adding 1 tasks to job [", "Monitoring all tasks", "Deleting job ["]
    places = [said.index(message) for message in [*in_order, "Deleting container [", "│ taskdata1.txt", "Elapsed"]]
    assert places == sorted(places), said
    assert "Traceback" not in said
    top = naive_top((ROOT / "data/taskdata1.txt").read_bytes(), 2)
    assert ", ".join(f"{word} {count}" for word, count in top) in said
    saved = json.loads((tmp_path / "latest/results.json").read_text("utf-8"))
    assert saved["files"][0]["words"] == [list(pair) for pair in top]
    assert list(processes_of(mark)) == []
    states = task_run_states(prefect_home, "main-job")
    assert set(states.values()) == {"COMPLETED"}, states
    assert {"taskdata1.txt"} < set(states)
    assert {"plan", "monitor", "results", "left behind", "report"} < {name.rsplit("-", 1)[0] for name in states}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.txt"], "topn: missing.txt: there is no such file.\n"),
        (["data/taskdata1.txt", "--word", "3"], "unrecognized arguments: --word"),
    ],
)
def test_bad_input_is_refused_before_any_service_starts(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "state").touch()  # services would fail to make this folder
    environment = {"TOPN_STATE": str(tmp_path / "state"), "PREFECT_HOME": str(tmp_path), "MPLCONFIGDIR": str(tmp_path)}
    flow = start("deployments.local", "run", *arguments, environment=environment)
    said, _ = flow.communicate(timeout=PATIENCE)
    assert flow.returncode == 2
    assert sentence in said
    assert "Traceback" not in said


def test_an_empty_address_of_prefects_api_is_refused() -> None:
    flow = start("flows.topn", "data/taskdata1.txt", "--credentials", "any", environment={"PREFECT_API_URL": ""})
    said, _ = flow.communicate(timeout=PATIENCE)
    assert flow.returncode == 2
    assert said == ("topn: PREFECT_API_URL is set, but empty: unset it for a server of the run's own, or name one.\n")


async def test_ctrl_c_in_make_run_releases_all_and_leaves_nothing_running(prefect_api: str, tmp_path: Path) -> None:
    mark = f"{os.getpid()}-interrupted"
    flow = start(
        *("deployments.local", "run", "data/taskdata1.txt", "--delay-seconds", "600", "--outputs", str(tmp_path)),
        environment={"PREFECT_API_URL": prefect_api, "TOPN_TEST_SESSION": mark, "TOPN_STATE": str(tmp_path)},
    )

    async def counting() -> bool:
        assert flow.poll() is None, flow.stdout and flow.stdout.read()
        return any(inputs_on_nodes(tmp_path))

    await until(counting, "the task is on its node")
    os.killpg(flow.pid, signal.SIGINT)
    said, _ = flow.communicate(timeout=PATIENCE)
    assert flow.returncode == 130, said
    assert "Nothing is left behind" in said
    assert list(processes_of(mark)) == []
    assert not [name for name in next(os.walk(tmp_path))[1] if name.startswith("run-")]


async def started_counting(flow: subprocess.Popen[str], clients: Clients, run: Run) -> None:
    """Wait until the run's task is running."""

    async def counting() -> bool:
        assert flow.poll() is None, flow.stdout and flow.stdout.read()
        jobs = [job.id async for job in clients.batch.list_jobs()]
        return run.job_id in jobs and (await clients.batch.get_job_task_counts(run.job_id)).task_counts.running == 1

    await until(counting, "the task is running")


async def nothing_left(clients: Clients, run: Run) -> None:
    """Wait until the run's job and pool are gone; its containers are."""

    async def released() -> bool:
        pools = [pool.id async for pool in clients.batch.list_pools()]
        jobs = [job.id async for job in clients.batch.list_jobs()]
        return not pools and not jobs

    await until(released, "job and pool are gone")
    for name in run.containers:
        assert not await clients.blobs.get_container_client(name).exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_interrupted_it_releases_what_it_made(
    clients: Clients, environment: dict[str, str], prefect_api: str, tmp_path: Path, number: int, status: int
) -> None:
    run = Run(f"interrupted-{number}", "")
    flow = start(
        *("flows.topn", "data/taskdata1.txt", "--delay-seconds", "600", "--run-key", run.key),
        *("--outputs", str(tmp_path)),
        environment={**environment, "PREFECT_API_URL": prefect_api},
    )
    await started_counting(flow, clients, run)
    flow.send_signal(number)
    said, _ = flow.communicate(timeout=PATIENCE)
    assert flow.returncode == status, said
    assert "Deleting pool [" in said
    assert "Nothing is left behind" in said
    await nothing_left(clients, run)


async def test_ctrl_c_twice_at_a_terminal_with_prefects_own_server_still_releases_all(
    clients: Clients, environment: dict[str, str], prefect_home: Path, tmp_path: Path
) -> None:
    run = Run("interrupted-twice", "")
    flow = start(
        *("flows.topn", "data/taskdata1.txt", "--delay-seconds", "600", "--run-key", run.key),
        *("--outputs", str(tmp_path)),
        environment={**environment, "PREFECT_HOME": str(prefect_home)},
    )
    await started_counting(flow, clients, run)
    os.killpg(flow.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the whole process group

    async def releasing() -> bool:
        job = [job async for job in clients.batch.list_jobs()]
        return not job or job[0].state == "deleting"

    await until(releasing, "the release has begun")
    os.killpg(flow.pid, signal.SIGINT)
    said, _ = flow.communicate(timeout=PATIENCE)
    assert flow.returncode == 130, said
    assert "Nothing is left behind" in said
    assert str(ROOT / "flows") not in said, "a traceback of ours"
    states = task_run_states(prefect_home, run.key)
    assert not {"PENDING", "RUNNING"} & set(states.values()), states
    await nothing_left(clients, run)
