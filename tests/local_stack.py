"""The local stack as a user starts it, `make up`'s own command, on free ports and with a state of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
PREFECT = Path(sys.executable).parent / "prefect"
DEADLINE_SECONDS = 170


@dataclass
class LocalStack:
    """A stack that is up, and what its terminal shows."""

    process: subprocess.Popen[bytes]
    terminal: Path
    state: Path
    api: str = ""

    @property
    def said(self) -> str:
        """All that its terminal shows until now."""
        return self.terminal.read_text("utf-8", "replace")

    @property
    def ui(self) -> str:
        """The address of Prefect's UI."""
        return self.api.removesuffix("/api")

    @property
    def environment(self) -> dict[str, str]:
        """What a second terminal sets."""
        return {**os.environ, "PREFECT_API_URL": self.api, "PREFECT_HOME": str(self.state / "second-terminal")}

    def prefect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `prefect` command in a second terminal, in another folder."""
        command = [PREFECT, *arguments]
        return subprocess.run(
            command,
            cwd=self.state,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            timeout=DEADLINE_SECONDS,
        )

    def wait_until_up(self) -> None:
        """Wait until it says what to type next."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (typed := re.search(r"PREFECT_API_URL=(\S+) \.venv/bin/prefect deployment run", self.said)):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.2)
        self.api = typed[1]

    def processes(self) -> list[str]:
        """The command lines of all that belongs to it: they carry its state's name in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TOPN_STATE") == str(self.state) and process.pid != os.getpid():
                    found.append(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


def inputs_on_nodes(nodes: Path) -> Iterator[Path]:
    """The input files of the tasks whose nodes' folders are somewhere below this one.

    Tasks and nodes come and go meanwhile: `os.walk` passes over what has gone, where `Path.glob` of Python 3.11 raises.
    """
    for folder, _, names in os.walk(nodes):
        working = Path(folder)
        if working.name == "wd" and working.parent.parent.name == "job-1" and "input.txt" in names:
            yield working / "input.txt"


def local(*arguments: str) -> list[str]:
    """The command line of deployments.local."""
    return [sys.executable, "-m", "deployments.local", *arguments]


def start_stack(
    state: Path,
    options: Sequence[str] = ("--prefect-port=0", "--azurite-port=0", "--batch-port=0"),
    terminal: int | None = None,
) -> LocalStack:
    """Start a stack; its state is kept in a folder, and what it says, unless a terminal is given."""
    said = state / "terminal.txt"
    with said.open("wb") as stream:
        shown = stream if terminal is None else terminal
        process = subprocess.Popen(
            local("up", *options),
            cwd=ROOT,
            env={**os.environ, "TOPN_STATE": str(state)},
            stdin=subprocess.DEVNULL,
            stdout=shown,
            stderr=shown,
            start_new_session=True,
        )
    return LocalStack(process, said, state)
