"""What tasks have used: those of a job, and with them all of its schedule and of the account; and what pools have."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from azure.batch.models import BatchJobStatistics, BatchPoolStatistics

from emulator.clock import written_duration

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.job import Job
    from emulator.job_schedule import JobSchedule
    from emulator.pool import Pool
    from emulator.task import Task

_BLOCK = 512  # bytes, in which Linux counts what a process reads from and writes to disks
_GIB = 1 << 30


class Statistics:
    """Sums over the tasks of one job, or over those of all jobs below, whether or not they are still there.

    What happens in a job is noted in its own statistics, which pass it on to those above.
    """

    def __init__(self, *above: Statistics) -> None:
        self._line = (self, *above)
        self.succeeded = 0
        self.failed = 0
        self.retries = 0
        self.wall_clock = 0.0  # seconds of attempts that have ended
        self.wait = 0.0  # seconds, of completed tasks, from their creation to their latest start
        self.user = 0.0  # seconds of processor time, as the rest of what processes used
        self.kernel = 0.0
        self.read = 0  # bytes
        self.written = 0

    def ran(self, task: Task) -> None:
        """An attempt at a task has ended."""
        length = _since_start(task)
        for each in self._line:
            each.wall_clock += length

    def spent(self, usage: resource.struct_rusage) -> None:
        """A task's process has ended, and those that it waited for."""
        for each in self._line:
            each.user += usage.ru_utime
            each.kernel += usage.ru_stime
            each.read += usage.ru_inblock * _BLOCK
            each.written += usage.ru_oublock * _BLOCK

    def retried(self) -> None:
        """A task is to be tried again."""
        for each in self._line:
            each.retries += 1

    def completed(self, task: Task) -> None:
        """A task has ended for good."""
        succeeded = task.execution["result"] == "success"
        wait = 0.0 if task.began is None else task.began - task.created
        for each in self._line:
            each.succeeded += succeeded
            each.failed += not succeeded
            each.wait += wait

    def body(self, url: str, since: str, now: str, jobs: Iterable[Job]) -> dict[str, Any]:
        """The sums as the service shows them; `jobs` are those whose tasks may be running.

        Operations on disks are not counted, so they are absent.
        """
        running = sum(_since_start(task) for job in jobs for task in job.on_nodes if task.state == "running")
        return {
            "url": url,
            "startTime": since,
            "lastUpdateTime": now,
            "userCPUTime": _duration(self.user),
            "kernelCPUTime": _duration(self.kernel),
            "wallClockTime": _duration(self.wall_clock + running),
            "readIOGiB": self.read / _GIB,
            "writeIOGiB": self.written / _GIB,
            # Integers of 64 bits are texts.
            "numSucceededTasks": str(self.succeeded),
            "numFailedTasks": str(self.failed),
            "numTaskRetries": str(self.retries),
        }


def _since_start(task: Task) -> float:
    assert task.began is not None, "a running task has begun"
    return time.monotonic() - task.began


def _duration(seconds: float) -> str:
    return written_duration(timedelta(seconds=seconds))


def of_job(job: Job) -> dict[str, Any]:
    """The statistics of one job until now."""
    url, since = f"{job.model['url']}/stats", job.model["creationTime"]
    return job.statistics.body(url, since, job.account.clock.stamp(), [job])


def of_schedule(schedule: JobSchedule) -> dict[str, Any]:
    """The statistics of all jobs that a schedule has made."""
    url, since = f"{schedule.model['url']}/stats", schedule.model["creationTime"]
    return schedule.statistics.body(url, since, schedule.account.clock.stamp(), schedule.jobs)


def of_jobs(account: Account) -> BatchJobStatistics:
    """The statistics of all jobs that an account has ever had."""
    url, now = f"{account.settings.endpoint}/lifetimejobstats", account.clock.stamp()
    body = account.statistics.body(url, account.since, now, account.jobs)
    # Only here the service says how long tasks waited.
    return BatchJobStatistics({**body, "waitTime": _duration(account.statistics.wait)})


def of_pool(pool: Pool) -> dict[str, Any]:
    """The statistics of one pool until now. How busy its nodes were is not known, so that is absent."""
    url, since = f"{pool.model['url']}/stats", pool.model["creationTime"]
    return _usage(url, since, pool.account.clock.stamp(), pool.usage.core_time(dedicated=True))


def of_pools(account: Account) -> BatchPoolStatistics:
    """The statistics of all pools that an account has ever had."""
    url, now = f"{account.settings.endpoint}/lifetimepoolstats", account.clock.stamp()
    present = (pool.usage.core_time(dedicated=True) for pool in account.pools)
    return BatchPoolStatistics(_usage(url, account.since, now, sum(present, account.past_core_time)))


def _usage(url: str, since: str, now: str, dedicated: timedelta) -> dict[str, Any]:
    covered = {"startTime": since, "lastUpdateTime": now}
    return {"url": url, **covered, "usageStats": {**covered, "dedicatedCoreTime": written_duration(dedicated)}}
