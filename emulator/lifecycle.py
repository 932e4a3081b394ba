"""Which states follow which: one table a resource, and the only place that assigns a state.

`docs/emulator.md` draws these tables; `tests/emulator/test_lifecycle.py` compares the two.
"""

from __future__ import annotations

from enum import Enum

from azure.batch.models import (
    AllocationState,
    BatchJob,
    BatchJobSchedule,
    BatchJobScheduleState,
    BatchJobState,
    BatchNode,
    BatchNodeState,
    BatchPool,
    BatchPoolState,
    BatchTask,
    BatchTaskState,
)

from emulator.retired import CertificateModel, CertificateState

_T, _J, _N, _P, _A = BatchTaskState, BatchJobState, BatchNodeState, BatchPoolState, AllocationState
_S, _C = BatchJobScheduleState, CertificateState

TASK_TRANSITIONS = {
    _T.ACTIVE: {_T.PREPARING, _T.RUNNING, _T.COMPLETED},  # COMPLETED: ended before it ever ran
    _T.PREPARING: {_T.RUNNING, _T.ACTIVE, _T.COMPLETED},  # ACTIVE: its job preparation task failed
    _T.RUNNING: {_T.COMPLETED, _T.ACTIVE},  # ACTIVE: a retry, or its node left
    _T.COMPLETED: {_T.ACTIVE},  # reactivated
}
JOB_TRANSITIONS = {
    _J.ACTIVE: {_J.DISABLING, _J.TERMINATING, _J.DELETING},
    _J.DISABLING: {_J.DISABLED, _J.TERMINATING, _J.DELETING},
    _J.DISABLED: {_J.ENABLING, _J.TERMINATING, _J.DELETING},
    _J.ENABLING: {_J.ACTIVE, _J.TERMINATING, _J.DELETING},
    _J.TERMINATING: {_J.COMPLETED, _J.DELETING},
    _J.COMPLETED: {_J.DELETING},
    _J.DELETING: set[BatchJobState](),
}
JOB_SCHEDULE_TRANSITIONS = {
    _S.ACTIVE: {_S.DISABLED, _S.TERMINATING, _S.COMPLETED, _S.DELETING},  # COMPLETED: there will be no more jobs
    _S.DISABLED: {_S.ACTIVE, _S.TERMINATING, _S.DELETING},
    _S.TERMINATING: {_S.COMPLETED, _S.DELETING},
    _S.COMPLETED: {_S.DELETING},
    _S.DELETING: set[BatchJobScheduleState](),
}
POOL_TRANSITIONS = {
    _P.ACTIVE: {_P.DELETING},
    _P.DELETING: set[BatchPoolState](),
}
ALLOCATION_TRANSITIONS = {
    _A.STEADY: {_A.RESIZING},
    _A.RESIZING: {_A.STEADY, _A.STOPPING},
    _A.STOPPING: {_A.STEADY},
}
# What can befall a node whatever it does: it leaves, is taken away, breaks, falls silent, is set up anew.
_ANY_TIME = {
    _N.LEAVING_POOL,
    _N.PREEMPTED,
    _N.UNUSABLE,
    _N.UNKNOWN,
    _N.REBOOTING,
    _N.REIMAGING,
    _N.DEALLOCATING,
}
NODE_TRANSITIONS = {
    _N.CREATING: {_N.STARTING, _N.PREEMPTED, _N.LEAVING_POOL},
    _N.STARTING: {_N.WAITING_FOR_START_TASK, _N.IDLE, *_ANY_TIME},
    _N.WAITING_FOR_START_TASK: {_N.IDLE, _N.START_TASK_FAILED, *_ANY_TIME},
    _N.START_TASK_FAILED: {*_ANY_TIME},
    _N.IDLE: {_N.RUNNING, *_ANY_TIME},
    _N.RUNNING: {_N.IDLE, *_ANY_TIME},
    _N.REBOOTING: {_N.STARTING, _N.LEAVING_POOL},
    _N.REIMAGING: {_N.STARTING, _N.LEAVING_POOL},
    _N.DEALLOCATING: {_N.DEALLOCATED, _N.LEAVING_POOL},
    _N.DEALLOCATED: {_N.STARTING, _N.LEAVING_POOL},
    _N.UNUSABLE: {_N.REBOOTING, _N.REIMAGING, _N.LEAVING_POOL},
    _N.UNKNOWN: {_N.REBOOTING, _N.REIMAGING, _N.LEAVING_POOL},
    _N.PREEMPTED: {_N.STARTING, _N.LEAVING_POOL},  # STARTING: there is spot capacity again
    _N.LEAVING_POOL: set[BatchNodeState](),
}
CERTIFICATE_TRANSITIONS = {
    _C.ACTIVE: {_C.DELETING},
    _C.DELETING: {_C.DELETE_FAILED},  # a pool refers to it
    _C.DELETE_FAILED: {_C.DELETING, _C.ACTIVE},  # ACTIVE: its deletion was cancelled
}
OVER = ("completed", "deleting")
"""States of jobs and job schedules that do nothing more."""
TRANSITIONS: dict[type, dict] = {
    BatchTask: TASK_TRANSITIONS,
    BatchJob: JOB_TRANSITIONS,
    BatchJobSchedule: JOB_SCHEDULE_TRANSITIONS,
    BatchPool: POOL_TRANSITIONS,
    BatchNode: NODE_TRANSITIONS,
    CertificateModel: CERTIFICATE_TRANSITIONS,
}


_Resource = BatchTask | BatchJob | BatchJobSchedule | BatchPool | BatchNode | CertificateModel


class IllegalTransition(Exception):
    """A resource was to enter a state that cannot follow its present one: a fault of the emulator."""

    def __init__(self, model: _Resource, start: str, finish: Enum) -> None:
        name = model.get("id") or model.get("thumbprint")
        super().__init__(f"{type(model).__name__} {name!r} cannot go from {start} to {finish.value}")


def transition(model: _Resource, finish: Enum, now: str) -> None:
    """Let a resource enter a state, at `now` as written in bodies.

    Raises:
        IllegalTransition: when the table does not allow it.
    """
    start = model.get("state")
    if start is not None:
        if finish not in TRANSITIONS[type(model)][start]:
            raise IllegalTransition(model, start, finish)
        if not isinstance(model, BatchPool | BatchNode):
            model["previousState"] = start
            model["previousStateTransitionTime"] = model["stateTransitionTime"]
    model["state"] = finish.value
    model["stateTransitionTime"] = now


def transition_allocation(model: BatchPool, finish: AllocationState, now: str) -> None:
    """Let a pool's allocation, the second axis of its state, enter a state.

    Raises:
        IllegalTransition: when the table does not allow it.
    """
    start = model.get("allocationState")
    if start is not None and finish not in ALLOCATION_TRANSITIONS[AllocationState(start)]:
        raise IllegalTransition(model, start, finish)
    model["allocationState"] = finish.value
    model["allocationStateTransitionTime"] = now
