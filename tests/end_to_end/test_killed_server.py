"""A run whose Prefect server is killed while it counts. Minutes, as Prefect is patient: a part of `make kill` only."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from benchmarks.warm_stack import WarmStack, warm_stack
from tasks.clients import Clients
from tests.conftest import until

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300


async def test_a_run_whose_server_is_killed_releases_all_that_it_made(
    clients: Clients, environment: dict[str, str], texts: Path, tmp_path: Path
) -> None:
    (texts / "a.txt").write_text("one two two")
    said = tmp_path / "said.txt"

    def start(stack: WarmStack) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flows.topn", f"{texts}/*", "--delay-seconds", "10", "--run-key", "orphan"]
        with said.open("wb") as stream:
            return subprocess.Popen(
                [*command, "--outputs", str(tmp_path / "outputs")],
                cwd=ROOT,
                env={**os.environ, **environment, "PREFECT_API_URL": stack.prefect_api},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def counting() -> bool:
        return "1 running" in said.read_text("utf-8")

    async def nothing_left() -> bool:
        pools = [pool.id async for pool in clients.batch.list_pools()]
        jobs = [job.id async for job in clients.batch.list_jobs()]
        containers = [one.name async for one in clients.blobs.list_containers(name_starts_with="topn-orphan-")]
        return not (pools or jobs or containers)

    folder = tmp_path / "stack"
    folder.mkdir()
    run = None
    try:
        with warm_stack(folder) as stack:
            run = await asyncio.to_thread(start, stack)
            await until(counting, "the run counts")
            os.kill(stack.server.process.pid, signal.SIGKILL)
            await until(nothing_left, "the run has released all that it made", PATIENCE_SECONDS)
    finally:
        if run is not None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
