"""What keeps waiting Batch tasks from running: each cause with its sentence, in one table.

`CAUSES` is what is looked for, in this order: the first that fits is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from azure.batch.models import BatchJob, BatchJobState, BatchNode, BatchPool, BatchPoolState, BatchTask

from tasks.lease import Lease
from tasks.quotas import Quotas

STDERR_TAIL_CHARACTERS = 300  # in a sentence

# States of a node, by what a waiting task may hope for.
COMING = {"creating", "starting", "waitingforstarttask", "rebooting", "reimaging", "upgradingos"}
UP = {"idle", "running"}
START_TASK_FAILED = "starttaskfailed"
BROKEN = {"unusable", "unknown", "offline"}


@dataclass(frozen=True)
class Evidence:
    """What is known when somebody asks."""

    pool_id: str
    job_id: str
    pool: BatchPool | None  # None: there is none
    nodes: Sequence[BatchNode]
    job: BatchJob | None  # None: there is none
    waiting_task: BatchTask | None
    stderr_tail: str  # of a start task that failed
    quotas: Quotas | None  # None: nobody could tell

    def nodes_in(self, states: set[str]) -> list[BatchNode]:
        """The nodes that are in one of these states."""
        return [node for node in self.nodes if word(node.state) in states]

    @property
    def target(self) -> int:
        """How many nodes the pool is to have."""
        assert self.pool is not None
        return (self.pool.target_dedicated_nodes or 0) + (self.pool.target_low_priority_nodes or 0)

    @property
    def lease(self) -> Lease | None:
        """That of a pool made here; a pool of the user's has none."""
        return Lease.read(self.pool.auto_scale_formula) if self.pool else None

    @property
    def more_come(self) -> bool:
        """Whether nodes start, or the pool is still growing."""
        assert self.pool is not None
        growing = word(self.pool.allocation_state) == "resizing" and len(self.nodes) < self.target
        return growing or bool(self.nodes_in(COMING))


def _job_gone(it: Evidence) -> str | None:
    if it.job is None:
        return f"There is no job {it.job_id} any more, so its tasks never run."
    if it.job.state == BatchJobState.DELETING:
        return f"Job {it.job_id} is being deleted, so its waiting tasks never run."
    return None


def _job_ended(it: Evidence) -> str | None:
    if it.job is None or it.job.state not in (BatchJobState.TERMINATING, BatchJobState.COMPLETED):
        return None
    execution = it.job.execution_info
    reason = f" ({execution.termination_reason})" if execution and execution.termination_reason else ""
    return f"Job {it.job_id} was terminated{reason}, so its waiting tasks never run."


def _job_disabled(it: Evidence) -> str | None:
    if it.job is None or it.job.state not in (BatchJobState.DISABLING, BatchJobState.DISABLED):
        return None
    return f"Job {it.job_id} is disabled, so its tasks wait: enable it (az batch job enable --job-id {it.job_id})."


def _pool_gone(it: Evidence) -> str | None:
    return None if it.pool else f"There is no pool {it.pool_id} any more, so the tasks of job {it.job_id} never run."


def _pool_being_deleted(it: Evidence) -> str | None:
    if it.pool is None or it.pool.state != BatchPoolState.DELETING:
        return None
    return f"Pool {it.pool_id} is being deleted, so the tasks of job {it.job_id} never run."


def _too_many_slots(it: Evidence) -> str | None:
    needed = it.waiting_task.required_slots or 1 if it.waiting_task else 1
    slots = it.pool.task_slots_per_node or 1 if it.pool else 1
    if needed <= slots:
        return None
    return f"A task of job {it.job_id} needs {needed} slots, and a node of pool {it.pool_id} has {slots}."


def _lease_ended(it: Evidence) -> str | None:
    lease, run = it.lease, it.pool.auto_scale_run if it.pool else None
    # By the service's own clock, at its latest evaluation: the nodes that it then takes away still run for a while.
    if lease is None or run is None or run.timestamp < lease.end:
        return None
    return (
        f"The lease of pool {it.pool_id} ended at {lease.end:%H:%M:%S} UTC, so its nodes leave: run again, "
        f"with more max_node_hours if that was its limit."
    )


def _formula_error(it: Evidence) -> str | None:
    run = it.pool.auto_scale_run if it.pool else None
    if run is None or run.error is None or it.nodes:
        return None
    return f"The autoscale formula of pool {it.pool_id} fails: {run.error.code}: {_line(run.error.message)}."


