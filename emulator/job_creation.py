"""Makes jobs: at a client's wish, or a job schedule's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azure.batch.models import (
    BatchAutoPoolSpecification,
    BatchJob,
    BatchJobCreateOptions,
    BatchJobManagerTask,
    BatchJobState,
    BatchTaskCreateOptions,
)

from emulator import clock, job_states, options
from emulator.errors import ActiveJobAndScheduleQuotaReached, JobExists, PoolQuotaReached
from emulator.job import Job
from emulator.lifecycle import OVER, transition
from emulator.pool import create as create_pool

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.job_schedule import JobSchedule

_OF_THE_MANAGER_ALONE = ("killJobOnCompletion", "runExclusive", "allowLowPriorityNode")


def check_quota(account: Account) -> None:
    """Refuse one more job or job schedule than the account may have.

    Raises:
        ActiveJobAndScheduleQuotaReached: when there are as many as may be.
    """
    active = sum(job.state not in OVER for job in account.jobs)
    active += sum(schedule.state not in OVER for schedule in account.job_schedules)
    if active >= account.quotas.active_jobs:
        raise ActiveJobAndScheduleQuotaReached


def create(account: Account, job_id: str, checked: dict[str, Any], schedule: JobSchedule | None = None) -> Job:
    """Make a job, of a schedule if one makes it; its pool need not exist yet.

    Args:
        checked: what it is made of, as `options.job` has it.

    Raises:
        JobExists, ActiveJobAndScheduleQuotaReached: when there is one of that id, or as many as may be.
    """
    if job_id in account.jobs:
        raise JobExists
    check_quota(account)
    given = BatchJobCreateOptions({**checked, "id": job_id})
    specification = given.pool_info.auto_pool_specification
    pool_id = given.pool_info.pool_id
    scheduling_error: dict[str, str] | None = None
    if specification is not None:
        try:
            pool_id = _auto_pool(account, specification, schedule)
        except PoolQuotaReached:
            scheduling_error = {
                "category": "usererror",
                "code": "AutoPoolCreationFailedWithQuotaReached",
                "message": "The pool quota for the account is reached.",
            }
    now = account.clock.stamp()
    model = BatchJob(
        {
            **given,
            "url": f"{account.settings.endpoint}/jobs/{job_id}",
            "eTag": clock.etag(),
            "lastModified": now,
            "creationTime": now,
            "executionInfo": {"startTime": now, "poolId": pool_id or ""},
        }
    )
    if scheduling_error is not None:
        model["executionInfo"]["schedulingError"] = scheduling_error
    transition(model, BatchJobState.ACTIVE, now)
    job = Job(account, model, account.next_serial(), schedule)
    account.jobs.add(job.id, job)
    job_states.limit(job)
    if scheduling_error is not None:
        job_states.terminate(job, "SchedulingError", force=True)
    else:
        if model.job_manager_task is not None:
            _add_manager(job, model.job_manager_task)
        job_states.all_tasks_complete(job)
    return job


def _auto_pool(account: Account, specification: BatchAutoPoolSpecification, schedule: JobSchedule | None) -> str:
    """The id of the pool made for the job, or for all jobs of its schedule."""
    if specification["poolLifetimeOption"] != "jobschedule":
        schedule = None
    if schedule is not None and schedule.auto_pool_id in account.pools:
        return schedule.auto_pool_id
    pool_id = create_pool(account, options.auto_pool(specification)).id
    if schedule is not None:
        schedule.auto_pool_id = pool_id
    return pool_id


def _add_manager(job: Job, manager: BatchJobManagerTask) -> None:
    given = {name: value for name, value in manager.items() if name not in _OF_THE_MANAGER_ALONE}
    job.add(BatchTaskCreateOptions(given), manager)
