"""`python -m benchmarks.no_op FOLDER`: the flow's own part of a run, with Batch tasks that do nothing.

What grows with the number of files is the product's own code: the plan over real files, their Batch tasks as they are
made, SAS and all, the adding and watching, a task run for each chunk of files. Only what the tasks are given to do is
exchanged, here and not in the product: each runs `/bin/true` and has no resource files and no output files, so nothing
is uploaded, and there are no results to take. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import cast

from azure.batch.models import BatchTaskCreateOptions
from prefect import flow
from prefect.runtime import flow_run

from flows.parameters import Parameters, terms_of
from flows.preflight import preflight
from flows.topn import show_files, watch
from tasks import batch_tasks, containers, diagnosis, inputs, job, pool, release
from tasks.access import NodeAccess
from tasks.clients import Clients, open_clients
from tasks.in_flight import Attempt, JobInFlight
from tasks.outcome import Outcome
from tasks.plan import InputFile, Plan
from tasks.run import Run
from tasks.settings import Settings
from tasks.taking import Taking

LIFETIME = timedelta(hours=6)
VM_SIZE, TASK_SLOTS = "STANDARD_D64S_V3", 256  # as many as a node may have


class Settled:
    """In the place of the results: a file is done when its Batch task has ended."""

    def __init__(self, in_flight: JobInFlight) -> None:
        self._in_flight = in_flight
        self.failed = 0

    async def done(self, file: InputFile) -> Outcome:
        """Wait for a file's Batch task."""
        return await self._in_flight.outcome(file)

    async def take(self, number: int) -> None:
        """Take note of each file whose Batch task has ended."""
        for _ in range(number):
            file = await self._in_flight.settled.get()
            self.failed += (await self._in_flight.outcome(file)).failure is not None
            self._in_flight.finish(file)


@flow(name="no-op")
async def no_op(folder: str) -> dict[str, float]:
    """Plan, add and watch; the seconds of each."""
    parameters = Parameters(inputs=[f"{folder}/*.txt"], vm_size=VM_SIZE, task_slots=TASK_SLOTS, timeout_minutes=360)
    run = Run.of(flow_run.id or "")
    async with open_clients(Settings.from_environment()) as clients:
        began = time.perf_counter()
        plan = await preflight(clients, parameters)
        planned = time.perf_counter()
        try:
            return {"plan_seconds": planned - began, **await _run(clients, run, plan, parameters)}
        finally:
            await release.release_job(clients, run)
            await release.release_pool(clients, run)
            await release.release_containers(clients, run, "nothing")


async def _run(clients: Clients, run: Run, plan: Plan, parameters: Parameters) -> dict[str, float]:
    """The flow's steps but uploads and results."""
    terms = terms_of(parameters)
    assert terms is not None  # no pool is named
    access = NodeAccess(clients, LIFETIME)
    await containers.create_containers(clients, run, LIFETIME)
    await inputs.upload_application(clients, run, plan.application)
    sizes = {"image": parameters.image, "vm_size": VM_SIZE, "task_slots": TASK_SLOTS}
    await pool.create_pool(access, run, plan.application, terms=terms, **sizes)
    await job.create_job(clients, run, run.pool_id, LIFETIME)
    made = batch_tasks.BatchTasks(access, run, plan, staged=True, delay_seconds=0)

    async def make(attempt: Attempt) -> BatchTaskCreateOptions:
        task = await made.make(attempt)
        task.command_line, task.resource_files, task.output_files = "/bin/true", None, None
        return task

    in_flight = JobInFlight(
        clients,
        run.job_id,
        plan.files,
        make,
        policies=parameters.policies,
        timeout=LIFETIME,
        diagnose=lambda: diagnosis.diagnose(clients, run.pool_id, run.job_id),
    )
    settled, began = Settled(in_flight), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(show_files(cast(Taking, settled), plan))
        group.create_task(settled.take(len(plan.files)))
        failure = await watch(in_flight, len(plan.files))
    if failure:
        raise failure
    if settled.failed:
        raise RuntimeError(f"{settled.failed} of {len(plan.files)} tasks have failed")
    return {"batch_seconds": time.perf_counter() - began}


def main() -> int:
    """Run it once; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.no_op", description=__doc__)
    parser.add_argument("folder", type=Path, help="its .txt files are the inputs")
    seconds = asyncio.run(no_op(str(parser.parse_args().folder)))
    sys.stdout.write(json.dumps({name: round(value, 2) for name, value in seconds.items()}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
