"""Operations on tasks."""

from __future__ import annotations

from typing import Any

from azure.batch.models import BatchSubtask, BatchTask, BatchTaskConstraints, BatchTaskCreateOptions
from starlette.requests import Request
from starlette.responses import Response

from emulator import clock, options
from emulator.body import read
from emulator.errors import BatchError, InvalidRequestBody, TaskCompleted, invalid
from emulator.job import Job
from emulator.routes.account import rows
from emulator.routes.jobs import job_of
from emulator.task import Task
from emulator.wire import (
    answer,
    body,
    check_conditions,
    created,
    done,
    element,
    error_body,
    json_body,
    page,
    touched,
)

_LARGEST_COLLECTION = 100


def task_of(request: Request) -> Task:
    """The task that the path names."""
    return job_of(request).task(request.path_params["taskId"])


async def create_task(request: Request) -> Response:
    """Add a task to a job."""
    given = await body(request, BatchTaskCreateOptions)
    job = job_of(request)
    options.task(given, job)
    return created(job.add(given).model)


async def create_task_collection(request: Request) -> Response:
    """Add up to a hundred tasks; each has a result of its own."""
    parsed = await json_body(request)
    job = job_of(request)
    given = parsed.get("value") if isinstance(parsed, dict) else None
    if not isinstance(given, list):
        raise InvalidRequestBody(Reason="value must be a list of tasks")
    if len(given) > _LARGEST_COLLECTION:
        raise invalid("value", len(given), f"at most {_LARGEST_COLLECTION} tasks in one request")
    job.writable()
    return answer({"value": [_added(job, item) for item in given]})


def _added(job: Job, item: Any) -> dict[str, Any]:
    task_id = str(item.get("id", "")) if isinstance(item, dict) else ""
    try:
        given = read(BatchTaskCreateOptions, item)
        options.task(given, job)
        model = job.add(given).model
    except BatchError as error:
        return {"status": _status(job, "ClientError"), "taskId": task_id, "error": error_body(error)}
    return {
        "status": _status(job, "Success"),
        "taskId": task_id,
        "eTag": model["eTag"],
        "lastModified": model["lastModified"],
        "location": model["url"],
    }


def _status(job: Job, status: str) -> str:
    """The service capitalises these, whatever the SDK's enum says; a test may want them otherwise."""
    return status.lower() if job.account.faults.lower_case_statuses else status


async def list_tasks(request: Request) -> Response:
    """A page of a job's tasks."""
    return page(request, job_of(request).tasks, BatchTask, "tasks")


async def get_task(request: Request) -> Response:
    """One task."""
    return element(request, task_of(request).model, "tasks")


async def replace_task(request: Request) -> Response:
    """Change a task's constraints; what is not given goes back to its default."""
    given = await body(request, BatchTask)
    task = task_of(request)
    check_conditions(request, task.model)
    if task.state == "completed":
        raise TaskCompleted
    constraints = dict(given.get("constraints") or {})
    options.task_constraints(constraints)
    task.model.constraints = BatchTaskConstraints(
        {
            "maxWallClockTime": clock.UNLIMITED,
            "retentionTime": "P7D",
            "maxTaskRetryCount": task.job.model["constraints"]["maxTaskRetryCount"],
            **constraints,
        }
    )
    touched(task.job.account, task.model)
    return done(200, task.model)


async def list_subtasks(request: Request) -> Response:
    """The subtasks of a task: none, as multi-instance tasks are refused."""
    task_of(request)
    return page(request, rows([]), BatchSubtask, "subtaskinfo")


async def delete_task(request: Request) -> Response:
    """Delete a task and its files."""
    task = task_of(request)
    check_conditions(request, task.model)
    task.job.delete_task(task)
    return done(200)


async def terminate_task(request: Request) -> Response:
    """End a task."""
    task = task_of(request)
    check_conditions(request, task.model)
    task.job.terminate_task(task)
    return done(204, task.model)


async def reactivate_task(request: Request) -> Response:
    """Let a failed task run again."""
    task = task_of(request)
    check_conditions(request, task.model)
    task.job.reactivate_task(task)
    return done(204, task.model)
