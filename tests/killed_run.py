"""A run in a process of its own, behind gates, that is killed at a named point."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.gate import Gate
from tests.kill_points import KillPoint

ROOT = Path(__file__).parent.parent
DEADLINE_SECONDS = 120


@contextlib.asynccontextmanager
async def behind_gates(environment: Mapping[str, str]) -> AsyncIterator[tuple[Gate, Gate, dict[str, str]]]:
    """Gates before Batch and Storage, and the environment of a run that goes through them."""
    batch = Gate(environment["AZURE_BATCH_ENDPOINT"])
    storage = Gate(environment["AZURE_STORAGE_BLOB_ENDPOINT"])
    async with batch.open(), storage.open():
        through = {"AZURE_BATCH_ENDPOINT": batch.url, "AZURE_STORAGE_BLOB_ENDPOINT": storage.url}
        yield batch, storage, {**os.environ, **environment, **through}


async def run_until_killed(point: KillPoint, environment: Mapping[str, str], arguments: list[str]) -> None:
    """Start `python -m flows.topn` with these arguments and kill it, with SIGKILL, at the point."""
    async with behind_gates(environment) as (batch, storage, through):
        hold = point.hold()
        (batch if point.service == "batch" else storage).holds.append(hold)
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flows.topn", *arguments),
            cwd=ROOT,
            env=through,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        talk = asyncio.create_task(run.communicate())
        reached = asyncio.create_task(hold.reached.wait())
        try:
            await asyncio.wait([talk, reached], return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_SECONDS)
            passed = hold.reached.is_set()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            reached.cancel()
            said, _ = await talk
        assert passed, f"the run ended before {point.name}:\n{said.decode()}\n{batch.seen}\n{storage.seen}"
        assert run.returncode == -signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """A run that came to its end."""

    status: int
    said: str
    batch: list[str]  # its requests, "METHOD /path?query"
    storage: list[str]


async def run_to_its_end(environment: Mapping[str, str], arguments: list[str]) -> Ended:
    """Run `python -m flows.topn` with these arguments."""
    async with behind_gates(environment) as (batch, storage, through):
        run = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flows.topn", *arguments),
            cwd=ROOT,
            env=through,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        talk = asyncio.create_task(run.communicate())
        try:
            await asyncio.wait([talk], timeout=DEADLINE_SECONDS)
            ended = talk.done()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            said, _ = await talk
        assert ended, f"the run did not end:\n{said.decode()}\n{batch.seen}\n{storage.seen}"
    return Ended(run.returncode or 0, said.decode(), batch.seen, storage.seen)
