"""Takes a job through disabling, enabling, terminating and deleting, and knows when it ends by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from azure.batch.models import BatchJobState

from emulator import preparation
from emulator.clock import read_duration
from emulator.conditions import job_action
from emulator.errors import (
    JobBeingDeleted,
    JobBeingTerminated,
    JobCompleted,
    JobDisabled,
    JobNotActive,
    OperationInvalidForCurrentState,
)
from emulator.lifecycle import transition
from emulator.task import Ending, Task

if TYPE_CHECKING:
    from emulator.job import Job

_S = BatchJobState
_LONGEST_TIMER = timedelta(days=365)  # what the event loop can count; nobody's emulator runs longer


def _enter(job: Job, state: BatchJobState) -> None:
    transition(job.model, state, job.account.clock.stamp())


def limit(job: Job) -> None:
    """Set the timer for the job's maximum wall clock time, from its start."""
    if job.clock_limit is not None:
        job.clock_limit.cancel()
        job.clock_limit = None
    length = read_duration(job.model["constraints"]["maxWallClockTime"])
    if length > _LONGEST_TIMER:
        return
    assert job.model.execution_info is not None, "every job has it from its creation"
    left = job.model.execution_info.start_time + length - job.account.clock.now()
    job.clock_limit = job.account.later(max(left, timedelta()), _limit_reached, job)


def _limit_reached(job: Job) -> None:
    if job.state in ("active", "disabling", "disabled", "enabling") and not job.account.closing:
        terminate(job, "MaxWallClockTimeExpiry")


def task_completed(job: Job, task: Task) -> None:
    """Do what the job asks for when a task has completed."""
    if job.state in ("terminating", "completed", "deleting", "disabling"):
        return  # while it is being disabled, its tasks end because of that
    if task.manager is not None and task.manager["killJobOnCompletion"]:
        terminate(job, "JMComplete")
        return
    if job.model["onTaskFailure"] == "performexitoptionsjobaction":
        action = job_action(task)
        if action == "terminate":
            terminate(job, "TaskFailed")
        elif action == "disable" and job.state == "active":
            disable(job, "requeue")
    all_tasks_complete(job)


def all_tasks_complete(job: Job) -> None:
    """Terminate the job if it wants to end with its tasks, and no task of it is left to run."""
    if (
        job.state == "active"
        and job.model["onAllTasksComplete"] == "terminatejob"
        and not job.counts["active"]
        and not job.counts["running"]
    ):
        terminate(job, "AllTasksComplete")


def disable(job: Job, tasks: str) -> None:
    """Start disabling; `tasks` says what becomes of those on nodes: requeue, terminate or wait.

    Raises:
        JobDisabled, JobNotActive, JobCompleted, ...: by the job's state.
    """
    job.writable()
    if job.state == "disabled":
        raise JobDisabled
    if job.state != "active":
        raise JobNotActive
    _enter(job, _S.DISABLING)
    job.change(_disable(job, tasks))


async def _disable(job: Job, tasks: str) -> None:
    if tasks != "wait":
        ending = Ending.REQUEUE if tasks == "requeue" else Ending.TERMINATE
        for task in list(job.on_nodes):
            job.stop(task, ending, "The task was ended because its job was disabled")
    await job.idle.wait()
    await job.account.clock.delay(job.account.delays.job)
    _enter(job, _S.DISABLED)


def enable(job: Job) -> None:
    """Start enabling a disabled job.

    Raises:
        OperationInvalidForCurrentState, JobCompleted, ...: by the job's state.
    """
    job.writable()
    if job.state != "disabled":
        raise OperationInvalidForCurrentState
    _enter(job, _S.ENABLING)
    job.change(_enable(job))


async def _enable(job: Job) -> None:
    await job.account.clock.delay(job.account.delays.job)
    _enter(job, _S.ACTIVE)
    job.account.schedule(job.pool_id)
    all_tasks_complete(job)


def terminate(job: Job, reason: str, *, force: bool = False) -> None:
    """Start terminating; the reason is kept in the job's execution info. By force, no release task runs.

    Raises:
        JobCompleted, JobBeingTerminated, JobBeingDeleted: when it is over.
    """
    if job.state == "deleting":
        raise JobBeingDeleted
    if job.state == "terminating":
        raise JobBeingTerminated
    if job.state == "completed":
        raise JobCompleted
    _enter(job, _S.TERMINATING)
    job.change(_terminate(job, reason, force=force))


async def _terminate(job: Job, reason: str, *, force: bool) -> None:
    await _end_tasks(job, Ending.TERMINATE)
    if not force:
        await preparation.release(job)
    await job.account.clock.delay(job.account.delays.job)
    assert job.model.execution_info is not None, "every job has it from its creation"
    job.model.execution_info["terminateReason"] = reason
    job.model.execution_info["endTime"] = job.account.clock.stamp()
    _enter(job, _S.COMPLETED)
    _no_limit(job)
    _drop_auto_pool(job)
    if job.job_schedule is not None:
        job.job_schedule.look()


def delete(job: Job, *, force: bool = False) -> None:
    """Start deleting the job with its tasks and their files. By force, no release task runs.

    Raises:
        JobBeingDeleted: when it is under way.
    """
    if job.state == "deleting":
        raise JobBeingDeleted
    release = job.state != "completed" and not force
    _enter(job, _S.DELETING)
    job.change(_delete(job, release=release))
    if job.job_schedule is not None:
        job.job_schedule.look()


async def _delete(job: Job, *, release: bool) -> None:
    _no_limit(job)
    await _end_tasks(job, Ending.TERMINATE)
    if release:
        await preparation.release(job)
    await preparation.abandon(job)
    await job.account.clock.delay(job.account.delays.delete)
    job.queue.drop(job)
    for task in job.tasks:
        task.forget()
    for node in job.nodes:
        node.clear_job(job)
    job.account.jobs.remove(job.id)
    _drop_auto_pool(job)
    if job.job_schedule is not None:
        job.job_schedule.jobs.remove(job.id)
        job.job_schedule.look()


def _drop_auto_pool(job: Job) -> None:
    """Delete the pool that was made for this job alone, unless it is to be kept."""
    if job.job_schedule is not None and job.job_schedule.auto_pool_id == job.pool_id:
        return
    specification = job.model.pool_info.auto_pool_specification
    pool = job.account.pools.get(job.pool_id)
    kept = specification is None or specification.get("keepAlive", False)
    if pool is not None and not kept and pool.state != "deleting":
        pool.delete()


async def _end_tasks(job: Job, ending: Ending) -> None:
    for task in job.tasks:
        if task.state != "completed":
            job.stop(task, ending, "The task was ended because its job was terminated")
    await job.idle.wait()


def _no_limit(job: Job) -> None:
    if job.clock_limit is not None:
        job.clock_limit.cancel()