def _quota(it: Evidence) -> str | None:
    codes = quota_codes(it.pool)
    if it.nodes or not codes:
        return None
    limits = ""
    if it.quotas:
        limits = f" (its quotas are {it.quotas.dedicated_cores} dedicated and {it.quotas.spot_cores} spot cores)"
    return (
        f"Pool {it.pool_id} gets no nodes, as a quota of the Batch account is reached: {', '.join(codes)}{limits}: "
        f"ask for fewer nodes or another VM size, delete other pools, or have the quota raised."
    )


def _vm_size(it: Evidence) -> str | None:
    if it.pool is None or it.nodes or not _resize_codes(it.pool, lambda code: code == "UnsupportedVMSize"):
        return None
    return f"Pool {it.pool_id} gets no nodes: this region has none of the VM size {it.pool.vm_size}; choose another."


def _no_capacity(it: Evidence) -> str | None:
    codes = _resize_codes(it.pool, lambda code: not _is_quota(code))
    if it.pool is None or it.nodes or not codes or it.more_come:
        return None
    message = "; ".join(
        f"{error.code}: {_line(error.message)}" for error in it.pool.resize_errors or () if error.code in codes
    )
    again = "Batch tries again at the next evaluation" if it.pool.enable_auto_scale else "resize it to try again"
    return f"Pool {it.pool_id} gets no nodes now ({message}): {again}."


def _no_nodes_wanted(it: Evidence) -> str | None:
    if it.pool is None or it.nodes or it.target or (it.lease and it.pool.auto_scale_run is None):
        return None
    advice = "its autoscale formula wants none now" if it.pool.enable_auto_scale else "resize it"
    return f"Pool {it.pool_id} has 0 nodes and is to have none: {advice}."


def _no_nodes_yet(it: Evidence) -> str | None:
    if it.nodes:
        return None
    wanted = it.target or (it.lease.nodes + it.lease.spot_nodes if it.lease else 0)
    return f"Pool {it.pool_id} waits for its first of {_nodes_number(wanted)}."


def _start_tasks_failed(it: Evidence) -> str | None:
    failed = it.nodes_in({START_TASK_FAILED})
    if not failed or it.more_come or len(failed) < len(it.nodes):
        return None
    return f"The start task failed on {_all_nodes(len(failed))} of pool {it.pool_id} {_failure(it, failed)}."


def _some_start_tasks_failed(it: Evidence) -> str | None:
    failed = it.nodes_in({START_TASK_FAILED})
    if not failed or not it.more_come:
        return None
    coming = max(len(it.nodes_in(COMING)), it.target - len(it.nodes))
    return (
        f"The start task failed on {len(failed)} of {_nodes_number(max(it.target, len(it.nodes)))} of pool "
        f"{it.pool_id} {_failure(it, failed)}; {_nodes_number(coming)} still to come."
    )


def _nodes_starting(it: Evidence) -> str | None:
    coming = len(it.nodes_in(COMING))
    if it.nodes_in(UP) or not (coming or it.more_come):
        return None
    if not coming:
        return f"Pool {it.pool_id} is being resized: {len(it.nodes)} of {_nodes_number(it.target)} are there."
    verb = "is" if coming == 1 else "are"
    return f"{_nodes_number(coming)} of pool {it.pool_id} {verb} starting."


def _nodes_unusable(it: Evidence) -> str | None:
    broken = it.nodes_in(BROKEN)
    if not broken or it.nodes_in(UP):
        return None
    states = ", ".join(sorted({word(node.state) for node in broken}))
    errors = [error for node in broken for error in node.errors or ()][:1]
    why = f" ({errors[0].code}: {_line(errors[0].message)})" if errors else ""
    return (
        f"{len(broken)} of {_nodes_number(len(it.nodes))} of pool {it.pool_id} cannot run tasks: {states}{why}; "
        f"reboot, reimage or remove what Batch does not recover."
    )


def _preempted(it: Evidence) -> str | None:
    preempted = it.nodes_in({"preempted"})
    if not preempted or it.nodes_in(UP):
        return None
    return (
        f"Azure has taken {len(preempted)} of {_nodes_number(len(it.nodes))} of pool {it.pool_id} away: "
        f"spot nodes come back when there is capacity."
    )


def _scheduling_disabled(it: Evidence) -> str | None:
    up = it.nodes_in(UP)
    if not up or any(word(node.scheduling_state) != "disabled" for node in up):
        return None
    return f"Scheduling is disabled on {_all_nodes(len(up))} of pool {it.pool_id}: enable it on one."


def _nodes_leaving(it: Evidence) -> str | None:
    if not it.nodes or it.nodes_in(UP):
        return None
    states = ", ".join(sorted({word(node.state) for node in it.nodes}))
    return f"No node of pool {it.pool_id} takes tasks: {_nodes_number(len(it.nodes))}, {states}."


