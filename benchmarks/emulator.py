"""`python -m benchmarks.emulator`: what tasks cost the emulator, and whether that stays so when there are many.

- 1,000 and 10,000 `/bin/true` tasks on one node with 8 task slots, all added before the first starts: the time from
  the first start to the last end. In three rounds, and in each the 1,000 before and after the 10,000: a machine is not
  equally fast all the time.
- Beside them `xargs -P 8`, which starts the same commands, each in a directory of its own with files for its output.
- 100,000 queued tasks, each with a resource file and three environment settings: the emulator's memory, and what the
  first and the last page of their filtered list take.
- What an emulator costs of a processor while nobody asks it anything.

Prints a table and, last, one line of JSON. With `--tasks` it takes fewer of all, to try it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from azure.batch import BatchClient
from azure.batch.models import BatchJobCreateOptions, BatchPoolCreateOptions, BatchTaskCreateOptions
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.rest import HttpRequest
from rich.console import Console
from rich.table import Table

KEY = "3hkE0D099XnYHY0NbE/XEHWyMGmIDd98i7s+rC8EnzUWSeXEKPKrx3l+Zq7ffyQjPgNqHaILION5sXq99P91ew=="
SLOTS = 8
ROUNDS = 3
VERSION = {"api-version": "2025-06-01"}
POOL = {
    "id": "pool",
    "vmSize": "STANDARD_D2S_V3",
    "taskSlotsPerNode": SLOTS,
    "targetDedicatedNodes": 1,
    "virtualMachineConfiguration": {
        "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
        "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    },
}


def measure(url: str, tasks: int, each: int = 0) -> float:
    """Milliseconds from the first start to the last end, by task, of this many tasks."""
    client: Any  # the SDK's fields are all optional
    with BatchClient(url, AzureNamedKeyCredential(f"bench{tasks}x{each}", KEY)) as client:
        client.create_job(BatchJobCreateOptions({"id": "job", "poolInfo": {"poolId": "pool"}}))
        options = [BatchTaskCreateOptions(id=f"task{number}", command_line="/bin/true") for number in range(tasks)]
        client.create_tasks("job", options)
        client.create_pool(BatchPoolCreateOptions(POOL))
        while client.get_job_task_counts("job").task_counts.completed < tasks:
            time.sleep(0.5)
        counts = client.get_job_task_counts("job").task_counts
        if counts.succeeded != tasks:
            raise RuntimeError(f"{counts.failed} of {tasks} tasks failed")
        infos = [task.execution_info for task in client.list_tasks("job", select=["executionInfo"])]
        elapsed = max(info.end_time for info in infos) - min(info.start_time for info in infos)
        return elapsed.total_seconds() * 1000 / tasks


@contextlib.contextmanager
def emulator() -> Iterator[tuple[str, int]]:
    """The URL and process id of an emulator of one's own."""
    with tempfile.TemporaryDirectory() as root:
        with Path(root, "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "emulator", "--port", "0", "--root", f"{root}/emulator"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1], process.pid
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


def xargs(commands: int) -> float:
    """Milliseconds by command that `xargs -P 8` takes for what a task is at the least."""
    each = "mkdir {} && cd {} && exec /bin/true >stdout.txt 2>stderr.txt"
    with tempfile.TemporaryDirectory() as directory:
        began = time.monotonic()
        subprocess.run(
            ["xargs", "-P", str(SLOTS), "-I{}", "sh", "-c", each],
            input="".join(f"task{number}\n" for number in range(commands)),
            cwd=directory,
            text=True,
            check=True,
        )
        return (time.monotonic() - began) * 1000 / commands


@dataclass(frozen=True)
class Round:
    """Milliseconds by task, measured one after the other."""

    few: float
    many: float
    xargs: float


def _round(url: str, few: int, many: int, number: int) -> Round:
    """Many tasks, and on either side of them what they are compared with: no machine is equally busy all the time."""
    before = measure(url, few, 2 * number), xargs(many)
    took = measure(url, many, number)
    after = xargs(many), measure(url, few, 2 * number + 1)
    return Round(few=(before[0] + after[1]) / 2, many=took, xargs=(before[1] + after[0]) / 2)


def _queue(client: BatchClient, tasks: int) -> None:
    """Add tasks that wait for a pool that there is not."""
    client.create_job(BatchJobCreateOptions({"id": "job", "poolInfo": {"poolId": "none"}}))
    for start in range(0, tasks, 100):
        value = [
            {
                "id": f"task{number:06}",
                "commandLine": f"/bin/true {number}",
                "resourceFiles": [{"httpUrl": f"http://127.0.0.1/inputs/{number}", "filePath": "input.txt"}],
                "environmentSettings": [
                    {"name": f"NAME{each}", "value": f"value {number} {each}"} for each in range(3)
                ],
            }
            for number in range(start, min(start + 100, tasks))
        ]
        answer = client.send_request(
            HttpRequest("POST", "/jobs/job/addtaskcollection", params=VERSION, json={"value": value})
        )
        answer.raise_for_status()


def _page(client: BatchClient, after: int | None) -> tuple[float, int | None]:
    """What a page of the filtered list takes, in milliseconds, and where the next one begins."""
    parameters = {**VERSION, "$filter": "state eq 'active'", "$select": "id,state"}
    if after is not None:
        parameters["$skiptoken"] = str(after)
    began = time.monotonic()
    answer = client.send_request(HttpRequest("GET", "/jobs/job/tasks", params=parameters))
    elapsed = (time.monotonic() - began) * 1000
    answer.raise_for_status()
    link = answer.json().get("odata.nextLink")
    return elapsed, int(parse_qs(urlsplit(link).query)["$skiptoken"][0]) if link else None


def size(tasks: int) -> tuple[float, float, float]:
    """MiB of an emulator with so many queued tasks, and milliseconds of the first and last page of their list."""
    with emulator() as (url, pid), BatchClient(url, AzureNamedKeyCredential("benchsize", KEY)) as client:
        _queue(client, tasks)
        resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
        last = following = None
        while (following := _page(client, following)[1]) is not None:
            last = following
        first_ms, last_ms = (statistics.median(_page(client, after)[0] for _ in range(9)) for after in (None, last))
        return int(resident.split()[1]) / 1024, first_ms, last_ms


def idle(seconds: float = 10.0) -> float:
    """Milliseconds of processor time that an idle emulator takes in a second."""

    def used() -> float:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6

    with emulator() as (url, pid):
        measure(url, 10)
        time.sleep(2)
        began = used()
        time.sleep(seconds)
        return (used() - began) / seconds


def main() -> int:
    """Measure; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emulator", description="What tasks cost the emulator.")
    parser.add_argument("--tasks", type=int, default=10_000, help="the greater number of tasks that run (%(default)s)")
    many = parser.parse_args().tasks
    few, queued = many // 10, many * 10
    with emulator() as (url, _):
        measure(url, 100)  # what is loaded at first use is not measured
        rounds = [_round(url, few, many, each) for each in range(ROUNDS)]
    figures = {
        f"ms_per_task_{few}": statistics.median(each.few for each in rounds),
        f"ms_per_task_{many}": statistics.median(each.many for each in rounds),
        "xargs_ms": statistics.median(each.xargs for each in rounds),
        "ratio": statistics.median(each.many / each.few for each in rounds),
        "xargs_ratio": statistics.median(each.many / each.xargs for each in rounds),
    }
    figures[f"mib_{queued}"], figures["page_ms_first"], figures["page_ms_last"] = size(queued)
    figures["idle_ms_per_second"] = idle()
    figures = {name: round(figure, 3) for name, figure in figures.items()}
    table = Table("figure", "", title=f"/bin/true on {SLOTS} task slots; {os.cpu_count()} processors")
    for name, figure in figures.items():
        table.add_row(name, f"{figure:,.2f}")
    Console().print(table)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
