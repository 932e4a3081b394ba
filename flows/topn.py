"""The flow `topn`: the top words of many files, counted by one Azure Batch task per file.

    plan -> containers -> upload -> pool -> job -> batch tasks -> monitor -> results -> release

    python -m flows.topn INPUT... [options]

Requires the accounts that tasks/settings.py reads from the environment, or a credentials block that the parameters
name; `make run` sets up a local stack.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.core.exceptions import AzureError
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import hooks
from flows.parameters import Parameters, estimate_of, terms_of
from flows.preflight import preflight
from tasks import (
    batch_tasks,
    containers,
    estimate,
    inputs,
    job,
    lease,
    monitor,
    outputs,
    pool,
    release,
    report,
    results,
)
from tasks.blocks import load_settings
from tasks.clients import Clients, open_clients
from tasks.concurrency import to_the_end
from tasks.errors import FilesFailed, RunFailed, brief
from tasks.job import JOB_MARGIN
from tasks.plan import InputFile, Plan
from tasks.results import Counted, Results
from tasks.run import Run

# The SAS outlive the job by this: a task that Batch still starts can always fetch its file and deliver its result.
SAS_MARGIN = timedelta(hours=1)
# For each step of the release, with its retries: a service that does not answer must not hold up the others' release.
RELEASE_TIMEOUT = timedelta(minutes=1)


@flow(
    name="topn",
    on_cancellation=[hooks.release_cancelled],
    on_failure=[hooks.release_failed],
    on_crashed=[hooks.release_crashed],
)
async def topn(parameters: Parameters = Parameters()) -> Results | State[Results] | State[None]:  # noqa: B008 - frozen
    """Count the top words of each input file on a pool of Azure Batch nodes; delete what was made for it.

    Returns the results, or a Failed state whose exception is FilesFailed with the results of all other files.
    Raises TopnError.
    """
    run = Run.of(flow_run.id or "", parameters.run_key)
    settings = await load_settings(dict(os.environ), parameters.credentials, parameters.storage_credentials)
    async with open_clients(settings) as clients:
        plan = await prepare(clients, parameters)
        if parameters.plan_only:
            await estimate.log_plan(clients, estimate_of(plan, parameters))
            return Completed(message="Planned only: nothing was created.")
        folder = outputs.prepare_folder(Path(parameters.outputs), run)
        created, failure = datetime.now(UTC), None
        try:
            async with lease.kept(clients, run, terms_of(parameters)):
                counted, failure = await count(clients, run, plan, parameters, folder)
        except (RunFailed, AzureError) as error:
            failure = error if isinstance(error, RunFailed) else RunFailed(f"The run cannot go on: {brief(error)}.")
            counted = results.nothing_counted(run, plan, failure)
        finally:
            remains = await to_the_end(give_back(clients, run, parameters.keep))
    counted.results.left_behind = remains.left_behind
    counted.results.save(folder)
    outputs.point_latest(folder)
    bill = bill_of(parameters, created)
    await report.log_report(run, plan, counted, bill, remains.deleting)
    get_run_logger().info("Results of %d files are in %s", len(counted.results.files), folder)
    return end(counted.results, failure, release.unreleased(run, parameters.keep, remains.left_behind))


@task(name="plan", cache_policy=NO_CACHE)
async def prepare(clients: Clients, parameters: Parameters) -> Plan:
    """Find out what there is to do, and whether it can be done, before anything is made. Raises BadInput."""
    plan = await preflight(clients, parameters)
    get_run_logger().info("Counting %d files, %d bytes", len(plan.files), plan.size_bytes)
    return plan


async def count(
    clients: Clients, run: Run, plan: Plan, parameters: Parameters, folder: Path
) -> tuple[Counted, RunFailed | None]:
    """Steps 1 to 7: what was counted, and what ended the watching early.

    Raises RunFailed where the run cannot go on; one file's failure is a part of the results.
    """
    timeout = timedelta(minutes=parameters.timeout_minutes)
    if terms := terms_of(parameters):
        timeout = min(timeout, terms.longest)  # there are no nodes afterwards
    sas_lifetime = timeout + JOB_MARGIN + SAS_MARGIN
    await containers.create_containers(clients, run, sas_lifetime + timedelta(days=parameters.retention_days))
    await inputs.upload_application(clients, run, plan.application)
    await inputs.upload_inputs(clients, run, plan.files)
    if terms:
        await pool.create_pool(
            clients,
            run,
            plan.application,
            image=parameters.image,
            vm_size=parameters.vm_size,
            terms=terms,
            task_slots=parameters.task_slots,
            lifetime=sas_lifetime,
        )
    await job.create_job(clients, run, parameters.pool_id or run.pool_id, timeout + JOB_MARGIN)
    await batch_tasks.add_batch_tasks(
        clients,
        run,
        plan,
        staged=not parameters.pool_id,
        delay_seconds=parameters.delay_seconds,
        lifetime=sas_lifetime,
    )
    watched = monitor.Monitor(clients.batch, run.job_id, (file.batch_task_id for file in plan.files), timeout)
    failure = await watch(watched, plan)
    counted = await results.download_results(clients, run, plan, watched, folder)
    counted.results.save(folder)
    await report.log_results(counted.results)
    counted = replace(counted, pictures=await asyncio.to_thread(report.draw, counted))
    report.save_pictures(folder, counted.pictures)
    await report.try_log_output(clients, run, counted.pictures)
    return counted, failure


async def watch(watched: monitor.Monitor, plan: Plan) -> RunFailed | None:
    """Step 6: one task run watches the job, and one per file awaits its Batch task. Returns what ended it early."""

    async def watch_job() -> RunFailed | None:
        try:
            await monitor.monitor_batch_tasks(watched)
        except RunFailed as error:
            failure = error
        except AzureError as error:
            failure = RunFailed(f"Watching job {watched.job_id} failed: {brief(error)}.")
        else:
            return None
        watched.give_up(failure)
        return failure

    async def watch_file(file: InputFile) -> None:
        # Its failure is this task run's state; the results step reads the same outcome from the monitor.
        with contextlib.suppress(FailedRun):
            await monitor.count_file.with_options(task_run_name=literal(file.name))(watched, file)

    async with asyncio.TaskGroup() as group:
        job_watch = group.create_task(watch_job())
        for file in plan.files:
            group.create_task(watch_file(file))
    return job_watch.result()


def literal(name: str) -> str:
    """A name that Prefect, which formats it with the task's arguments, leaves as it is."""
    return name.replace("{", "{{").replace("}", "}}")


