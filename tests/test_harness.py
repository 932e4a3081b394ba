"""What the tests themselves stand on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.local_stack import ROOT, inputs_on_nodes
from tests.patience import PATIENCE


def test_inputs_are_found_though_nodes_go_away_meanwhile(tmp_path: Path) -> None:
    for node in ("first", "second"):
        working = tmp_path / node / "workitems/job/job-1/task/wd"
        working.mkdir(parents=True)
        (working / "input.txt").touch()
    found = inputs_on_nodes(tmp_path)
    one = next(found)
    for node in ("first", "second"):
        shutil.rmtree(tmp_path / node)
    assert one.name == "input.txt"
    assert list(found) == []


def test_what_the_tests_start_can_be_interrupted_though_a_shell_let_them_ignore_it() -> None:
    program = "import tests.conftest, subprocess; subprocess.run(['grep', 'SigIgn', '/proc/self/status'], check=True)"
    command = ["/bin/sh", "-c", 'trap "" INT; exec "$0" -c "$1"', sys.executable, program]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    ignored = int(said.split()[1], 16)
    assert ignored & 1 << 1 == 0, said  # SIGINT is signal 2: the second bit
