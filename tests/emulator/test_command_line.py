"""Starting and stopping the emulator as a program."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
from azure.batch.models import BatchTaskCreateOptions

from tests.emulator.conftest import REPOSITORY, Account, start_emulator, until


def _refused(*options: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "emulator", *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert found.returncode == 2
    assert "Traceback" not in found.stderr
    return found.stderr


def test_a_port_in_use_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert _refused("--port", port, "--root", str(tmp_path)) == (
            f"emulator: cannot listen on 127.0.0.1:{port}: Address already in use\n"
        )


def test_an_unusable_root_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = _refused("--port", "0", "--root", str(tmp_path / "file"))
    assert message.count("\n") == 1
    assert str(tmp_path / "file") in message


def test_a_root_in_use_by_another_emulator_is_refused(tmp_path: Path) -> None:
    emulator = start_emulator(tmp_path / "root")
    try:
        assert "another emulator uses" in _refused("--port", "0", "--root", str(tmp_path / "root"))
    finally:
        emulator.process.send_signal(signal.SIGTERM)
        assert emulator.process.wait(5) == 0
        assert emulator.process.stdout is not None
        emulator.process.stdout.close()


def test_it_answers_health_and_stops_with_every_task_process_gone(tmp_path: Path) -> None:
    emulator = start_emulator(tmp_path / "root", "--speed", "20")
    assert httpx.get(f"{emulator.url}/_emulator/health").json() == {"status": "ok"}
    with emulator.client("devbatchaccount") as client:
        account = Account("devbatchaccount", client)
        account.pool()
        account.job()
        pids = tmp_path / "pids"
        # One process in the group, one that left it.
        line = f"/bin/bash -c 'echo $$ >> {pids}; setsid sleep 1000 & echo $! >> {pids}; sleep 1000'"
        client.create_task("job", BatchTaskCreateOptions(id="sleeps", command_line=line))
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "the task runs")
    emulator.process.send_signal(signal.SIGTERM)
    assert emulator.process.wait(5) == 0
    assert emulator.process.stdout is not None
    emulator.process.stdout.close()
    for pid in pids.read_text().split():
        assert not Path(f"/proc/{pid}").exists()