def _nodes_busy(it: Evidence) -> str | None:
    slots = it.pool.task_slots_per_node or 1 if it.pool else 1
    up = [node for node in it.nodes_in(UP) if word(node.scheduling_state) != "disabled"]
    if not up or any((node.running_task_slots_count or 0) < slots for node in up):
        return None
    return f"Other jobs' tasks keep {_all_nodes(len(up))} of pool {it.pool_id} busy."


def _failure(it: Evidence, failed: Sequence[BatchNode]) -> str:
    """Why the first start task failed, in brackets, and the end of what it wrote to stderr."""
    info = failed[0].start_task_info
    failure = info.failure_info if info else None
    if info and info.exit_code is not None:
        words = f"exit code {info.exit_code}"
    elif failure:
        words = f"{failure.code}: {_line(failure.message)}"
    else:
        words = "Batch does not say why"
    lines = [line.strip() for line in it.stderr_tail.splitlines() if line.strip()]
    said = " | ".join(lines)[-STDERR_TAIL_CHARACTERS:].rstrip(".")
    return f"({words}){f': {said}' if said else ''}"


def _nodes_number(number: int) -> str:
    return f"{number} node{'' if number == 1 else 's'}"


def _all_nodes(number: int) -> str:
    return "the one node" if number == 1 else f"all {number} nodes"


def _line(message: str | None) -> str:
    """A message of the service, for the middle of a sentence."""
    return " ".join((message or "").split()).rstrip(".")


def word(state: object) -> str:
    """A state as the wire has it, also one that the SDK's enumeration lacks."""
    return str(getattr(state, "value", state)).lower()


def quota_codes(pool: BatchPool | None) -> list[str]:
    """The resize errors that say that one of the account's quotas is reached."""
    return _resize_codes(pool, _is_quota)


def _is_quota(code: str) -> bool:
    # AccountCoreQuotaReached, AccountSpotCoreQuotaReached, AccountVMSeriesCoreQuotaReached and older ones
    return code.endswith("QuotaReached")


def _resize_codes(pool: BatchPool | None, of: Callable[[str], bool]) -> list[str]:
    return [error.code for error in (pool.resize_errors if pool else None) or () if error.code and of(error.code)]


@dataclass(frozen=True)
class Cause:
    """One reason why nothing runs; `find` gives its sentence where it is the reason."""

    name: str
    find: Callable[[Evidence], str | None]
    heals: bool
    because: str


# What never heals comes first: beside it, it does not matter what else the tasks wait for.
CAUSES = (
    Cause("job gone", _job_gone, False, "a deleted job and its tasks do not come back"),
    Cause("job ended", _job_ended, False, "a completed job takes up no task again"),
    Cause("pool gone", _pool_gone, False, "nobody makes that pool again"),
    Cause("pool being deleted", _pool_being_deleted, False, "a deletion cannot be taken back"),
    Cause("too many slots", _too_many_slots, False, "a pool's slots are fixed when it is made"),
    Cause("lease ended", _lease_ended, False, "the run may pay for no more nodes"),
    Cause("formula error", _formula_error, False, "the same formula fails at each evaluation"),
    Cause("quota", _quota, False, "a quota is raised by a request that takes days"),
    Cause("VM size", _vm_size, False, "the region will not have that size in time"),
    Cause("start tasks failed", _start_tasks_failed, False, "Batch does not run it again by itself"),
    Cause("job disabled", _job_disabled, True, "somebody did that, and can enable it again"),
    Cause("no capacity", _no_capacity, True, "other customers' nodes end, and Batch tries again"),
    Cause("no nodes wanted", _no_nodes_wanted, True, "the pool's formula or its owner may want some"),
    Cause("no nodes yet", _no_nodes_yet, True, "nodes take minutes"),
    Cause("some start tasks failed", _some_start_tasks_failed, True, "those of the other nodes may succeed"),
    Cause("nodes starting", _nodes_starting, True, "nodes take minutes"),
    Cause("nodes unusable", _nodes_unusable, True, "Batch tries to recover them by itself"),
    Cause("nodes pre-empted", _preempted, True, "spot nodes come back when Azure has capacity"),
    Cause("scheduling disabled", _scheduling_disabled, True, "somebody did that, and can enable it again"),
    Cause("nodes leaving", _nodes_leaving, True, "the pool's formula or its owner may want some"),
    Cause("nodes busy", _nodes_busy, True, "other jobs' tasks end"),
)
