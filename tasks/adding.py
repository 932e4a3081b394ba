"""Adding many Batch tasks to a job: in collections, several at a time, each task exactly once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import TypeVar

from azure.batch.aio import BatchClient
from azure.batch.models import (
    BatchCreateTaskCollectionResult,
    BatchTaskCreateOptions,
    BatchTaskCreateResult,
    BatchTaskGroup,
)
from azure.core.exceptions import AzureError, HttpResponseError

from tasks.concurrency import for_each
from tasks.errors import RunFailed, TryAgain, brief, error_code
from tasks.retries import TROUBLE, patiently

COLLECTION = 100  # tasks; Batch takes no more in one call
AT_ONCE = 4  # collections

Item = TypeVar("Item")


async def add_all(
    batch: BatchClient,
    job_id: str,
    items: Iterable[Item],
    make: Callable[[Item], Awaitable[BatchTaskCreateOptions]],
    patience: timedelta = TROUBLE,
) -> None:
    """Add a Batch task for each item; one that is there already, from a call whose answer was lost, is as good.

    Args:
        make: makes an item's task; called just before its collection is sent, so that none waits in memory.
        patience: for how long a service in trouble is asked again.

    Raises RunFailed when Batch takes a task for wrong, or is in trouble for too long.
    """

    async def add(collection: Sequence[Item]) -> None:
        await _add(batch, job_id, [await make(item) for item in collection], patience)

    await for_each(add, in_collections(items), AT_ONCE)


def in_collections(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Up to a hundred items at a time."""
    remaining = iter(items)
    while collection := list(islice(remaining, COLLECTION)):
        yield collection


async def _add(
    batch: BatchClient, job_id: str, batch_tasks: Sequence[BatchTaskCreateOptions], patience: timedelta
) -> None:
    """Add these; what the service could not take is sent again until its patience ends."""
    left = list(batch_tasks)

    async def send() -> None:
        nonlocal left
        answer = await batch.create_task_collection(job_id, BatchTaskGroup(task_values=left))
        again = not_taken(job_id, answer)
        left = [one for one in left if one.id in again]
        if left:
            raise TryAgain(f"Batch could not take {len(left)} tasks of job {job_id} now")

    try:
        await patiently(send, patience)
    except HttpResponseError as error:
        if error_code(error) != "RequestBodyTooLarge" or len(left) == 1:
            raise _refused(job_id, error) from error
        half = len(left) // 2
        await _add(batch, job_id, left[:half], patience)
        await _add(batch, job_id, left[half:], patience)
    except (AzureError, TryAgain) as error:
        raise _refused(job_id, error) from error


def _refused(job_id: str, error: AzureError | TryAgain) -> RunFailed:
    cause = str(error) if isinstance(error, TryAgain) else brief(error)
    return RunFailed(f"The tasks of job {job_id} cannot be added: {cause}.")


def not_taken(job_id: str, answer: BatchCreateTaskCollectionResult) -> set[str]:
    """The ids of the tasks that the service could not take now. Raises RunFailed for one that it takes for wrong.

    The service writes "Success" and "ClientError", the SDK's enumeration has "success" and "clienterror": its
    comparison lets capitalised errors pass as results.
    """
    again = set()
    for result in answer.result_values or []:
        status = _status(result)
        if status == "success" or _code(result) == "TaskExists":
            continue
        if status != "servererror":
            raise RunFailed(f"Batch does not take the task {result.task_id} of job {job_id}: {_code(result)}.")
        again.add(result.task_id)
    return again


def _status(result: BatchTaskCreateResult) -> str:
    return str(getattr(result.status, "value", result.status)).lower()


def _code(result: BatchTaskCreateResult) -> str | None:
    return result.error.code if result.error else None
