"""The whole stack in one terminal: Prefect's server with its UI, Azurite, the emulator, a worker. `make up`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import psutil
from prefect.client.orchestration import PrefectClient
from rich.console import Console
from rich.text import Text

from deployments.automations import register
from deployments.services import (
    ROOT,
    STATE,
    STOP_TIMEOUT,
    Service,
    ServiceFailed,
    azurite_ready,
    check_port,
    emulator_ready,
    end,
    end_with_all,
    endpoints,
    server_environment,
    start,
    start_azurite,
    start_emulator,
)
from tasks.clients import open_clients
from tasks.settings import Settings

PREFECT = Path(sys.executable).parent / "prefect"
RECORD = STATE / "stack.json"  # what runs, for `make down` and `make nightly`

WORK_POOL = "local"
SAMPLES = "topn-inputs"  # the container that topn/nightly reads, prefix nightly/
HEARTBEAT = timedelta(seconds=30)  # of runs: Prefect's shortest, so that a vanished one is seen in a minute and a half
SHOWN = ("worker",)  # whose lines the terminal shows: the runs' own; the others' logs are in .local/logs/

out = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Ports:
    """Where the stack listens; 0 is any free port."""

    prefect: int = 4200
    azurite: int = 10000
    batch: int = 10100


@dataclass(frozen=True)
class Record:
    """A running stack, as `make down` finds it: (process id, its start in seconds since 1970), and services' marks."""

    supervisor: tuple[int, float]
    services: list[tuple[int, float, str]]
    prefect_api: str

    def save(self) -> None:
        """Write it, whole or not at all."""
        passing = RECORD.with_suffix(".part")
        passing.write_text(json.dumps(asdict(self)), encoding="utf-8")
        passing.replace(RECORD)


def read_record() -> Record | None:
    """The stack that runs, or did until it was killed."""
    try:
        return Record(**json.loads(RECORD.read_text("utf-8")))
    except FileNotFoundError:
        return None


def alive(identity: tuple[int, float]) -> psutil.Process | None:
    """The process of this id, unless it has ended and the id is another's now."""
    try:
        process = psutil.Process(identity[0])
        return process if abs(process.create_time() - identity[1]) < 1 else None
    except psutil.NoSuchProcess:
        return None


