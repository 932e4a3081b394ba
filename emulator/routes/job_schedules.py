"""Operations on job schedules."""

from __future__ import annotations

from typing import Any

from azure.batch.models import BatchJob, BatchJobSchedule, BatchJobScheduleCreateOptions, BatchJobScheduleUpdateOptions
from starlette.requests import Request
from starlette.responses import Response

from emulator import job_schedule, options, statistics
from emulator.job_schedule import JobSchedule
from emulator.wire import account_of, body, check_conditions, created, done, element, page, touched


def schedule_of(request: Request) -> JobSchedule:
    """The job schedule that the path names."""
    return account_of(request).job_schedule(request.path_params["jobScheduleId"])


def _as_conditioned(request: Request) -> JobSchedule:
    """The one that the path names, if it is as the client's conditions have it."""
    schedule = schedule_of(request)
    check_conditions(request, schedule.model)
    return schedule


async def create_job_schedule(request: Request) -> Response:
    """Create a job schedule, which begins at once."""
    given = await body(request, BatchJobScheduleCreateOptions)
    return created(job_schedule.create(account_of(request), options.job_schedule(given)).model)


async def list_job_schedules(request: Request) -> Response:
    """A page of the account's job schedules."""
    schedules = account_of(request).job_schedules
    return page(request, schedules, BatchJobSchedule, "jobschedules", statistics.of_schedule)


async def get_job_schedule(request: Request) -> Response:
    """One job schedule."""
    schedule = schedule_of(request)
    return element(request, schedule.model, "jobschedules", lambda: statistics.of_schedule(schedule))


async def job_schedule_exists(request: Request) -> Response:
    """Whether there is one of that id."""
    return done(200, _as_conditioned(request).model)


async def update_job_schedule(request: Request) -> Response:
    """Change what is given, each wholly; jobs that are there stay as they are."""
    given = await body(request, BatchJobScheduleUpdateOptions)
    return _change(request, dict(given.items()))


async def replace_job_schedule(request: Request) -> Response:
    """Change all that can be changed; what is not given goes back to its default."""
    given = await body(request, BatchJobSchedule)
    changes = {name: given.get(name) for name in ("schedule", "jobSpecification", "metadata")}
    return _change(request, {**changes, "schedule": changes["schedule"] or {}})


def _change(request: Request, changes: dict[str, Any]) -> Response:
    schedule = _as_conditioned(request)
    schedule.writable()
    checked = options.job_schedule(BatchJobScheduleCreateOptions({**schedule.model, **changes}))
    for name in changes:
        if checked.get(name) is None:
            schedule.model.pop(name, None)
        else:
            schedule.model[name] = checked[name]
    schedule.model = BatchJobSchedule(schedule.model)
    touched(schedule.account, schedule.model)
    if "schedule" in changes:
        schedule.timing_changed()
    return done(200, schedule.model)


async def delete_job_schedule(request: Request) -> Response:
    """Start deleting a job schedule with its jobs."""
    schedule = _as_conditioned(request)
    schedule.delete()
    return done(202)


async def disable_job_schedule(request: Request) -> Response:
    """Let no more jobs be made."""
    schedule = _as_conditioned(request)
    schedule.disable()
    return done(204, schedule.model)


async def enable_job_schedule(request: Request) -> Response:
    """Let jobs be made again."""
    schedule = _as_conditioned(request)
    schedule.enable()
    return done(204, schedule.model)


async def terminate_job_schedule(request: Request) -> Response:
    """Start ending a job schedule and its active job."""
    schedule = _as_conditioned(request)
    schedule.terminate()
    return done(202, schedule.model)


async def list_jobs_from_schedule(request: Request) -> Response:
    """A page of the jobs that a schedule has made."""
    return page(request, schedule_of(request).jobs, BatchJob, "jobs", statistics.of_job)
