"""Why is nothing running? The cause in a sentence while Batch tasks wait, and whether that heals.

Batch itself never says: tasks wait as long as it takes, without an error, while the cause stands at the pool, at a
node or at the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azure.batch.models import BatchJob, BatchNode, BatchPool, BatchTask
from azure.core.exceptions import AzureError, ResourceNotFoundError

from tasks.causes import CAUSES, START_TASK_FAILED, Evidence, quota_codes, word
from tasks.clients import Clients
from tasks.errors import BadInput, brief
from tasks.logs import redacted
from tasks.quotas import Quotas, read_quotas

POOL_FIELDS = [
    *("id", "state", "allocationState", "resizeErrors", "enableAutoScale", "autoScaleFormula", "autoScaleRun"),
    *("currentDedicatedNodes", "currentLowPriorityNodes", "targetDedicatedNodes", "targetLowPriorityNodes"),
    *("taskSlotsPerNode", "vmSize"),
]
NODE_FIELDS = ["id", "state", "schedulingState", "startTaskInfo", "errors", "runningTaskSlotsCount"]
STDERR_TAIL_BYTES = 2000


@dataclass(frozen=True)
class Diagnosis:
    """Why nothing runs."""

    sentence: str
    heals: bool  # False: the run may as well end now, with this sentence


def explain(
    pool: BatchPool | None,
    nodes: Sequence[BatchNode],
    job: BatchJob | None,
    waiting_task: BatchTask | None,
    stderr_tail: str,
    *,
    pool_id: str = "",
    job_id: str = "",
    quotas: Quotas | None = None,
) -> Diagnosis | None:
    """Judge what Batch says of a job of which tasks wait and none runs; None: nothing is in their way.

    Args:
        stderr_tail: of a start task that failed, if one did.
        pool_id, job_id: for the sentences about a pool or job that is None.
        quotas: the account's, where they are known.
    """
    names = (pool.id if pool and pool.id else pool_id, job.id if job and job.id else job_id)
    evidence = Evidence(*names, pool, nodes, job, waiting_task, stderr_tail, quotas)
    for cause in CAUSES:
        if sentence := cause.find(evidence):
            return Diagnosis(sentence, cause.heals)
    return None


async def diagnose(clients: Clients, pool_id: str, job_id: str) -> Diagnosis | None:
    """Ask Batch why the waiting tasks of this job do not run on this pool; None: nothing is in their way.

    Five calls at the most, one more for each thousand nodes. Raises azure-core's errors when Batch cannot be asked.
    """
    pool = await _pool(clients, pool_id)
    nodes = await _nodes(clients, pool_id) if pool else []
    job = await _job(clients, job_id)
    waiting = await _waiting_task(clients, job_id) if job else None
    tail = await _stderr_tail(clients, pool_id, nodes)
    quotas = await _quotas(clients) if quota_codes(pool) else None
    return explain(pool, nodes, job, waiting, tail, pool_id=pool_id, job_id=job_id, quotas=quotas)


async def _pool(clients: Clients, pool_id: str) -> BatchPool | None:
    try:
        return await clients.batch.get_pool(pool_id, select=POOL_FIELDS)
    except ResourceNotFoundError:
        return None


async def _nodes(clients: Clients, pool_id: str) -> list[BatchNode]:
    try:
        return [node async for node in clients.batch.list_nodes(pool_id, select=NODE_FIELDS)]
    except ResourceNotFoundError:  # gone meanwhile
        return []


async def _job(clients: Clients, job_id: str) -> BatchJob | None:
    try:
        return await clients.batch.get_job(job_id, select=["id", "state", "executionInfo"])
    except ResourceNotFoundError:
        return None


async def _waiting_task(clients: Clients, job_id: str) -> BatchTask | None:
    found = clients.batch.list_tasks(
        job_id, filter="state eq 'active'", select=["id", "state", "requiredSlots"], max_results=1
    )
    try:
        return await anext(aiter(found), None)
    except ResourceNotFoundError:
        return None


async def _stderr_tail(clients: Clients, pool_id: str, nodes: Sequence[BatchNode]) -> str:
    """The end of what the first start task that failed wrote to stderr, without secrets; or why it cannot be read."""
    failed = next((node for node in nodes if word(node.state) == START_TASK_FAILED), None)
    if failed is None:
        return ""
    path = "startup/stderr.txt"
    try:
        size = (await clients.batch.get_node_file_properties(pool_id, failed.id, path)).content_length or 0
        if not size:
            return ""
        first = max(0, size - STDERR_TAIL_BYTES)
        stream = await clients.batch.download_node_file(pool_id, failed.id, path, ocp_range=f"bytes={first}-{size - 1}")
        content = b"".join([chunk async for chunk in stream])
    except ResourceNotFoundError:  # it was never run, or its node has gone
        return ""
    except AzureError as error:
        return f"its stderr could not be read from the node: {brief(error)}"
    return redacted(content.decode("utf-8", "replace"))


async def _quotas(clients: Clients) -> Quotas | None:
    account_id = clients.settings.batch_account_id
    if clients.management is None or account_id is None:
        return None
    try:
        return await read_quotas(clients.management, account_id)
    except BadInput:  # it only completes a sentence
        return None
