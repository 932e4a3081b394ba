"""How a Batch task ended, by what Batch says of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from azure.batch.models import BatchTask, BatchTaskExecutionResult

from tasks.clients import Clients
from tasks.policies import failure_class

STDERR_TAIL_BYTES = 2000
# What a listing has to select for `read_outcome`.
FIELDS = ["id", "state", "stateTransitionTime", "creationTime", "executionInfo", "nodeInfo"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a Batch task ended."""

    batch_task_id: str
    node_id: str
    exit_code: int | None  # None: it never ran
    added: datetime
    started: datetime | None  # of its last attempt: when its node began to fetch its files
    ended: datetime | None
    retries: int = 0  # by Batch, after exits other than 0
    requeues: int = 0  # after its node had left
    failure: str | None = None  # its class, see tasks/policies.py; None: it succeeded
    message: str = ""  # Batch's own words for the failure

    @property
    def seconds(self) -> float:
        """From the start of its last attempt to its end."""
        return (self.ended - self.started).total_seconds() if self.started and self.ended else 0.0


def read_outcome(batch_task: BatchTask) -> Outcome:
    """What a completed Batch task says of its end."""
    execution, node = batch_task.execution_info, batch_task.node_info
    assert execution is not None and batch_task.creation_time is not None  # selected, and completed
    outcome = Outcome(
        batch_task_id=batch_task.id,
        node_id=node.node_id or "" if node else "",
        exit_code=execution.exit_code,
        added=batch_task.creation_time,
        started=execution.start_time,
        ended=execution.end_time,
        retries=execution.retry_count,
        requeues=execution.requeue_count,
    )
    if execution.result == BatchTaskExecutionResult.SUCCESS:
        return outcome
    info = execution.failure_info
    code = info.code or "" if info else ""
    message = info.message or code if info else "the task failed"
    return replace(outcome, failure=failure_class(code), message=message)


def logs_of(batch_task_id: str) -> str:
    """Where a Batch task's stdout.txt and stderr.txt are uploaded to in the output container."""
    return f"logs/{batch_task_id}"


async def stderr_tail(clients: Clients, output_container: str, batch_task_id: str) -> str:
    """The end of what a Batch task wrote to stderr, as it was uploaded at its end. Raises azure-core's errors."""
    name = f"{logs_of(batch_task_id)}/stderr.txt"
    blob = clients.blobs.get_blob_client(output_container, name)
    size = (await blob.get_blob_properties()).size
    if not size:
        return ""
    stream = await blob.download_blob(offset=max(0, size - STDERR_TAIL_BYTES), length=STDERR_TAIL_BYTES)
    return (await stream.readall()).decode("utf-8", "replace")
