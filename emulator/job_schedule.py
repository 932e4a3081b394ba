"""A job schedule: it makes a job at each recurrence, one at a time."""

from __future__ import annotations

import asyncio
import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import isodate
from azure.batch.models import BatchJobSchedule, BatchJobScheduleState

from emulator import clock, job_creation, job_states
from emulator.clock import read_duration, written
from emulator.errors import (
    ActiveJobAndScheduleQuotaReached,
    JobScheduleBeingDeleted,
    JobScheduleCompleted,
    JobScheduleDisabled,
    JobScheduleExists,
    OperationInvalidForCurrentState,
)
from emulator.lifecycle import OVER, transition
from emulator.listing import Listing
from emulator.resource import Resource
from emulator.statistics import Statistics

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.job import Job

_S = BatchJobScheduleState
_LONGEST_TIMER = timedelta(days=1)  # then it is looked at anew: the event loop cannot count for ever
_QUOTA_RETRY = timedelta(minutes=1)


def create(account: Account, checked: dict[str, Any]) -> JobSchedule:
    """Make a schedule, which begins at once.

    Args:
        checked: what it is made of, as `options.job_schedule` has it.

    Raises:
        JobScheduleExists, ActiveJobAndScheduleQuotaReached: when there is one of that id, or as many as may be.
    """
    if checked["id"] in account.job_schedules:
        raise JobScheduleExists
    job_creation.check_quota(account)
    now = account.clock.stamp()
    model = BatchJobSchedule(
        {
            **checked,
            "url": f"{account.settings.endpoint}/jobschedules/{checked['id']}",
            "eTag": clock.etag(),
            "lastModified": now,
            "creationTime": now,
            "executionInfo": {},
        }
    )
    transition(model, _S.ACTIVE, now)
    schedule = JobSchedule(account, model, account.next_serial())
    account.job_schedules.add(schedule.id, schedule)
    schedule.timing_changed()
    return schedule


