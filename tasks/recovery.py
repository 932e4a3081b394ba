"""What a run finds of an earlier one with its run key that died, and what it does about it.

One table tells, by the state of the key's job and pool: docs/architecture.md shows it, and tests walk all of it. The
generation that is looked at is the one that the claim has on record (tasks/claim.py); a next one is on record before
anything of it is made. Containers are taken over in step 1, with the results that are in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from azure.batch.models import (
    BatchJob,
    BatchJobConstraints,
    BatchJobState,
    BatchJobUpdateOptions,
    BatchPool,
    BatchPoolState,
    BatchPoolUpdateOptions,
    BatchStartTask,
)
from azure.core import MatchConditions
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from prefect import task

from tasks.claim import Claim
from tasks.clients import Clients
from tasks.containers import adopt_containers
from tasks.errors import RunFailed, TryAgain
from tasks.lease import INTERVAL, Lease, Terms
from tasks.logs import run_logger
from tasks.release import delete_jobs, delete_pools
from tasks.retries import STEP
from tasks.run import Run, owner_of

JobFound = Literal["none", "active", "over", "foreign"]
PoolFound = Literal["none", "active", "gone", "foreign", "named"]


class Action(StrEnum):
    """What a run does about the job and pool that it finds."""

    CREATE_BOTH = "create both"
    ADOPT_POOL = "adopt the pool, create the job"
    ADOPT_BOTH = "adopt both"
    CREATE_JOB = "create the job"
    ADOPT_JOB = "adopt the job"
    NEXT = "next generation"
    REFUSE = "refuse"

    @property
    def adopts_job(self) -> bool:
        """Whether the job is taken over."""
        return self in (Action.ADOPT_BOTH, Action.ADOPT_JOB)

    @property
    def adopts_pool(self) -> bool:
        """Whether the pool is taken over."""
        return self in (Action.ADOPT_BOTH, Action.ADOPT_POOL)


# Job: active = it takes tasks, is on the pool that this run uses, and has no task of other files;
#      over = it ended, is ending, is disabled, or is not what this run needs; foreign = not of this run key's owners.
# Pool: active = it has a lease that lasts, and is as this run would make it; gone = it is not, or is being deleted;
#       named = the run uses a pool of the user's.
TABLE: Mapping[tuple[JobFound, PoolFound], Action] = {
    ("none", "none"): Action.CREATE_BOTH,
    ("none", "active"): Action.ADOPT_POOL,
    ("none", "gone"): Action.NEXT,
    ("none", "foreign"): Action.REFUSE,
    ("none", "named"): Action.CREATE_JOB,
    ("active", "none"): Action.NEXT,
    ("active", "active"): Action.ADOPT_BOTH,
    ("active", "gone"): Action.NEXT,
    ("active", "foreign"): Action.REFUSE,
    ("active", "named"): Action.ADOPT_JOB,
    ("over", "none"): Action.NEXT,
    ("over", "active"): Action.NEXT,
    ("over", "gone"): Action.NEXT,
    ("over", "foreign"): Action.REFUSE,
    ("over", "named"): Action.NEXT,
    ("foreign", "none"): Action.REFUSE,
    ("foreign", "active"): Action.REFUSE,
    ("foreign", "gone"): Action.REFUSE,
    ("foreign", "foreign"): Action.REFUSE,
    ("foreign", "named"): Action.REFUSE,
}

MOST_CHANGES = 20  # of job and pool between a look and the adoption
_JOB_FIELDS = ["id", "state", "metadata", "eTag", "poolInfo", "creationTime"]


@dataclass(frozen=True)
class Wanted:
    """What a run needs of a job and a pool, and what makes one that it finds fit for it."""

    batch_task_ids: frozenset[str]  # of the first attempts of all its files
    wall_clock: timedelta  # of the job, from now
    pool_id: str | None = None  # of a pool that the user named
    terms: Terms | None = None  # of the own pool's lease, as the following
    start_task: BatchStartTask | None = None
    vm_size: str = ""
    task_slots: int = 1


@dataclass(frozen=True)
class Recovered:
    """Where a run goes on."""

    run: Run
    action: Action


@task(name="recover", **STEP)
async def recover(clients: Clients, claim: Claim, wanted: Wanted) -> Recovered:
    """Step 1: adopt what a dead run with this key has left, as far as it is of use, and delete the rest.

    The run must hold its claim. Raises RunFailed where the names are taken by something that is not this key's.
    """
    for _ in range(MOST_CHANGES):
        run = replace(claim.run, generation=claim.record.generation)
        job, pool = await _get_job(clients, run), None if wanted.pool_id else await _get_pool(clients, run)
        job_found = await find_job(clients, job, run, claim.owners, wanted)
        pool_found = find_pool(pool, claim.owners, wanted, datetime.now(UTC))
        action = TABLE[job_found, pool_found]
        if action is Action.REFUSE:
            what = f"job {run.job_id}" if job_found == "foreign" else f"pool {run.pool_id}"
            raise RunFailed(f"The {what} exists already and is not this run's: choose another run key than {run.key}.")
        if action is Action.NEXT:
            await claim.write(replace(claim.record, generation=run.generation + 1))
            continue
        try:
            if job and action.adopts_job:
                await _adopt_job(clients, run, job, wanted)
            if pool and action.adopts_pool:
                await _adopt_pool(clients, run, pool, wanted)
        except (ResourceModifiedError, ResourceNotFoundError, ResourceExistsError):
            continue  # it has changed meanwhile, or is being deleted: look again
        spared_job = run.job_id if action.adopts_job else None
        spared_pool = run.pool_id if action.adopts_pool else None
        await delete_jobs(clients, run, claim.owners, spared_job)
        await delete_pools(clients, run, claim.owners, spared_pool)
        await claim.write(replace(claim.record, before=()))
        return Recovered(run, action)
    raise TryAgain(f"The job and pool of run {claim.run.key} change all the time: try again.")


@task(name="discard", **STEP)
async def discard(clients: Clients, claim: Claim, retention: timedelta) -> None:
    """Step 1 where nothing is to be counted: delete a dead run's jobs and pools; its containers are this run's now.

    The run must hold its claim, and releases the containers as its own.
    """
    await delete_jobs(clients, claim.run, claim.owners)
    await delete_pools(clients, claim.run, claim.owners)
    await adopt_containers(clients, claim.run, retention)
    await claim.write(replace(claim.record, before=()))


async def find_job(
    clients: Clients, job: BatchJob | None, run: Run, owners: frozenset[str], wanted: Wanted
) -> JobFound:
    """The job's side of the table. Raises azure-core's errors."""
    found = judge_job(job, owners, wanted.pool_id or run.pool_id)
    if job is None or found != "active":
        return found
    # One that counts other files too would cost their counting, and never be through with this run's.
    async for batch_task in clients.batch.list_tasks(run.job_id, select=["id"]):
        if batch_task.id.partition("-")[0] not in wanted.batch_task_ids:
            return "over"
    return "active"


def judge_job(job: BatchJob | None, owners: frozenset[str], pool_id: str) -> JobFound:
    """The job's side of the table, but for its tasks."""
    if job is None:
        return "none"
    if job.state == BatchJobState.DELETING:
        return "over"  # whosever it was
    if owner_of(job.metadata) not in owners:
        return "foreign"
    on_pool = job.pool_info is not None and job.pool_info.pool_id == pool_id
    return "active" if on_pool and job.state in (BatchJobState.ACTIVE, BatchJobState.ENABLING) else "over"


