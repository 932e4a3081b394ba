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
from collections.abc import Sequence
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
from flows.preflight import known_now, preflight
from tasks import (
    batch_tasks,
    claim,
    containers,
    diagnosis,
    estimate,
    inputs,
    job,
    lease,
    monitor,
    outputs,
    pool,
    recovery,
    release,
    report,
    results,
    taking,
)
from tasks.blocks import load_settings
from tasks.clients import Clients, open_clients
from tasks.concurrency import to_the_end
from tasks.errors import FilesFailed, RunFailed, brief
from tasks.in_flight import JobInFlight
from tasks.job import JOB_MARGIN
from tasks.pace import Pace
from tasks.plan import InputFile, Plan
from tasks.results import Counted, Results
from tasks.results_cache import ResultsCache
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
    length = timedelta(seconds=parameters.claim_seconds)
    async with open_clients(settings) as clients, claim.claiming(clients, run, length) as held:
        plan = await prepare(clients, parameters)
        if parameters.plan_only:
            await estimate.log_plan(clients, estimate_of(plan, parameters))
            return Completed(message="Planned only: nothing was created.")
        if plan.to_count:
            await begin(held, parameters)
            if held.waited and not parameters.refresh:
                plan = await known_now(clients, plan)  # the run before this one has counted meanwhile
        folder = outputs.prepare_folder(Path(parameters.outputs), run)
        created, failure = datetime.now(UTC), None
        try:
            counted, failure = await count(clients, held, plan, parameters, folder)
        except (RunFailed, AzureError) as error:
            failure = error if isinstance(error, RunFailed) else RunFailed(f"The run cannot go on: {brief(error)}.")
            counted = results.nothing_counted(run, plan, failure)
        finally:
            remains = await to_the_end(give_back(clients, held, parameters.keep))
    counted.results.left_behind = remains.left_behind
    counted.results.save(folder)
    outputs.point_latest(folder)
    bill = bill_of(parameters, created)
    await report.log_report(run, plan, counted, bill, remains.deleting)
    get_run_logger().info("Results of %d files are in %s", len(counted.results.files), folder)
    unreleased = release.unreleased(run, parameters.keep, remains.left_behind)
    return end(counted.results, failure, unreleased, parameters.fail_when)


@task(name="plan", cache_policy=NO_CACHE)
async def prepare(clients: Clients, parameters: Parameters) -> Plan:
    """Find out what there is to do, and whether it can be done, before anything is made. Raises BadInput."""
    plan = await preflight(clients, parameters)
    get_run_logger().info("Counting %d files, %d bytes", len(plan.files), plan.size_bytes)
    return plan


async def begin(held: claim.Claim, parameters: Parameters) -> None:
    """Step 1: work under the run key alone. Raises RunFailed."""
    if held.taken:
        return
    try:
        await claim.take_claim(held, retention_of(parameters))
    except AzureError as error:
        raise RunFailed(f"The run cannot go on: {brief(error)}.") from error


async def count(
    clients: Clients, held: claim.Claim, plan: Plan, parameters: Parameters, folder: Path
) -> tuple[Counted, RunFailed | None]:
    """Steps 1 to 7: what was counted, and what ended the run early; one file's failure is a part of the results."""
    cache = ResultsCache(clients, plan)
    await cache.prepare()
    taken = taking.Taking(clients, held.run, plan, cache, folder)
    async with asyncio.TaskGroup() as group:
        group.create_task(show_files(taken, plan))
        failure = await settle(clients, held, plan, parameters, taken)
    counted = taken.counted()
    counted.results.save(folder)
    await report.log_results(counted.results)
    counted = replace(counted, pictures=await asyncio.to_thread(report.draw, counted))
    report.save_pictures(folder, counted.pictures)
    if plan.to_count:
        await report.try_log_output(clients, held.run, counted.pictures)
    return counted, failure


async def settle(
    clients: Clients, held: claim.Claim, plan: Plan, parameters: Parameters, taken: taking.Taking
) -> RunFailed | None:
    """Take the results that are kept, and count the other files; return what ended that early."""
    try:
        kept = [file for file in plan.files if file.key in plan.kept]
        damaged = await taking.take_kept_results(taken, kept) if kept else []
        if to_count := [*plan.to_count, *damaged]:
            await count_on_batch(clients, held, plan, parameters, taken, to_count)
    except (RunFailed, AzureError) as error:
        failure = error if isinstance(error, RunFailed) else RunFailed(f"The run cannot go on: {brief(error)}.")
        taken.give_up(failure)
        return failure
    return None


async def count_on_batch(
    clients: Clients,
    held: claim.Claim,
    plan: Plan,
    parameters: Parameters,
    taken: taking.Taking,
    files: list[InputFile],
) -> None:
    """Steps 1 to 7 for the files whose results nobody has kept; what a run that died has left of them is used.

    Raises RunFailed, azure-core's errors.
    """
    await begin(held, parameters)
    recovered = await recovery.recover(clients, held, await wanted_of(clients, held, plan, parameters))
    await containers.create_containers(clients, recovered.run, retention_of(parameters))
    if goes_on(held, parameters):
        files = await taking.take_delivered_results(taken, files)
    if not files:
        return
    async with lease.kept(clients, recovered.run, terms_of(parameters), adopted=recovered.action.adopts_pool):
        in_flight = await start_job(clients, recovered, plan, parameters, files)
        async with asyncio.TaskGroup() as group:
            group.create_task(taking.take_results(taken, in_flight, len(files)))
            failure = await watch(in_flight, len(files))
    if failure:
        raise failure


