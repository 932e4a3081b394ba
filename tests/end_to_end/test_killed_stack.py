"""What is left when the stack's supervisor was killed, or its terminal closed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

from tests.conftest import until
from tests.local_stack import ROOT, local, start_stack
from tests.patience import PATIENCE


async def test_what_a_killed_stack_left_is_released_and_a_closed_terminal_stops_all(tmp_path: Path) -> None:
    killed = start_stack(tmp_path)
    killed.wait_until_up()
    slow = json.dumps({"delay_seconds": 120})
    assert killed.prefect("deployment", "run", "topn/adhoc", "--param", f"parameters={slow}").returncode == 0
    worker = tmp_path / "logs/worker.log"

    async def counting() -> bool:
        return "1 running" in worker.read_text("utf-8")

    await until(counting, "the run counts")
    killed.process.kill()
    killed.process.wait()
    environment = {**os.environ, "TOPN_STATE": str(tmp_path)}
    down = await asyncio.to_thread(subprocess.run, local("down"), cwd=ROOT, env=environment, timeout=PATIENCE)
    assert down.returncode == 0
    assert "Nothing is left behind" in worker.read_text("utf-8")
    assert killed.processes() == []

    ours, terminal = os.openpty()
    closed = start_stack(tmp_path, terminal=terminal)
    os.close(terminal)
    said = b""
    while b"Ctrl-C here" not in said:
        said += await asyncio.to_thread(os.read, ours, 4096)
    os.close(ours)
    closed.process.send_signal(signal.SIGHUP)  # the kernel sends it where the terminal is the controlling one
    assert await asyncio.to_thread(closed.process.wait, 60) == 0
    assert closed.processes() == []
