"""Starting and stopping the emulator as a program."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from azure.batch import BatchClient
from azure.batch.models import BatchJobCreateOptions, BatchPoolInfo, BatchTaskCreateOptions
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.rest import HttpRequest

from tests.emulator.conftest import KEY, REPOSITORY, Account, start_emulator, stop, until
from tests.patience import PATIENCE


def _refused(*options: str) -> str:
    found = subprocess.run(
        [sys.executable, "-m", "emulator", *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
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


def test_a_root_with_somebody_elses_files_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "nodes" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("important")
    assert "is not an emulator's" in _refused("--port", "0", "--root", str(tmp_path))
    assert kept.read_text() == "important"


@pytest.mark.parametrize("name", ["Mine", "ab", "../x", "a" * 25])
def test_an_account_of_an_impossible_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "--account must be 3 to 24" in _refused("--port", "0", "--root", str(tmp_path / "root"), "--account", name)


def test_a_root_in_use_by_another_emulator_is_refused(tmp_path: Path) -> None:
    emulator = start_emulator(tmp_path / "root")
    try:
        assert "another emulator uses" in _refused("--port", "0", "--root", str(tmp_path / "root"))
    finally:
        emulator.process.send_signal(signal.SIGTERM)
        assert emulator.process.wait(PATIENCE) == 0
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
    assert emulator.process.wait(PATIENCE) == 0
    assert emulator.process.stdout is not None
    emulator.process.stdout.close()
    for pid in pids.read_text().split():
        assert not Path(f"/proc/{pid}").exists()


class _Token:
    """A credential whose token means nothing: the emulator takes any, over TLS."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        return AccessToken("anything", int(time.time()) + 3600)


def test_bearer_tokens_are_accepted_over_tls(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "emulator.certificate", str(tmp_path / "tls")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert made.stdout.startswith("python -m emulator --cert ")
    certificate, key = tmp_path / "tls/certificate.pem", tmp_path / "tls/key.pem"
    assert key.stat().st_mode & 0o077 == 0
    emulator = start_emulator(tmp_path / "root", "--cert", str(certificate), "--key", str(key))
    try:
        assert emulator.url.startswith("https://127.0.0.1:")
        with BatchClient(emulator.url, _Token(), connection_verify=str(certificate)) as client:
            client.create_job(BatchJobCreateOptions(id="job", pool_info=BatchPoolInfo(pool_id="pool")))
        with BatchClient(
            emulator.url, AzureNamedKeyCredential("devbatchaccount", KEY), connection_verify=str(certificate)
        ) as client:
            assert [job.id for job in client.list_jobs()] == ["job"]
            next_link = client.send_request(HttpRequest("GET", "/jobs?api-version=2025-06-01")).json()
            assert next_link["odata.metadata"].startswith("https://127.0.0.1:")
    finally:
        assert stop(emulator) == 0


@pytest.mark.parametrize("place", [".", "link"])
def test_what_an_emulator_that_was_killed_left_running_is_ended_by_the_next(tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    root = tmp_path / place / "root"
    emulator = start_emulator(root, "--speed", "20")
    with emulator.client("devbatchaccount") as client:
        account = Account("devbatchaccount", client)
        account.pool()
        account.job()
        pids = tmp_path / "pids"
        escaped = "setsid env -i sleep 1000 &"  # hides where it comes from, but for its directory
        line = f"/bin/bash -c 'echo $$ >> {pids}; {escaped} echo $! >> {pids}; sleep 1000'"
        client.create_task("job", BatchTaskCreateOptions(id="sleeps", command_line=line))
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "the task runs")
    emulator.process.kill()
    emulator.process.wait(PATIENCE)
    assert emulator.process.stdout is not None
    emulator.process.stdout.close()
    running = [Path(f"/proc/{pid}") for pid in pids.read_text().split()]
    assert all(path.exists() for path in running)
    second = start_emulator(root)
    try:
        assert "ended 2 processes" in second.log.read_text() or "ended 3 processes" in second.log.read_text()
        until(lambda: not any(_lives(path) for path in running), "the processes are gone")
        assert list((tmp_path / "root/nodes").iterdir()) == []
    finally:
        assert stop(second) == 0


def _lives(path: Path) -> bool:
    """Whether a process runs: one that nobody has waited for yet does not."""
    try:
        return ") Z " not in (path / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_root_among_another_emulators_nodes_is_refused(tmp_path: Path) -> None:
    emulator = start_emulator(tmp_path / "root")
    try:
        inside = tmp_path / "root" / "nodes" / "account" / "mine"
        assert "among the nodes of the emulator" in _refused("--port", "0", "--root", str(inside))
    finally:
        assert stop(emulator) == 0