class JobSchedule(Resource):
    """One job schedule and the jobs it has made.

    Everything happens in `look`: it is called whenever something may be due, which are a timer, the end of a job, a
    change by a client, and a clock that a test has set.
    """

    def __init__(self, account: Account, model: BatchJobSchedule, serial: int) -> None:
        self.account = account
        self.model = model
        self.serial = serial
        self.jobs = Listing["Job"]()
        self.statistics = Statistics()  # of all its jobs, ever
        self.auto_pool_id = ""  # of all its jobs, if their pool lives as long as the schedule
        self._made = 0
        self._recent: Job | None = None
        self._due: datetime | None = None  # when the next job is to be made; None when there will be none
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    def writable(self) -> None:
        """Refuse what a schedule takes no more once it ends.

        Raises:
            JobScheduleCompleted, JobScheduleBeingDeleted, OperationInvalidForCurrentState: when it is over.
        """
        if self.state == "deleting":
            raise JobScheduleBeingDeleted
        if self.state == "completed":
            raise JobScheduleCompleted
        if self.state == "terminating":
            raise OperationInvalidForCurrentState

    def timing_changed(self) -> None:
        """Go by what the schedule now says: one that has made its job already makes the next one only as it recurs."""
        begins = [self.account.clock.now(), self._moment("doNotRunUntil"), self._due if self._made else None]
        self._due = max(moment for moment in begins if moment is not None)
        if self._made and self._interval is None:
            self._due = None
        self.look()

    def disable(self) -> None:
        """Make no more jobs until it is enabled. Raises JobScheduleDisabled, or as `writable`."""
        self.writable()
        if self.state == "disabled":
            raise JobScheduleDisabled
        self._enter(_S.DISABLED)
        self.look()

    def enable(self) -> None:
        """Go on making jobs. Raises OperationInvalidForCurrentState, or as `writable`."""
        self.writable()
        if self.state != "disabled":
            raise OperationInvalidForCurrentState
        self._enter(_S.ACTIVE)
        self.look()

    def terminate(self) -> None:
        """Start ending it and its active job. Raises as `writable`."""
        self.writable()
        self._enter(_S.TERMINATING)
        if self._busy and self._recent and self._recent.state != "terminating":
            job_states.terminate(self._recent, "TerminateJobSchedule")
        self.look()

    def delete(self) -> None:
        """Start deleting it with all its jobs. Raises JobScheduleBeingDeleted."""
        if self.state == "deleting":
            raise JobScheduleBeingDeleted
        self._enter(_S.DELETING)
        for job in self.jobs:
            if job.state != "deleting":
                job_states.delete(job)
        self.look()

    def close(self) -> None:
        """Let no timer of it go off any more."""
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Do what is due by now, and set a timer for what will be."""
        self.close()
        if self.account.closing:
            return
        if self.state == "active":
            self._make_what_is_due()
            if not self._busy and (self._due is None or self._is_last(self._due)):
                self._complete()
        elif self.state == "terminating" and not self._busy:
            self._complete()
        elif self.state == "deleting" and not len(self.jobs) and self._leaving is None:
            self._leaving = self.account.spawn(self._delete())
        self._show_next_run()

    def _make_what_is_due(self) -> None:
        now = self.account.clock.now()
        while self._due is not None and self._due <= now and not self._is_last(self._due):
            closes = self._window_end(self._due)
            if closes is not None and now >= closes:
                self._due = self._following(self._due)  # the opportunity is lost
            elif self._busy:
                self._wake_at(closes)
                return
            elif not self._make():
                self._wake_at(now + _QUOTA_RETRY)
                return
            else:
                self._due = self._following(self._due)
        self._wake_at(self._due)

    def _is_last(self, due: datetime) -> bool:
        """Whether a job that is due then is not to be made any more."""
        last = self._moment("doNotRunAfter")
        return last is not None and max(due, self.account.clock.now()) > last

    def _window_end(self, due: datetime) -> datetime | None:
        """When a job that is due can no longer be made; None when it always can.

        One that could not be made before the next is due is not carried over.
        """
        ends = [_after(due, length) for length in (self._duration("startWindow"), self._interval) if length is not None]
        return min(ends, default=None)

    def _following(self, due: datetime) -> datetime | None:
        if self._interval is None:
            return None
        missed = (self.account.clock.now() - due) // self._interval
        return _after(due, self._interval * max(1, missed))

    def _wake_at(self, moment: datetime | None) -> None:
        last = self._moment("doNotRunAfter")  # it may be over then
        moments = [each for each in (moment, last and _after(last, timedelta(microseconds=1))) if each is not None]
        now = self.account.clock.now()
        if ahead := [each - now for each in moments if each > now]:
            length = min(*ahead, _LONGEST_TIMER)
            self._timer = self.account.later(length, self.look)

    @property
    def _busy(self) -> bool:
        return self._recent is not None and self._recent.state not in OVER

    @property
    def _interval(self) -> timedelta | None:
        return self._duration("recurrenceInterval")

    def _duration(self, name: str) -> timedelta | None:
        text = self.model["schedule"].get(name)
        return read_duration(text) if text else None

    def _moment(self, name: str) -> datetime | None:
        text = self.model["schedule"].get(name)
        return isodate.parse_datetime(text) if text else None

    def _make(self) -> bool:
        """Make a job; False when the account may have no more now."""
        try:
            specification = copy.deepcopy(dict(self.model["jobSpecification"].items()))
            job = job_creation.create(self.account, f"{self.id}:job-{self._made + 1}", specification, self)
        except ActiveJobAndScheduleQuotaReached as error:
            self.account.service.log.warning("%s: job schedule %s: %s", self.account.name, self.id, error)
            return False
        self._made += 1
        self._recent = job
        self.jobs.add(job.id, job)
        self.model["executionInfo"]["recentJob"] = {"id": job.id, "url": job.model["url"]}
        return True

    def _show_next_run(self) -> None:
        information = self.model["executionInfo"]
        if self.state == "active" and self._due is not None:
            information["nextRunTime"] = written(self._due)
        else:
            information.pop("nextRunTime", None)

    def _enter(self, state: BatchJobScheduleState) -> None:
        transition(self.model, state, self.account.clock.stamp())

    def _complete(self) -> None:
        self.close()
        self._enter(_S.COMPLETED)
        self.model["executionInfo"]["endTime"] = self.account.clock.stamp()
        self._drop_auto_pool()

    async def _delete(self) -> None:
        await self.account.clock.delay(self.account.delays.delete)
        self._drop_auto_pool()
        self.account.job_schedules.remove(self.id)

    def _drop_auto_pool(self) -> None:
        """Delete the pool that was made for all its jobs, unless it is to be kept."""
        specification = self.model["jobSpecification"]["poolInfo"].get("autoPoolSpecification") or {}
        pool = self.account.pools.get(self.auto_pool_id)
        if pool is not None and not specification.get("keepAlive") and pool.state != "deleting":
            pool.delete()


def _after(moment: datetime, length: timedelta) -> datetime:
    """The moment so much later, or the last one that there is: clients send durations of thousands of years."""
    try:
        return moment + length
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
