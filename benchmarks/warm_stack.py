"""A stack of a measurement's own - emulator, Azurite, Prefect's server - and what a process on it costs."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from deployments.services import (
    ROOT,
    Service,
    azurite_ready,
    emulator_ready,
    endpoints,
    server_environment,
    start,
    start_azurite,
    start_emulator,
)

# A request in the emulator's log: "TIME ACCOUNT METHOD PATH STATUS N ms"; in Azurite's, the URL has a SAS if a node's.
_BATCH_CALL = re.compile(r"^\S+ \S+ (?P<account>[a-z0-9]+) (?P<method>[A-Z]+) (?P<path>\S+) \d+ \d+ ms$", re.MULTILINE)
_STORAGE_CALL = re.compile(r'"(?P<method>[A-Z]+) (?P<url>\S+) HTTP/')
_RECORDED_SECONDS = 120  # until Prefect's server must have recorded all task runs


@dataclass(frozen=True)
class Cost:
    """What one process took, from its start to its end."""

    seconds: float
    cpu_seconds: float  # what a busy machine does not change
    peak_mib: float  # resident memory
    batch_calls: Counter[str]
    storage_calls: int  # the process's own
    node_storage_calls: int  # the Batch tasks', which have a SAS


@dataclass(frozen=True)
class WarmStack:
    """Services that run, and their logs."""

    folder: Path
    emulator: Service
    azurite: Service
    server: Service
    prefect_api: str
    environment: Mapping[str, str] = field(repr=False)

    def run(self, name: str, module: str, *arguments: str | Path, profile: Path | None = None) -> Cost:
        """Run a module as a process with a Batch account of its own. Raises RuntimeError when it fails."""
        account = f"bench{name}"
        environment = {**self.environment, "AZURE_BATCH_ACCOUNT": account}
        profiled = ["-m", "cProfile", "-o", profile] if profile else []
        command = [sys.executable, *map(str, profiled), "-m", module, *map(str, arguments)]
        marks = {log: log.stat().st_size for log in (self.emulator.log, self.azurite.log)}
        said = self.folder / f"{name}.log"
        with said.open("wb") as stream:
            began = time.perf_counter()
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            lines = said.read_text("utf-8", "replace").splitlines()[-15:]
            raise RuntimeError(f"{module} ended with status {process.returncode}:\n" + "\n".join(lines))
        batch, storage = (_since(log, mark) for log, mark in marks.items())
        urls = [call["url"] for call in _STORAGE_CALL.finditer(storage)]
        by_nodes = sum("sig=" in url for url in urls)
        return Cost(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
            Counter(_kind(call) for call in _BATCH_CALL.finditer(batch) if call["account"] == account),
            len(urls) - by_nodes,
            by_nodes,
        )

    def flow_run(self, flow: str = "topn") -> str:
        """The id of the newest run of a flow."""
        wanted = {"sort": "START_TIME_DESC", "limit": 1, "flows": {"name": {"any_": [flow]}}}
        answer = httpx.post(f"{self.prefect_api}/flow_runs/filter", json=wanted, timeout=60)
        return answer.raise_for_status().json()[0]["id"]

    def wait_until_recorded(self, flow_run_id: str, number: int) -> float:
        """Wait until Prefect's server has so many ended task runs of files; the seconds that it took.

        Raises RuntimeError when it never does.
        """
        began, found = time.perf_counter(), 0
        wanted = {
            "flow_runs": {"id": {"any_": [flow_run_id]}},
            "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        }
        while time.perf_counter() - began < _RECORDED_SECONDS:
            found = _count_of_files(self.prefect_api, wanted)
            if found == number:
                return time.perf_counter() - began
            time.sleep(0.5)
        raise RuntimeError(f"Prefect's server has recorded {found} of {number} task runs of files")


def _count_of_files(api: str, wanted: Mapping[str, object]) -> int:
    """The task runs of files, or chunks of files, among these: Prefect keys them by function."""
    found, page = 0, 200
    for offset in range(0, 100_000, page):
        answer = httpx.post(f"{api}/task_runs/filter", json={**wanted, "limit": page, "offset": offset}, timeout=60)
        runs = answer.raise_for_status().json()
        found += sum(run["task_key"].startswith("count_chunk-") for run in runs)
        if len(runs) < page:
            break
    return found


def _since(log: Path, mark: int) -> str:
    with log.open("rb") as stream:
        stream.seek(mark)
        return stream.read().decode("utf-8", "replace")


def _kind(call: re.Match[str]) -> str:
    if call["path"].endswith("/addtaskcollection"):
        return "add"
    if call["path"].endswith("/taskcounts"):
        return "counts"
    if call["method"] == "GET" and call["path"].endswith("/tasks"):
        return "list"
    return "other"


@contextlib.contextmanager
def warm_stack(folder: Path, *emulator_options: str) -> Iterator[WarmStack]:
    """Start the services, with all their state below a folder; stop them when the block ends."""
    with contextlib.ExitStack() as stack:

        def kept(service: Service) -> Service:
            stack.callback(service.stop)
            return service

        azurite = kept(start_azurite(folder, access_log=True))
        emulator = kept(start_emulator(folder, folder / "nodes", 0, *emulator_options))
        port = _free_port()
        api = f"http://127.0.0.1:{port}/api"
        plain = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        server = kept(
            start(
                "server",
                [*command, "--log-level", "WARNING"],
                folder,
                server_environment({**plain, "PREFECT_HOME": str(folder / "server")}, port),
            )
        )
        environment = {
            **plain,
            **endpoints(emulator_ready(emulator), azurite_ready(azurite)),
            "PREFECT_API_URL": api,
            "PREFECT_HOME": str(folder / "client"),
        }
        server.wait_until(server.answers(f"{api}/health"))
        yield WarmStack(folder, emulator, azurite, server, api, environment)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
