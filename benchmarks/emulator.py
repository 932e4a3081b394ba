"""`python -m benchmarks.emulator`: does a task cost the same however many wait?

Runs 1,000 and 10,000 `/bin/true` tasks on one node with 8 task slots, all added before the first starts, and
takes the time from the first start to the last end; of 1,000, the middle one of three times. Prints a table
and, last, one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from azure.batch import BatchClient
from azure.batch.models import BatchJobCreateOptions, BatchPoolCreateOptions, BatchTaskCreateOptions
from azure.core.credentials import AzureNamedKeyCredential
from rich.console import Console
from rich.table import Table

KEY = "3hkE0D099XnYHY0NbE/XEHWyMGmIDd98i7s+rC8EnzUWSeXEKPKrx3l+Zq7ffyQjPgNqHaILION5sXq99P91ew=="
SLOTS = 8
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


def main() -> int:
    """Measure both sizes; the exit status."""
    argparse.ArgumentParser(prog="python -m benchmarks.emulator", description=__doc__).parse_args()
    figures: dict[str, float] = {}
    table = Table("tasks", "ms by task", title=f"/bin/true on {SLOTS} task slots")
    with tempfile.TemporaryDirectory() as root:
        with Path(root, "log").open("w") as log:
            emulator = subprocess.Popen(
                [sys.executable, "-m", "emulator", "--port", "0", "--root", f"{root}/emulator"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        try:
            assert emulator.stdout is not None
            url = emulator.stdout.readline().split()[-1]
            measure(url, 100)  # what is loaded at first use is not measured
            for tasks, times in ((1000, 3), (10_000, 1)):
                taken = statistics.median(measure(url, tasks, each) for each in range(times))
                figures[f"ms_per_task_{tasks}"] = round(taken, 3)
                table.add_row(f"{tasks:,}", f"{figures[f'ms_per_task_{tasks}']:.2f}")
        finally:
            emulator.terminate()
            emulator.wait()
    figures["ratio"] = round(figures["ms_per_task_10000"] / figures["ms_per_task_1000"], 3)
    Console().print(table)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
