"""What the tests share: the local stack, started once, and an account of its own for each test."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.batch.models import BatchPoolCreateOptions, BatchVmImageReference, VirtualMachineConfiguration
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from deployments.services import services
from tasks.clients import Clients, open_clients
from tasks.settings import Settings
from tests.patience import PATIENCE

# A shell starts its background jobs with SIGINT ignored, and so would be all that the tests start, and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files with property tests first, then the long ones, so that no worker is left with those at the end.

    Hypothesis takes a test for faulty when anything draws from the module `random` meanwhile, as threads do that
    Prefect's clients leave in a worker: so it comes before any of them.
    """
    drawing = {item.path for item in items if isinstance(item, pytest.Function) and hasattr(item.module, "given")}
    items.sort(key=lambda item: (item.path not in drawing, "end_to_end" not in item.path.parts))


@pytest.fixture(scope="session")
def stack() -> Iterator[dict[str, str]]:
    """The environment variables that point at a running emulator and Azurite."""
    with services() as environment:
        yield environment


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[str]:
    """The address of a Prefect server with an empty database, which flows in this process use too.

    One for all tests: its start takes half a minute on two cores.
    """
    with prefect_test_harness(server_startup_timeout=int(PATIENCE)):
        yield str(PREFECT_API_URL.value())
        # Else their connections to the server break when it stops, and their keep-alive complains in tracebacks.
        EventsWorker.drain_all(timeout=PATIENCE)
        APILogWorker.drain_all(timeout=PATIENCE)


@pytest.fixture
def environment(stack: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The stack's, with a Batch account and a results cache of this test's own, set for this test."""
    own = uuid.uuid4().hex[:12]
    environment = {**stack, "AZURE_BATCH_ACCOUNT": f"test{own}", "TOPN_RESULTS_CONTAINER": f"topn-results-{own}"}
    for name in os.environ:
        if name.startswith("AZURE_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment


@pytest.fixture
async def clients(environment: dict[str, str]) -> AsyncIterator[Clients]:
    """The clients of this test's account, as the flow opens them."""
    async with open_clients(Settings.from_environment(environment)) as clients:
        yield clients


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A folder for a test's input files."""
    folder = tmp_path / "texts"
    folder.mkdir()
    return folder


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """An unprivileged user, also where the tests run as root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def create_pool(clients: Clients, id: str, **options: Any) -> None:
    """Make a small pool of Linux nodes; without more options, of one node, as a user might have made it."""
    scaled = "auto_scale_formula" in options
    defaults = {"enable_auto_scale": True} if scaled else {"target_dedicated_nodes": 1}
    await clients.batch.create_pool(
        BatchPoolCreateOptions(
            id=id,
            virtual_machine_configuration=VirtualMachineConfiguration(
                image_reference=BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server"),
                node_agent_sku_id="batch.node.ubuntu 24.04",
            ),
            **{"vm_size": "standard_d2s_v3", **defaults, **options},
        )
    )


def naive_top(content: bytes, number: int) -> list[tuple[str, int]]:
    """The definition of a file's top words, written down a second time and as simply as can be."""
    text = content.decode("utf-8", errors="replace").removeprefix("\ufeff")
    stripped = [word.strip("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for word in text.split()]
    counts = Counter(word for word in stripped if word)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:number]


async def until(condition: Callable[[], Awaitable[bool]], description: str, deadline_seconds: float = PATIENCE) -> None:
    """Wait for a condition; at the deadline fail with its description."""
    deadline = time.monotonic() + deadline_seconds
    while not await condition():
        assert time.monotonic() < deadline, f"waited {deadline_seconds} s in vain until {description}"
        await asyncio.sleep(0.1)
