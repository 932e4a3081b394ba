"""`python -m benchmarks.chaos --runs N --seed S`: runs of 50 to 500 files while everything goes wrong that can.

A seed and a number decide on a run's files and on what befalls it, and when: `--only NUMBER` repeats one. After each
run its promises are looked at (`violations`); the last line is one JSON object with `runs` and `violations`.
PREFECT_API_URL names the server to use; without it the runs have one of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.testing.utilities import prefect_test_harness
from rich.console import Console

from deployments.services import services
from tasks.clients import Clients, open_clients
from tasks.expiry import find_expired, sweep_away
from tasks.lease import INTERVAL, LENGTH
from tasks.settings import Settings
from tests.gate import Gate, Hold

ROOT = Path(__file__).parent.parent
NUM_WORDS = 10
DEADLINE = timedelta(minutes=8)  # for a run whose own timeout is 5
out = Console(highlight=False, soft_wrap=True, stderr=True)


@dataclass(frozen=True)
class Disturbance:
    """What goes wrong, so many seconds after the run's pool was made."""

    after_seconds: float
    kind: str
    options: dict[str, Any] = field(default_factory=dict)


def draw(chance: random.Random) -> list[Disturbance]:
    """What befalls a run: two to six things, one after another."""
    found = []
    for _ in range(chance.randint(2, 6)):
        kind = chance.choice(list(KINDS))
        found.append(Disturbance(chance.uniform(0, 12), kind, KINDS[kind](chance)))
    return sorted(found, key=lambda one: one.after_seconds)


def _fault(**options: Any) -> dict[str, Any]:
    return {"path": "*", "method": "*", **options}


KINDS = {
    "storm": lambda chance: _fault(
        action="answer", status=chance.choice([429, 500, 503]), count=chance.randint(1, 6), retryAfter=1
    ),
    "lost answers": lambda chance: _fault(action="answer-after", status=500, count=chance.randint(1, 3)),
    "dropped": lambda chance: _fault(action=chance.choice(["drop", "drop-after"]), count=chance.randint(1, 3)),
    "slow": lambda chance: _fault(action="delay", seconds=chance.uniform(0.5, 3), count=chance.randint(1, 6)),
    "counts lag": lambda chance: {"taskCountsLag": chance.uniform(2, 20)},
    "start task fails": lambda _: {"failingStartTasks": 1},
    "quota": lambda chance: {"quotas": {"spot_cores": chance.choice([0, 2, 4])}},
    "shortage": lambda chance: {"shortage": {"nodes": chance.randint(1, 3)}},
    "preempt": lambda _: {},
    "lose": lambda _: {},
    "break": lambda _: {},
    "storage cut": lambda chance: {"method": chance.choice(["PUT", "GET"]), "nth": chance.randint(1, 40)},
    "pause": lambda chance: {"seconds": chance.uniform(1, 4)},
    "kill": lambda _: {},
}


