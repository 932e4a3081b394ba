"""`make azure-check`, of the emulator: what it would ask a real account."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

from tests.emulator.conftest import KEY, REPOSITORY, Emulator


def check(emulator: Emulator, account: str, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "AZURE_BATCH_ENDPOINT": emulator.url,
        "AZURE_BATCH_ACCOUNT": account,
        "AZURE_BATCH_ACCESS_KEY": KEY,
    }
    command = [sys.executable, "-m", "benchmarks.azure_check", "--output", str(output), *options]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, input="n\n", capture_output=True, text=True)


def test_the_answers_are_written_down_and_nothing_is_left(emulator: Emulator, tmp_path: Path) -> None:
    account = "check" + secrets.token_hex(4)
    with emulator.client(account) as client:
        done = check(emulator, account, tmp_path / "answers.json", "--yes")
        assert done.returncode == 0, done.stderr
        answers = json.loads((tmp_path / "answers.json").read_text())
        # Which of the two it is depends on whether the pool still resizes when it is asked.
        assert answers["formula_changed_at_once"] in (
            [503, "TooManyEnableAutoScaleRequests"],
            [409, "PoolBeingResized"],
        )
        assert answers["statuses_of_a_collection"] == ["ClientError", "Success"]
        assert answers["task_wallclock"] == {"exitCode": -9, "category": "usererror", "code": "TaskEnded"}
        assert answers["task_killed"] == {"exitCode": -9, "category": "usererror", "code": "FailureExitCode"}
        assert answers["task_missing"]["code"] == "CommandProgramNotFound"
        assert set(answers["directories"]) >= {"node_shared_dir", "task_working_dir"}
        assert answers["seconds_to_delete_pools"] >= 0
        assert list(client.list_pools()) == [] == list(client.list_jobs())


def test_it_asks_before_it_spends_money(emulator: Emulator, tmp_path: Path) -> None:
    account = "check" + secrets.token_hex(4)
    done = check(emulator, account, tmp_path / "answers.json")
    assert done.returncode == 1
    assert "a few cents" in done.stdout
    with emulator.client(account) as client:
        assert list(client.list_pools()) == []
    assert not (tmp_path / "answers.json").exists()
