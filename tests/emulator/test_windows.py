"""Nodes that stand in for Windows: what their shell knows, and that it says what it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emulator import windows_shell
from tests.emulator.conftest import Account

WINDOWS = {
    "imageReference": {
        "publisher": "microsoftwindowsserver",
        "offer": "windowsserver",
        "sku": "2022-datacenter-core",
    },
    "nodeAgentSKUId": "batch.node.windows amd64",
}


def shell(line: str, directory: Path) -> tuple[int, list[str], str]:
    """The exit code, the lines of output and the errors of a command line."""
    command = [sys.executable, "-I", "-S", windows_shell.__file__, line]
    done = subprocess.run(command, cwd=directory, env={"COLOUR": "red"}, capture_output=True, check=False)
    return done.returncode, done.stdout.decode().split("\r\n")[:-1], done.stderr.decode()


@pytest.mark.parametrize(
    ("line", "code", "output"),
    [
        ("cmd /c echo hello %colour% %ABSENT%", 0, ["hello red %ABSENT%"]),
        ('cmd.exe /C "echo a>x 1.txt&& type x"', 0, ["a 1.txt"]),
        ('cmd /c "echo one>out1.txt & echo two>> out1.txt & type out1.txt"', 0, ["one ", "two "]),
        ("cmd /c echo 12>n.txt & type n.txt", 0, ["12 "]),
        ("cmd /c echo error 1>&2", 0, []),
        ("cmd /c echo gone>nul", 0, []),
        ('cmd /c "echo q>"a b.txt"& copy /y "a b.txt" c.txt & type c.txt"', 0, ["        1 file(s) copied.", "q"]),
        ("cmd /c mkdir a\\b & echo x>a\\b\\c.txt & cd a & type b/c.txt", 0, ["x "]),
        ("cmd /c set NEW=7& set new", 0, ["NEW=7"]),
        ("cmd /c set NEW=7& set NEW=& set NEW", 1, []),
        ("cmd /c exit /b 3 & echo never", 3, []),
        ("cmd /c type absent && echo never", 1, []),
        ("cmd /c type absent 2>nul || echo otherwise", 0, ["otherwise"]),
        ('cmd /c echo 1 ^& 2 "a & b"', 0, ['1 & 2 "a & b"']),
        ("CMD /s /c echo.", 0, [""]),
    ],
)
def test_the_shell_knows(tmp_path: Path, line: str, code: int, output: list[str]) -> None:
    found, lines, _ = shell(line, tmp_path)
    assert (found, lines) == (code, output)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("cmd /c powershell -c 1", "'powershell'"),
        ("cmd /c echo a | find", "'|'"),
        ("cmd /c (echo a)", "'('"),
        ("cmd /c if exist x echo y", "'if'"),
        ("cmd /c set /a 1+1", "set /a"),
        ("python x.py", "cmd /c"),
    ],
)
def test_the_shell_says_what_it_does_not_know(tmp_path: Path, line: str, named: str) -> None:
    code, lines, errors = shell(line, tmp_path)
    assert (code, lines) == (1, [])
    assert named in errors


def test_a_job_runs_on_windows_nodes(account: Account) -> None:
    account.pool(
        virtualMachineConfiguration=WINDOWS,
        startTask={
            "commandLine": "cmd /c echo staged>%AZ_BATCH_NODE_SHARED_DIR%\\s.txt",
            "waitForSuccess": True,
        },
    )
    account.job(
        jobPreparationTask={"commandLine": "cmd /c echo prepared>%AZ_BATCH_JOB_PREP_WORKING_DIR%\\p.txt"},
        commonEnvironmentSettings=[{"name": "COLOUR", "value": "red"}],
    )
    account.task(
        "good",
        "cmd /c type %AZ_BATCH_NODE_SHARED_DIR%\\s.txt & type %AZ_BATCH_JOB_PREP_WORKING_DIR%\\p.txt & echo %COLOUR%",
    )
    account.task("bad", "cmd /c python x.py")
    assert account.completed("good").execution_info.exit_code == 0
    assert account.text("good").split() == ["staged", "prepared", "red"]
    assert account.completed("bad").execution_info.exit_code == 1
    assert "'python' is not known" in account.text("bad", "stderr.txt")