async def start_job(
    clients: Clients, recovered: recovery.Recovered, plan: Plan, parameters: Parameters, files: list[InputFile]
) -> JobInFlight:
    """Steps 2 to 4, as far as a run before this one has not taken them. Raises RunFailed, azure-core's errors."""
    run, action = recovered.run, recovered.action
    timeout, sas_lifetime = timeout_of(parameters), sas_lifetime_of(parameters)
    await inputs.upload_application(clients, run, plan.application)
    await inputs.upload_inputs(clients, run, files)
    terms = terms_of(parameters)
    if terms and not action.adopts_pool:
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
    pool_id = parameters.pool_id or run.pool_id
    if not action.adopts_job:
        await job.create_job(clients, run, pool_id, timeout + JOB_MARGIN)
    made = batch_tasks.BatchTasks(
        clients,
        run,
        plan,
        staged=not parameters.pool_id,
        delay_seconds=parameters.delay_seconds,
        lifetime=sas_lifetime,
    )
    in_flight = JobInFlight(
        clients,
        run.job_id,
        files,
        made.make,
        policies=parameters.policies,
        timeout=timeout,
        diagnose=lambda: diagnosis.diagnose(clients, pool_id, run.job_id),
        already_done=len(plan.files) - len(files),
    )
    if action.adopts_job:
        await in_flight.adopt()
    return in_flight


def timeout_of(parameters: Parameters) -> timedelta:
    """How long to wait for all files to be counted: while there are nodes."""
    timeout, terms = timedelta(minutes=parameters.timeout_minutes), terms_of(parameters)
    return min(timeout, terms.longest) if terms else timeout


def sas_lifetime_of(parameters: Parameters) -> timedelta:
    """How long what the nodes get may be used, from now."""
    return timeout_of(parameters) + JOB_MARGIN + SAS_MARGIN


def retention_of(parameters: Parameters) -> timedelta:
    """How long containers may stay, from now."""
    return sas_lifetime_of(parameters) + timedelta(days=parameters.retention_days)


def goes_on(held: claim.Claim, parameters: Parameters) -> bool:
    """Whether results that are there count: not those of a run that went to its end, when all is to be counted anew."""
    return held.goes_on or not parameters.refresh


async def wanted_of(clients: Clients, held: claim.Claim, plan: Plan, parameters: Parameters) -> recovery.Wanted:
    """What the run needs of a job and a pool that a run before it has left."""
    of_use = plan.files if goes_on(held, parameters) else ()
    return recovery.Wanted(
        batch_task_ids=frozenset(file.batch_task_id for file in of_use),
        wall_clock=timeout_of(parameters) + JOB_MARGIN,
        pool_id=parameters.pool_id,
        terms=terms_of(parameters),
        start_task=await pool.start_task(clients, held.run, plan.application, sas_lifetime_of(parameters)),
        vm_size=parameters.vm_size,
        task_slots=parameters.task_slots,
    )


async def watch(in_flight: JobInFlight, number: int) -> RunFailed | None:
    """Steps 5 and 6; return what ended them early, which the files that were not counted then fail by."""
    try:
        await batch_tasks.add_batch_tasks(in_flight, number)
        await monitor.monitor_batch_tasks(in_flight)
    except (RunFailed, AzureError) as error:
        failure = error
        if isinstance(failure, AzureError):
            failure = RunFailed(f"Job {in_flight.job_id} cannot be watched: {brief(failure)}.")
        in_flight.give_up(failure)
        return failure
    return None


async def show_files(taken: taking.Taking, plan: Plan) -> None:
    """One task run for each file, or for each chunk of many files, which ends as its files do."""
    pace = Pace()

    async def show(first: int, chunk: Sequence[InputFile]) -> None:
        await pace.turn()
        # Prefect's cache has the same key: it shows Cached what was counted before. What is not kept is counted.
        shown = monitor.count_chunk.with_options(
            task_run_name=monitor.chunk_name(first, chunk),
            cache_key_fn=lambda *_: monitor.chunk_key(chunk),
            refresh_cache=any(file.key not in plan.kept for file in chunk),
        )
        with contextlib.suppress(FailedRun):  # its state tells; the results step has told the flow
            await shown(taken, chunk)

    async with asyncio.TaskGroup() as group:
        first = 0
        for chunk in monitor.chunks(plan.files):
            group.create_task(show(first, chunk))
            first += len(chunk)


async def give_back(clients: Clients, held: claim.Claim, keep: release.Keep) -> release.Remains:
    """Steps 8 and 9: delete job, pool and containers as far as `keep` has it; return what is left behind.

    Each is tried, whatever becomes of the others. What another run has taken over is that one's, all of it.
    """
    if not held.taken:
        return release.Remains([], [])
    held.leave()
    run = held.run
    steps = {
        "job": lambda: release.delete_job(clients, run),
        "pool": lambda: release.delete_pool(clients, run),
        "containers": lambda: release.delete_containers(clients, run, keep),
    }
    if keep != "everything":
        await release.try_each(run, steps, RELEASE_TIMEOUT)
    else:
        await held.close()
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


def end(
    counted: Results, failure: RunFailed | None, unreleased: list[str], fail_when: float | str
) -> Results | State[Results]:
    """The flow's result or its state. Raises RunFailed where the run as a whole failed."""
    if failure:
        failure.results = counted
        raise failure
    if counted.failed:
        failed = FilesFailed(counted)
        share = len(counted.failed) / (len(counted.failed) + len(counted.files))
        if isinstance(fail_when, str) or share > fail_when:
            return Failed(message=str(failed), data=failed)
    if unreleased:
        raise RunFailed(f"All files are counted, but these could not be deleted: {', '.join(unreleased)}.")
    if counted.failed:
        return Completed(message=f"{FilesFailed(counted)} The run completes: fail_when allows it.", data=counted)
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