async def give_back(clients: Clients, run: Run, keep: release.Keep) -> release.Remains:
    """Steps 8 and 9: delete job, pool and containers as far as `keep` has it; return what is left behind.

    Each is tried, whatever becomes of the others.
    """
    steps = {
        "job": lambda: release.delete_job(clients, run),
        "pool": lambda: release.delete_pool(clients, run),
        "containers": lambda: release.delete_containers(clients, run, keep),
    }
    if keep != "everything":
        await release.try_each(run, steps, RELEASE_TIMEOUT)
    try:
        async with asyncio.timeout(RELEASE_TIMEOUT.total_seconds()):
            remains = await release.find_remains(clients, run)
    except (AzureError, TimeoutError) as error:
        remains = release.Remains([f"perhaps all of run {run.key} ({brief(error)})"], [])
    if remains.left_behind:
        get_run_logger().info("Left behind: %s", ", ".join(remains.left_behind))
    else:
        get_run_logger().info("Nothing is left behind")
    return remains


def end(counted: Results, failure: RunFailed | None, unreleased: list[str]) -> Results | State[Results]:
    """The flow's result or Failed state. Raises RunFailed where the run as a whole failed."""
    if failure:
        failure.results = counted
        raise failure
    if counted.failed:
        error = FilesFailed(counted)
        return Failed(message=str(error), data=error)
    if unreleased:
        raise RunFailed(f"All files are counted, but these could not be deleted: {', '.join(unreleased)}.")
    return counted


def bill_of(parameters: Parameters, created: datetime) -> report.Bill | None:
    """What the run's own pool was there for, until now; None where it had none."""
    terms = terms_of(parameters)
    return terms and report.Bill(
        nodes=parameters.nodes,
        spot_nodes=parameters.spot_nodes,
        created=created,
        released=datetime.now(UTC),
        price_per_hour=parameters.price_per_hour,
        spot_price_per_hour=parameters.spot_price_per_hour,
        max_node_hours=terms.max_node_hours,
    )


if __name__ == "__main__":
    from flows import command_line

    raise SystemExit(command_line.main(topn))
