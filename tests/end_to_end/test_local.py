"""The main job as a user starts it: processes of their own, signals, exit statuses, nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.clients import Clients
from tasks.run import Run
from tests.conftest import naive_top, until
from tests.local_stack import ROOT, inputs_on_nodes


def start(*command: str, environment: dict[str, str], cwd: Path = ROOT) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=cwd,
        env={**os.environ, **environment},
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


def test_make_runs_main_job_ends_with_a_table_and_leaves_nothing_running(prefect_api: str, tmp_path: Path) -> None:
    mark = os.getpid()
    environment = {"PREFECT_API_URL": prefect_api, "TOPN_TEST_SESSION": str(mark)}
    flow = start(
        *("deployments.local", "run", "--words", "2", "--outputs", str(tmp_path), "--", "data/taskdata1.txt"),
        environment=environment,
    )
    said, _ = flow.communicate(timeout=150)
    assert flow.returncode == 0, said
    in_order = ["Run start", "Creating pool [", "Adding 1 tasks to job [", "Monitoring all tasks", "Deleting job ["]
    places = [said.index(message) for message in [*in_order, "Deleting container [", "│ taskdata1.txt", "Elapsed"]]
    assert places == sorted(places), said
    top = naive_top((ROOT / "data/taskdata1.txt").read_bytes(), 2)
    assert ", ".join(f"{word} {count}" for word, count in top) in said
    saved = json.loads((tmp_path / "latest/results.json").read_text("utf-8"))
    assert saved["files"][0]["words"] == [list(pair) for pair in top]
    assert list(processes_of(mark)) == []


def test_bad_input_ends_the_stack_with_status_2(prefect_api: str) -> None:
    flow = start("deployments.local", "run", "--", "missing.txt", environment={"PREFECT_API_URL": prefect_api})
    said, _ = flow.communicate(timeout=60)
    assert (flow.returncode, said) == (2, "topn: missing.txt: there is no such file.\n")


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
    said, _ = flow.communicate(timeout=60)
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

    await until(counting, "the task is running", deadline_seconds=120)


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
    said, _ = flow.communicate(timeout=60)
    assert flow.returncode == status, said
    assert "Deleting pool [" in said
    assert "Nothing is left behind" in said
    await nothing_left(clients, run)


async def test_ctrl_c_twice_at_a_terminal_with_prefects_own_server_still_releases_all(
    clients: Clients, environment: dict[str, str], tmp_path: Path
) -> None:
    run = Run("interrupted-twice", "")
    flow = start(
        *("flows.topn", "data/taskdata1.txt", "--delay-seconds", "600", "--run-key", run.key),
        *("--outputs", str(tmp_path)),
        environment={**environment, "PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path / "prefect")},
    )
    await started_counting(flow, clients, run)
    os.killpg(flow.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the whole process group

    async def releasing() -> bool:
        job = [job async for job in clients.batch.list_jobs()]
        return not job or job[0].state == "deleting"

    await until(releasing, "the release has begun")
    os.killpg(flow.pid, signal.SIGINT)
    said, _ = flow.communicate(timeout=60)
    assert flow.returncode == 130, said
    assert "Nothing is left behind" in said
    assert str(ROOT / "flows") not in said, "a traceback of ours"
    await nothing_left(clients, run)