class Chaos:
    """One run among its disturbances."""

    def __init__(self, seed: int, number: int, files: int | None, folder: Path) -> None:
        self.chance = random.Random(f"{seed}:{number}")
        self.key = f"chaos-{seed}-{number}"
        self.folder = folder
        self.files = self._write_files(files or self.chance.randint(50, 500))
        self.disturbances = draw(self.chance)
        self.said = ""
        self.killed = False

    def _write_files(self, number: int) -> dict[str, Path]:
        (self.folder / "texts").mkdir(parents=True)
        vocabulary = [f"word{index}" for index in range(300)]
        files = {}
        for index in range(number):
            words = self.chance.choices(vocabulary, k=self.chance.randint(20, 400))
            path = self.folder / "texts" / f"{index:03}.txt"
            path.write_text(" ".join([self.key, *words]))
            files[path.name] = path
        return files

    async def run(self, environment: Mapping[str, str], emulator: int) -> list[str]:
        """Run and disturb, once more after a kill; return what was violated."""
        batch = Gate(environment["AZURE_BATCH_ENDPOINT"])
        storage = Gate(environment["AZURE_STORAGE_BLOB_ENDPOINT"])
        async with open_clients(Settings.from_environment(environment)) as clients, batch.open(), storage.open():
            through = {"AZURE_BATCH_ENDPOINT": batch.url, "AZURE_STORAGE_BLOB_ENDPOINT": storage.url}
            status = await self._once(clients, {**environment, **through}, batch, storage, emulator)
            await self._calm(clients, storage)
            if self.killed:
                status = await self._once(clients, {**environment, **through}, batch, storage, None)
            found = [*self._results(status), *await self._prefect(status), *await self._afterwards(clients)]
        secrets = [environment["AZURE_BATCH_ACCESS_KEY"], environment["AZURE_STORAGE_KEY"]]
        if any(one in self.said for one in secrets) or re.search(r"\bsig=(?!REDACTED)", self.said):
            found.append("a secret was said")
        return found

    async def _once(
        self, clients: Clients, environment: Mapping[str, str], batch: Gate, storage: Gate, emulator: int | None
    ) -> int | None:
        """The run's exit status; None when it did not end in time."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "flows.topn", str(self.folder / "texts/*.txt"), "--run-key", self._run_key()),
            *("--nodes", "2", "--spot-nodes", "2", "--task-slots", "4", "--words", str(NUM_WORDS)),
            *("--timeout-minutes", "5", "--outputs", str(self.folder / "outputs")),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        disturbing = asyncio.create_task(self._disturb(clients, batch, storage, emulator, process))
        try:
            async with asyncio.timeout(DEADLINE.total_seconds()):
                said, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            said, _ = await process.communicate()
            return None
        finally:
            if process.returncode is None:  # this program is being ended
                process.kill()
            disturbing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await disturbing
        self.said += said.decode("utf-8", "replace")
        return process.returncode

    def _run_key(self) -> str:
        return f"{self.key}-again" if self.killed else self.key

    async def _disturb(
        self,
        clients: Clients,
        batch: Gate,
        storage: Gate,
        emulator: int | None,
        process: asyncio.subprocess.Process,
    ) -> None:
        if emulator is None:
            return
        while not any(seen.startswith("POST /pools?") for seen in batch.seen):  # noqa: ASYNC110 - a gate has no event
            await asyncio.sleep(0.1)
        began = time.monotonic()
        for one in self.disturbances:
            await asyncio.sleep(max(0.0, began + one.after_seconds - time.monotonic()))
            with contextlib.suppress(AzureError):  # the fault before may hit this request
                await self._befall(one, clients, storage, emulator, process)

    async def _befall(
        self,
        one: Disturbance,
        clients: Clients,
        storage: Gate,
        emulator: int,
        process: asyncio.subprocess.Process,
    ) -> None:
        match one.kind:
            case "kill":
                self.killed = True
                process.kill()
            case "pause":
                os.kill(emulator, signal.SIGSTOP)
                try:
                    await asyncio.sleep(one.options["seconds"])
                finally:
                    os.kill(emulator, signal.SIGCONT)
            case "storage cut":
                storage.holds.append(
                    Hold(one.options["method"], "-output|topn-results", cut=True, nth=one.options["nth"])
                )
            case "preempt" | "lose" | "break":
                await self._hurt_node(clients, one.kind)
            case "counts lag" | "start task fails" | "quota" | "shortage":
                await control(clients, "POST", "settings", one.options)
            case _:
                await control(clients, "POST", "faults", one.options)

    async def _hurt_node(self, clients: Clients, kind: str) -> None:
        pool_id = f"topn-{self.key}-g1"
        nodes = [node async for node in clients.batch.list_nodes(pool_id)]
        wanted = [
            node for node in nodes if node.state in ("idle", "running") and (kind != "preempt" or not node.is_dedicated)
        ]
        if len(nodes) > 1 and wanted:
            await control(clients, "POST", f"pools/{pool_id}/nodes/{self.chance.choice(wanted).id}/{kind}", {})

    async def _calm(self, clients: Clients, storage: Gate) -> None:
        storage.holds.clear()
        await control(clients, "DELETE", "faults", None)
        quotas = {"spot_cores": 1000}
        await control(clients, "POST", "settings", {"quotas": quotas, "shortage": None, "taskCountsLag": 0})

    def _results(self, status: int | None) -> Iterator[str]:
        """Whether each file was counted right, once, or is said to have failed, and why."""
        if status is None:
            yield "the run did not end"
            return
        if "Traceback (most recent call last)" in self.said:
            yield "a traceback was shown"
        try:
            saved = json.loads((self.folder / "outputs" / self._run_key() / "results.json").read_text("utf-8"))
        except FileNotFoundError:
            if status == 0 or not re.search(r"^topn: .+", self.said, re.MULTILINE):
                yield f"no results, no reason, exit status {status}"
            return
        names = [one["name"] for one in [*saved["files"], *saved["failed"]]]
        if sorted(names) != sorted(self.files):
            yield f"{len(names)} files in the results, {len(set(names))} of them different, of {len(self.files)}"
        for one in saved["files"]:
            if [tuple(pair) for pair in one["words"]] != top(self.files[one["name"]].read_text()):
                yield f"{one['name']} has wrong counts"
        for one in saved["failed"]:
            if not one["class"] or not one["message"]:
                yield f"{one['name']} failed for no reason"
        if status == 0 and saved["failed"]:
            yield f"exit status 0 with {len(saved['failed'])} failed files"
        if status == 0 and saved["left_behind"]:
            yield f"exit status 0 with {saved['left_behind']} left behind"

    async def _prefect(self, status: int | None) -> list[str]:
        """Whether Prefect has a task run for each file of a run that completed."""
        if status != 0:
            return []
        missing: set[str] = set()
        async with get_client() as api:
            runs = await api.read_flow_runs(limit=20)
            mine = [run for run in runs if (run.parameters.get("parameters") or {}).get("run_key") == self._run_key()]
            for _ in range(60):
                names: set[str] = set()
                for run in mine:
                    filter = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
                    offset = 0
                    while page := await api.read_task_runs(flow_run_filter=filter, limit=200, offset=offset):
                        names |= {task_run.name for task_run in page}
                        offset += len(page)
                missing = set(self.files) - names
                if mine and not missing:
                    return []
                await asyncio.sleep(1)
        return [f"Prefect lacks the task runs of {len(missing)} files" if mine else "Prefect lacks the flow run"]

    async def _afterwards(self, clients: Clients) -> list[str]:
        """Whether nodes are gone once the lease is over, and everything after a sweep."""
        found = []
        await control(clients, "POST", "settings", {"clockOffset": (LENGTH + INTERVAL).total_seconds()})
        deadline = time.monotonic() + 30
        while True:
            pools = [pool async for pool in clients.batch.list_pools()]
            nodes = sum((pool.current_dedicated_nodes or 0) + (pool.current_low_priority_nodes or 0) for pool in pools)
            if not nodes or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
        if nodes:
            found.append(f"{nodes} nodes are left after the lease")
        expired = [
            one for one in await find_expired(clients, datetime.now(UTC) + timedelta(days=8)) if self.key in one.id
        ]
        await sweep_away(clients, expired)
        deadline = time.monotonic() + 30
        while True:
            left = [f"pool {pool.id}" async for pool in clients.batch.list_pools()]
            left += [f"job {job.id}" async for job in clients.batch.list_jobs()]
            left += [str(one.name) async for one in clients.blobs.list_containers(name_starts_with=f"topn-{self.key}-")]
            if not left or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.2)
        if left:
            found.append(f"left after the sweep: {', '.join(left)}")
        checked = await control(clients, "GET", "check", None)
        found += [f"the emulator's state: {one}" for one in checked["violations"]]
        return found


def top(text: str) -> list[tuple[str, int]]:
    """The top words of such a file."""
    return sorted(
        Counter(re.sub(r"^-+|-+$", "", word) for word in text.split()).items(), key=lambda one: (-one[1], one[0])
    )[:NUM_WORDS]


async def control(clients: Clients, method: str, what: str, body: object) -> Any:
    """Ask the emulator for what Batch does not offer."""
    answer = await clients.batch.send_request(HttpRequest(method, f"/_emulator/{what}", json=body))
    answer.raise_for_status()
    return answer.json()


def _emulator_of(environment: Mapping[str, str]) -> int:
    """The process that listens at the Batch endpoint."""
    port = int(environment["AZURE_BATCH_ENDPOINT"].rpartition(":")[2])
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(one.laddr.port == port and one.status == "LISTEN" for one in process.net_connections()):
                return process.pid
    raise RuntimeError(f"nobody listens on port {port}")


async def _all(options: argparse.Namespace, environment: Mapping[str, str]) -> dict[str, list[str]]:
    emulator, found = _emulator_of(environment), {}
    numbers = [options.only] if options.only is not None else range(options.runs)
    for number in numbers:
        account = {**environment, "AZURE_BATCH_ACCOUNT": f"chaos{options.seed % 10**8}x{number}"}
        with tempfile.TemporaryDirectory() as folder:
            chaos = Chaos(options.seed, number, options.files, Path(folder))
            began = time.monotonic()
            violations = await chaos.run(account, emulator)
        befell = ", ".join(one.kind for one in chaos.disturbances)
        seconds = time.monotonic() - began
        out.print(
            f"{number:4} {len(chaos.files):4} files {seconds:6.1f} s  {befell}: {violations or 'all promises kept'}"
        )
        if violations:
            found[f"--seed {options.seed} --only {number}"] = violations
            out.print(chaos.said)
    return found


def main() -> int:
    """Run, and say what was violated; exit status 1 when anything was."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="only this run, by its number, of the seed")
    parser.add_argument("--files", type=int, help="so many files in each run, instead of 50 to 500")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the services are stopped then, too
    with contextlib.ExitStack() as stack:
        if not os.environ.get("PREFECT_API_URL"):
            stack.enter_context(prefect_test_harness(server_startup_timeout=120))
            from prefect.settings import PREFECT_API_URL

            os.environ["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
        found = asyncio.run(_all(options, stack.enter_context(services())))
    runs = 1 if options.only is not None else options.runs
    violations = sum(len(one) for one in found.values())
    print(json.dumps({"runs": runs, "violations": violations, "seed": options.seed, "found": found}))  # noqa: T201
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