class Stack:
    """Starts the services, shows what the shown ones say, and stops all of them."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._services: list[Service] = []
        self._shown: dict[str, int] = {}  # bytes of each log
        self._logs = STATE / "logs"
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(STATE / "prefect"),
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(int(HEARTBEAT.total_seconds())),
        }
        self.environment.setdefault("MPLCONFIGDIR", str(STATE / "matplotlib"))
        self.prefect_api = ""

    def start(self) -> None:
        """Start everything and wait until it answers. Raises ServiceFailed."""
        self._check()
        self._logs.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        azurite = self._add(start_azurite(self._logs, self._ports.azurite, STATE / "azurite"))
        emulator = self._add(start_emulator(self._logs, STATE / "nodes", self._ports.batch))
        port = self._ports.prefect or _free_port()
        server = self._add(self._start_server(port))
        self._say("azurite", azurite_ready(azurite).url, began)
        self._say("emulator", emulator_ready(emulator).url, began)
        self.environment |= endpoints(emulator, azurite)
        seeded = asyncio.run(seed(Settings.from_environment(self.environment)))
        self._say("samples", f"{seeded} files in az://{SAMPLES}/nightly/", began)
        api = f"http://127.0.0.1:{port}/api"
        server.wait_until(server.answers(f"{api}/health"))
        self.prefect_api = api
        self._say("server", api, began)
        self.environment |= {"PREFECT_API_URL": api, "PREFECT_WORKER_QUERY_SECONDS": "2"}
        worker = self._add(self._start_worker())
        worker.wait_until(worker.in_log(r"(Worker '.*' started)"))
        self._say("worker", f"work pool {WORK_POOL}", began)
        self._deploy()
        self._say("deployments", "topn/nightly, topn/adhoc, topn-sweep/hourly", began)
        self._say("automation", asyncio.run(self._register()), began)
        self._record()

    def watch(self) -> None:
        """Show what the shown services say, until one ends. Raises ServiceFailed with its last lines."""
        while True:
            self._show()
            for service in self._services:
                if service.process.poll() is not None:
                    raise ServiceFailed(
                        f"{service.name} ended with status {service.process.returncode}; its last lines:\n"
                        f"{service.last_lines()}"
                    )
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop everything, the worker's runs first: they release what they made while the others still answer."""
        for service in reversed(self._services):
            with contextlib.suppress(OSError):  # the terminal may be closed, and no service stays for that
                out.print(f"stopping {service.name} ...")
            service.stop(children_first=service.name == "worker")
            with contextlib.suppress(OSError):
                self._show()
        if self._services:  # else the record is that of the stack which runs already
            RECORD.unlink(missing_ok=True)

    def _check(self) -> None:
        record = read_record()
        if record and alive(record.supervisor):
            raise ServiceFailed(f"The stack runs already (process {record.supervisor[0]}): `make down` stops it.")
        if record:
            down()  # what a stack that was killed has left
        check_port(self._ports.prefect, "Prefect's server", "PREFECT_PORT")
        check_port(self._ports.azurite, "Azurite", "AZURITE_PORT")
        check_port(self._ports.batch, "the Batch emulator", "BATCH_PORT")

    def _add(self, service: Service) -> Service:
        self._services.append(service)
        self._record()
        return service

    def _record(self) -> None:
        processes = [(one.process.pid, one.process.create_time(), one.mark) for one in self._services]
        Record((os.getpid(), psutil.Process().create_time()), processes, self.prefect_api).save()

    def _start_server(self, port: int) -> Service:
        command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", port, "--log-level", "WARNING"]
        environment = server_environment(self.environment, port)
        environment.pop("PREFECT_API_URL", None)
        return start("server", command, self._logs, environment)

    def _start_worker(self) -> Service:
        command = [PREFECT, "worker", "start", "--pool", WORK_POOL, "--type", "process", "--name", "local-worker"]
        return start("worker", command, self._logs, self.environment)

    def _deploy(self) -> None:
        command = [PREFECT, "--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml"]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, encoding="utf-8")
        (self._logs / "deploy.log").write_text(done.stdout + done.stderr, encoding="utf-8")
        if done.returncode:
            raise ServiceFailed(f"prefect deploy failed:\n{done.stdout}{done.stderr}")

    async def _register(self) -> str:
        async with PrefectClient(self.prefect_api) as api:
            return await register(api, HEARTBEAT)

    def _say(self, name: str, what: str, began: float) -> None:
        out.print(f"  {name:<12} {what:<45} {time.monotonic() - began:5.1f} s")

    def _show(self) -> None:
        for service in self._services:
            if service.name not in SHOWN:
                continue
            with service.log.open("rb") as stream:
                stream.seek(self._shown.get(service.name, 0))
                said = stream.read()
            whole = said[: said.rfind(b"\n") + 1]
            self._shown[service.name] = self._shown.get(service.name, 0) + len(whole)
            for line in whole.decode("utf-8", "replace").splitlines():
                out.print(Text(f"{service.name} | ", style="cyan") + Text.from_ansi(line))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def seed(settings: Settings) -> int:
    """Put the sample inputs where topn/nightly looks for them; return how many they are."""
    samples = sorted((ROOT / "data").glob("*.txt"))
    async with open_clients(settings) as clients:
        container = clients.blobs.get_container_client(SAMPLES)
        if not await container.exists():
            await container.create_container()
        for sample in samples:
            content = await asyncio.to_thread(sample.read_bytes)
            await container.upload_blob(f"nightly/{sample.name}", content, overwrite=True)
    return len(samples)


def down() -> bool:
    """Stop a stack that runs, or what one that was killed has left; whether there was any."""
    record = read_record()
    if record is None:
        return False
    if supervisor := alive(record.supervisor):
        end([supervisor], STOP_TIMEOUT * 6)  # it stops its services itself
    for pid, began, mark in reversed(record.services):  # the worker is the last: its runs release what they made
        end_with_all(alive((pid, began)), mark, children_first=True)
    RECORD.unlink(missing_ok=True)
    return True
