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
import time
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
from flows.broken_pipe import outlive_the_reader
from flows.own_job import OwnJob, begin, is_left, retention_of, timeout_of
from flows.parameters import Parameters, estimate_of, terms_of
from flows.preflight import known_now, preflight
from tasks import (
    batch_tasks,
    claim,
    diagnosis,
    estimate,
    inputs,
    monitor,
    outputs,
    recovery,
    reduction,
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
    outlive_the_reader()
    run = Run.of(flow_run.id or "", parameters.run_key)
    settings = await load_settings(dict(os.environ), parameters.credentials, parameters.storage_credentials)
    length = timedelta(seconds=parameters.claim_seconds)
    async with open_clients(settings) as clients, claim.claiming(clients, run, length) as held:
        plan = await prepare(clients, parameters)
        if parameters.plan_only:
            await estimate.log_plan(clients, estimate_of(plan, parameters))
            return Completed(message="Planned only: nothing was created.")
        if plan.to_count or await is_left(held):
            await begin(held, parameters)
            if held.waited and not parameters.refresh:
                plan = await known_now(clients, plan)  # the run before this one has counted meanwhile
        folder = outputs.prepare_folder(Path(parameters.outputs), run)
        created, failure = datetime.now(UTC), None
        try:
            if held.taken and not plan.to_count:
                await recovery.discard(clients, held, retention_of(parameters))
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


async def count(
    clients: Clients, held: claim.Claim, plan: Plan, parameters: Parameters, folder: Path
) -> tuple[Counted, RunFailed | None]:
    """Steps 1 to 7: what was counted, and what ended the run early; one file's failure is a part of the results."""
    began = time.monotonic()
    cache = ResultsCache(clients, plan)
    await cache.prepare()
    taken = taking.Taking(clients, held.run, plan, cache, folder)
    async with OwnJob(clients, held, plan, parameters) as own:
        async with asyncio.TaskGroup() as group:
            group.create_task(show_files(taken, plan))
            failure = await settle(own, taken)
        counted = taken.counted()
        if counted.results.fallback:
            get_run_logger().warning("%s", counted.results.fallback)
        if failure is None:
            failure = await merge_tables(own, cache, counted, timedelta(seconds=time.monotonic() - began))
    counted.results.save(folder)
    await report.log_results(counted.results)
    counted = replace(counted, pictures=await report.try_draw(counted))
    report.save_pictures(folder, counted.pictures)
    if own.recovered:  # else there is no container
        await report.try_log_output(clients, held.run, counted.pictures)
    return counted, failure


async def settle(own: OwnJob, taken: taking.Taking) -> RunFailed | None:
    """Take the results that are kept, and count the other files; return what ended that early."""
    plan = own.plan
    try:
        kept = [file for file in plan.files if file.key in plan.kept]
        damaged = await taking.take_kept_results(taken, kept) if kept else []
        if to_count := [*plan.to_count, *damaged]:
            await count_on_batch(own, taken, to_count)
    except (RunFailed, AzureError) as error:
        failure = error if isinstance(error, RunFailed) else RunFailed(f"The run cannot go on: {brief(error)}.")
        taken.give_up(failure)
        return failure
    return None


async def count_on_batch(own: OwnJob, taken: taking.Taking, files: list[InputFile]) -> None:
    """Steps 1 to 7 for the files whose results nobody has kept; what a run that died has left of them is used.

    Raises RunFailed, azure-core's errors.
    """
    clients, parameters = own.clients, own.parameters
    run = await own.prepare_containers()
    if own.goes_on:
        files = await taking.take_delivered_results(taken, files)
    not_uploaded = await inputs.upload_inputs(clients, run, files)
    for file in files:
        if file.key in not_uploaded:
            taken.refuse(file, not_uploaded[file.key])
    files = [file for file in files if file.key not in not_uploaded]
    if not files:
        return
    action = await own.prepare()
    made = batch_tasks.BatchTasks(
        own.access, run, own.plan, staged=not parameters.pool_id, delay_seconds=parameters.delay_seconds
    )
    in_flight = JobInFlight(
        clients,
        run.job_id,
        files,
        made.make,
        policies=parameters.policies,
        timeout=timeout_of(parameters),
        diagnose=lambda: diagnosis.diagnose(clients, parameters.pool_id or run.pool_id, run.job_id),
        already_done=len(own.plan.files) - len(files),
    )
    if action.adopts_job:
        await in_flight.adopt()
    async with asyncio.TaskGroup() as group:
        group.create_task(taking.take_results(taken, in_flight, len(files)))
        failure = await watch(in_flight, len(files))
    if failure:
        raise failure


async def merge_tables(own: OwnJob, cache: ResultsCache, counted: Counted, passed: timedelta) -> RunFailed | None:
    """Where the files' lists do not tell the top words of them all, let their tables do; return why they could not.

    What was merged from the lists stands then, with how sure it is. `passed` is what the counting took of the timeout.
    """
    counts, parameters, plan = counted.results, own.parameters, own.plan
    if not counts.files or not reduction.is_needed(parameters.exact, counts.overall):
        return None
    total_words = sum(file.total_words for file in counts.files)
    try:
        kept = None
        if not parameters.refresh:
            kept = await reduction.read_kept(cache, counted.tables, plan.num_words, total_words)
        if not kept:
            await own.prepare()  # perhaps nothing had to be counted
        counts.overall = kept or await reduction.reduce_tables(
            own.access,
            own.run,
            plan,
            cache,
            counted.tables,
            total_words=total_words,
            staged=not parameters.pool_id,
            patience=max(timeout_of(parameters) - passed, JOB_MARGIN / 2),
        )
    except (RunFailed, AzureError) as error:
        counts.overall.not_reduced = str(error) if isinstance(error, RunFailed) else f"{brief(error)}."
        sentence = (
            f"The files' tables could not be merged, for the top words of all files: {counts.overall.not_reduced}"
        )
        get_run_logger().error("%s", sentence)
        return None if counts.failed else RunFailed(sentence)
    return None


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
        kept = all(file.key in plan.kept for file in chunk)
        shown = monitor.count_chunk if kept else monitor.recount_chunk
        with contextlib.suppress(FailedRun):  # its state tells; the results step has told the flow
            name = monitor.chunk_name(first, chunk)
            await shown(name, monitor.unsearched(taken), monitor.unsearched(chunk))

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
