"""Operations on jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from azure.batch.models import (
    BatchJob,
    BatchJobCreateOptions,
    BatchJobDisableOptions,
    BatchJobPreparationAndReleaseTaskStatus,
    BatchJobUpdateOptions,
    BatchPoolInfo,
)
from azure.batch.models._models import BatchJobTerminateOptions  # the SDK keeps it to itself
from starlette.requests import Request
from starlette.responses import Response

from emulator import job_creation, job_states, options, statistics, versions
from emulator.errors import InvalidPropertyValue, JobPreparationTaskNotSpecified
from emulator.job import Job
from emulator.wire import account_of, answer, body, check_conditions, created, done, element, page, touched

_COUNTED = ("active", "running", "completed", "succeeded", "failed")
_CHANGEABLE = (
    "priority",
    "maxParallelTasks",
    "allowTaskPreemption",
    "constraints",
    "poolInfo",
    "onAllTasksComplete",
    "metadata",
)


def job_of(request: Request) -> Job:
    """The job that the path names."""
    return account_of(request).job(request.path_params["jobId"])


async def create_job(request: Request) -> Response:
    """Create a job; its pool need not exist yet."""
    account = account_of(request)
    given = await body(request, BatchJobCreateOptions)
    return created(job_creation.create(account, given["id"], options.job(given)).model)


async def list_jobs(request: Request) -> Response:
    """A page of the account's jobs."""
    return page(request, account_of(request).jobs, BatchJob, "jobs", statistics.of_job)


async def get_job(request: Request) -> Response:
    """One job."""
    job = job_of(request)
    return element(request, job.model, "jobs", lambda: statistics.of_job(job))


async def update_job(request: Request) -> Response:
    """Change the settings that are given; each replaces the whole of what it names."""
    given = await body(request, BatchJobUpdateOptions)
    return _change(request, dict(given.items()))


async def replace_job(request: Request) -> Response:
    """Change all changeable settings; one that is not given goes back to its default."""
    given = await body(request, BatchJob)
    return _change(request, {"metadata": None, **options.job_defaults(), **dict(given.items())})


def _change(request: Request, changes: dict[str, Any]) -> Response:
    job = job_of(request)
    check_conditions(request, job.model)
    job.writable()
    changes = {name: value for name, value in changes.items() if name in _CHANGEABLE}
    pool_info = changes.pop("poolInfo", None)
    changed = {**job.model, **changes}
    options.job_settings(changed)
    if job.model["onAllTasksComplete"] == "terminatejob" and changed["onAllTasksComplete"] != "terminatejob":
        raise InvalidPropertyValue(
            PropertyName="onAllTasksComplete", Reason="a job that ends with its tasks cannot be told otherwise"
        )
    if pool_info is not None:
        _move_to_pool(job, pool_info)
    for name in changes:
        if changed[name] is None:
            job.model.pop(name, None)
        else:
            job.model[name] = changed[name]
    job.model = BatchJob(job.model)
    touched(job.account, job.model)
    job_states.limit(job)
    if job.counts["active"]:
        job.queue.place(job)
        job.account.schedule(job.pool_id)
    job_states.all_tasks_complete(job)
    return done(200, job.model)


def _move_to_pool(job: Job, pool_info: Any) -> None:
    pool_id, specification = pool_info.get("poolId"), pool_info.get("autoPoolSpecification")
    if specification is not None and not pool_id:
        _keep_auto_pool(job, specification)
        return
    options.pool_info(BatchPoolInfo(pool_info))
    if pool_id == job.pool_id:
        return
    if job.state != "disabled":
        raise InvalidPropertyValue(
            PropertyName="poolInfo", Reason="a job moves to another pool only while it is disabled"
        )
    job.queue.drop(job)
    job.model["poolInfo"] = {"poolId": pool_id}
    job.model["executionInfo"]["poolId"] = pool_id


def _keep_auto_pool(job: Job, specification: Mapping[str, Any]) -> None:
    """Change whether the job's own pool is kept after it: nothing else of an auto pool can be changed."""
    present = job.model.pool_info.auto_pool_specification

    def rest(of: Mapping[str, Any] | None) -> dict[str, Any]:
        return {name: value for name, value in (of or {}).items() if name != "keepAlive"}

    if present is None or rest(present) != rest(specification) or present["poolLifetimeOption"] != "job":
        raise InvalidPropertyValue(
            PropertyName="poolInfo.autoPoolSpecification",
            Reason="only keepAlive can be changed, and only of a pool that lives as long as its job",
        )
    present["keepAlive"] = bool(specification.get("keepAlive"))


def _forced(request: Request) -> bool:
    """Whether the job is to end even though its nodes have not done their part."""
    return request.query_params.get("force", "").lower() == "true"


async def delete_job(request: Request) -> Response:
    """Start deleting a job."""
    job = job_of(request)
    check_conditions(request, job.model)
    job_states.delete(job, force=_forced(request))
    return done(202)


async def disable_job(request: Request) -> Response:
    """Start disabling a job."""
    given = await body(request, BatchJobDisableOptions)
    job = job_of(request)
    check_conditions(request, job.model)
    job_states.disable(job, given["disableTasks"])
    touched(job.account, job.model)
    return done(202, job.model)


async def enable_job(request: Request) -> Response:
    """Start enabling a job."""
    job = job_of(request)
    check_conditions(request, job.model)
    job_states.enable(job)
    touched(job.account, job.model)
    return done(202, job.model)


async def terminate_job(request: Request) -> Response:
    """Start terminating a job."""
    given = await body(request, BatchJobTerminateOptions)
    job = job_of(request)
    check_conditions(request, job.model)
    job_states.terminate(job, given.get("terminateReason", "UserTerminate"), force=_forced(request))
    touched(job.account, job.model)
    return done(202, job.model)


async def get_job_task_counts(request: Request) -> Response:
    """How many tasks, and task slots, are in which state; older clients know only the tasks."""
    job = job_of(request)
    shown, shown_slots = job.shown_counts()
    counts = {name: shown[name] for name in _COUNTED}
    if versions.before(request, versions.SLOTS):
        validated = {"validationStatus": "validated"} if versions.before(request, versions.EXACT_COUNTS) else {}
        return answer({**counts, **validated})
    return answer({"taskCounts": counts, "taskSlotCounts": {name: shown_slots[name] for name in _COUNTED}})


async def list_job_preparation_and_release_task_status(request: Request) -> Response:
    """A page of the nodes on which a job was prepared, and how that and its release went."""
    job = job_of(request)
    if job.model.get("jobPreparationTask") is None:
        raise JobPreparationTaskNotSpecified
    return page(
        request,
        job.preparations,
        BatchJobPreparationAndReleaseTaskStatus,
        "jobpreparationandreleasetaskstatuslist",
    )