def find_pool(pool: BatchPool | None, owners: frozenset[str], wanted: Wanted, now: datetime) -> PoolFound:
    """The pool's side of the table."""
    if wanted.pool_id:
        return "named"
    if pool is None:
        return "none"
    if pool.state == BatchPoolState.DELETING:
        return "gone"  # whosever it was
    if owner_of(pool.metadata) not in owners:
        return "foreign"
    return "active" if _fits(pool, wanted) and _lasts(pool, wanted, now) else "gone"


def _fits(pool: BatchPool, wanted: Wanted) -> bool:
    """Whether its nodes are those that the run would have, with the same application on them."""
    if pool.start_task is None or wanted.start_task is None:
        return False
    same_application = pool.start_task.command_line == wanted.start_task.command_line
    same_size = str(pool.vm_size).lower() == wanted.vm_size.lower()
    return same_application and same_size and pool.task_slots_per_node == wanted.task_slots


def _lasts(pool: BatchPool, wanted: Wanted, now: datetime) -> bool:
    """Whether its nodes stay for at least half of the time that the run may take."""
    lease = Lease.read(pool.auto_scale_formula)
    if lease is None or wanted.terms is None or pool.creation_time is None:
        return False
    longest = wanted.terms.longest
    return now + INTERVAL < lease.end and now + min(wanted.wall_clock, longest) / 2 < pool.creation_time + longest


async def _get_job(clients: Clients, run: Run) -> BatchJob | None:
    try:
        return await clients.batch.get_job(run.job_id, select=_JOB_FIELDS)
    except ResourceNotFoundError:
        return None


async def _get_pool(clients: Clients, run: Run) -> BatchPool | None:
    try:
        return await clients.batch.get_pool(run.pool_id)
    except ResourceNotFoundError:
        return None


async def _adopt_job(clients: Clients, run: Run, job: BatchJob, wanted: Wanted) -> None:
    age = datetime.now(UTC) - job.creation_time if job.creation_time else timedelta()
    options = BatchJobUpdateOptions(
        metadata=run.metadata, constraints=BatchJobConstraints(max_wall_clock_time=age + wanted.wall_clock)
    )
    await clients.batch.update_job(run.job_id, options, etag=job.etag, match_condition=MatchConditions.IfNotModified)
    run_logger().info("Going on with job [%s]", run.job_id)


async def _adopt_pool(clients: Clients, run: Run, pool: BatchPool, wanted: Wanted) -> None:
    # The start task's SAS is a new one: nodes that come later, for lost ones, fetch the application by it.
    options = BatchPoolUpdateOptions(metadata=run.metadata, start_task=wanted.start_task)
    await clients.batch.update_pool(run.pool_id, options, etag=pool.etag, match_condition=MatchConditions.IfNotModified)
    run_logger().info("Going on with pool [%s]", run.pool_id)
