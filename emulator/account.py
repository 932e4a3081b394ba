"""A Batch account: its pools and jobs, its clock and delays. Everything in it is its own."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from azure.batch.models import BatchPoolUsageMetrics

from emulator.account_certificate import Certificate
from emulator.attempt import Command, Outcome, attempt
from emulator.capacity import Quotas, Shortage
from emulator.clock import Clock
from emulator.errors import JobNotFound, JobScheduleNotFound, PoolNotFound
from emulator.faults import Faults
from emulator.job import Job
from emulator.job_schedule import JobSchedule
from emulator.listing import Listing
from emulator.pool import Pool
from emulator.queue import Queue
from emulator.resource_files import Sources
from emulator.settings import Settings
from emulator.statistics import Statistics
from emulator.storage import Storage

if TYPE_CHECKING:
    from emulator.service import Service

R = TypeVar("R")
_PAST_USAGE = 10_000  # deleted pools whose usage is remembered


@dataclass
class Delays:
    """How long the service takes for things, in seconds before `--speed` shortens them.

    The defaults are kind to people; Azure takes minutes for the first ones.
    """

    allocation: float = 1.0
    """From the start of a resize to the first node."""
    create: float = 0.5
    """A node's `creating`."""
    start: float = 0.2
    """A node's `starting`."""
    leave: float = 0.2
    """A node's `leavingpool`."""
    reboot: float = 1.0
    """A node's `rebooting`, `reimaging`, `deallocating`."""
    capacity: float = 5.0
    """From a spot node's pre-emption to its return."""
    delete: float = 1.0
    """How long a deleted pool or job stays `deleting`."""
    job: float = 0.2
    """A job's `disabling`, `enabling`, `terminating`."""


class Account:
    """One account. Its methods are synchronous, so between two awaits nothing of it changes."""

    def __init__(self, name: str, service: Service) -> None:
        self.name = name
        self.service = service
        self.clock = Clock(service.settings.speed)
        self.delays = Delays()
        self.quotas = Quotas()
        self.faults = Faults()
        self.storage = Storage(
            self.clock, service.settings.storage_timeout, service.settings.auto_storage, service.storage_session
        )
        self.shortage: Shortage | None = None
        self.pools = Listing[Pool]()
        self.past_usage: deque[BatchPoolUsageMetrics] = deque(maxlen=_PAST_USAGE)  # that of deleted pools
        self.past_core_time = timedelta(0)  # that of all dedicated nodes of deleted pools
        self.since = self.clock.stamp()
        self.statistics = Statistics()  # of all its jobs, ever
        self.jobs = Listing[Job]()
        self.job_schedules = Listing[JobSchedule]()
        self.certificates = Listing[Certificate]()
        self.broken: list[str] = []  # what went wrong in the emulator itself; a check fails on it
        self.closing = False
        self.attempts = 0  # commands that run
        self._serials = itertools.count(1)
        self._queues: dict[str, Queue] = {}
        self._going_on: set[asyncio.Task[Any]] = set()

    @property
    def settings(self) -> Settings:
        """What the emulator was started with."""
        return self.service.settings

    @property
    def directory(self) -> Path:
        """Where the account's pools keep their nodes."""
        return self.service.nodes / self.name

    def next_serial(self) -> int:
        """A number greater than all before: the order of creation."""
        return next(self._serials)

    def spawn(self, coroutine: Coroutine[Any, Any, R]) -> asyncio.Task[R]:
        """Let something go on; should it fail, the emulator has a fault, which is remembered.

        In an account that was closed nothing begins: a request may still be on its way through it.
        """
        task = asyncio.get_running_loop().create_task(coroutine)
        if self.closing:
            task.cancel()
        self._going_on.add(task)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._going_on.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._broke(error)

    def _broke(self, error: BaseException) -> None:
        self.broken.append(f"{type(error).__name__}: {error}")
        self.service.log.error("a fault of the emulator in account %s", self.name, exc_info=error)

    def later(self, length: timedelta, call: Callable[..., None], *arguments: Any) -> asyncio.TimerHandle:
        """Call something after a user's own length of time, which `--speed` does not shorten."""

        def due() -> None:
            try:
                call(*arguments)
            except Exception as error:
                self._broke(error)

        return asyncio.get_running_loop().call_later(length.total_seconds(), due)

    async def attempt(self, command: Command, storage: Storage) -> Outcome:
        """Run a command once on behalf of a node, which reaches storage in its own way."""
        self.attempts += 1
        try:
            sources = Sources(self.service.client, storage)
            return await attempt(command, self.service.processes, self.service.removal, sources)
        finally:
            self.attempts -= 1

    def queue(self, pool_id: str) -> Queue:
        """The ready tasks for a pool of this id, existing or not."""
        return self._queues.setdefault(pool_id.lower(), Queue())

    def schedule(self, pool_id: str) -> None:
        """Let the pool of this id, if there is one, take ready tasks."""
        pool = self.pools.get(pool_id)
        if pool is not None:
            pool.schedule()

    def pool(self, pool_id: str) -> Pool:
        """The pool of an id, however it is capitalised.

        Raises:
            PoolNotFound: when there is none.
        """
        pool = self.pools.get(pool_id)
        if pool is None:
            raise PoolNotFound
        return pool

    def job(self, job_id: str) -> Job:
        """The job of an id, however it is capitalised.

        Raises:
            JobNotFound: when there is none.
        """
        job = self.jobs.get(job_id)
        if job is None:
            raise JobNotFound
        return job

    def job_schedule(self, schedule_id: str) -> JobSchedule:
        """The job schedule of an id, however it is capitalised.

        Raises:
            JobScheduleNotFound: when there is none.
        """
        schedule = self.job_schedules.get(schedule_id)
        if schedule is None:
            raise JobScheduleNotFound
        return schedule

    async def close(self) -> None:
        """End everything that goes on, tasks' processes first of all."""
        self.closing = True
        for schedule in self.job_schedules:
            schedule.close()
        while self._going_on:
            for task in list(self._going_on):
                task.cancel()
            await asyncio.gather(*self._going_on, return_exceptions=True)
