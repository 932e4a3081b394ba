"""A task of a job: the SDK's model of it, and what the emulator must remember beside that."""

from __future__ import annotations

import asyncio
import enum
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from azure.batch.models import BatchJobManagerTask, BatchTask, BatchTaskConstraints, BatchTaskExecutionInfo

from emulator.clock import read_duration
from emulator.resource import Resource

if TYPE_CHECKING:
    from emulator.job import Job
    from emulator.node import Node


class Ending(enum.Enum):
    """Why a task that has a node is being stopped there."""

    REQUEUE = "requeue"
    """Its node goes away, or its job is disabled: it runs again elsewhere."""
    TERMINATE = "terminate"
    """It, or its job, was terminated: it is completed, and failed."""
    UNPREPARED = "unprepared"
    """The job's preparation failed on its node: it waits for another node."""
    DELETE = "delete"
    """It was deleted: nobody will ask how it ended."""


class Task(Resource):
    """One task; `job` alone moves it from state to state."""

    __slots__ = (
        "began",
        "created",
        "ending",
        "held_slots",
        "job",
        "manager",
        "message",
        "model",
        "node",
        "retention",
        "serial",
        "slots",
        "ticket",
        "unmet",
    )

    def __init__(self, job: Job, model: BatchTask, serial: int, manager: BatchJobManagerTask | None = None) -> None:
        self.job = job
        self.manager = manager  # what the job says of it, if it is the job manager task
        self.model = model
        self.serial = serial  # the order of creation, and so of running and listing
        self.slots: int = model["requiredSlots"]
        self.held_slots = 0  # on its node: all of them if it wants the node for itself
        self.node: Node | None = None  # the node it is on, or was on last
        self.created = time.monotonic()
        self.began: float | None = None  # when its latest attempt did, on the clock of `created`
        self.ticket = 0  # the number of its valid entry in the queue; 0 when it is not queued
        self.unmet = 0  # dependencies that are not satisfied yet
        self.ending: Ending | None = None
        self.retention: asyncio.TimerHandle | None = None  # when its files go
        self.message = ""  # what the failure info of a terminated task says

    def forget(self) -> None:
        """Nobody knows the task any more: let nothing keep it."""
        if self.retention is not None:
            self.retention.cancel()

    def fits(self, node: Node) -> bool:
        """Whether a node has room for it, and is of a kind that it may have."""
        if node.free_slots < self.slots or self.job in node.refused:
            return False
        if self.manager is None:
            return True
        alone = not self.manager["runExclusive"] or node.free_slots == node.slots
        return alone and (self.manager["allowLowPriorityNode"] or node.model["isDedicated"])

    def placed(self, node: Node) -> None:
        """Take the slots that it holds on a node."""
        self.held_slots = node.slots if self.manager is not None and self.manager["runExclusive"] else self.slots

    @property
    def execution(self) -> BatchTaskExecutionInfo:
        """How its running went, so far."""
        assert self.model.execution_info is not None, "every task has it from its creation"
        return self.model.execution_info

    @property
    def constraints(self) -> BatchTaskConstraints:
        """Its limits, with the defaults filled in."""
        assert self.model.constraints is not None, "every task has them from its creation"
        return self.model.constraints

    @property
    def limit(self) -> timedelta:
        """The wall clock limit of one attempt."""
        return read_duration(self.constraints["maxWallClockTime"])

    @property
    def retries_left(self) -> bool:
        """Whether a non-zero exit code is to be tried again."""
        allowed = self.constraints["maxTaskRetryCount"]
        return allowed == -1 or self.execution["retryCount"] < allowed
