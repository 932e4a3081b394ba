"""Which errors may pass by themselves, and how a step waits for that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from tasks.errors import TryAgain

# 501 and 505 say that the service will never do this; any other 5xx says "not now".
PASSING_STATUS = {408, 429} | (set(range(500, 600)) - {501, 505})


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed later: throttling, the service's own trouble, a lost connection."""
    if isinstance(error, HttpResponseError):
        return error.status_code in PASSING_STATUS
    return isinstance(error, TryAgain | ServiceRequestError | ServiceResponseError | TimeoutError | ConnectionError)


async def _failed_in_passing(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    error = await state.result(raise_on_failure=False)  # pyright: ignore[reportGeneralTypeIssues]
    if not isinstance(error, BaseException) or not is_transient(error):
        return False
    get_run_logger().warning("%s: %s; trying again", task.name, error)
    return True


class _Step(TypedDict):
    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], Any]
    cache_policy: CachePolicy


# The options of a step's `@task`: idempotent, so repeated while its error may pass; never read from a cache,
# because it is there for its effect.
STEP: _Step = {
    "retries": 4,
    "retry_delay_seconds": exponential_backoff(1),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _failed_in_passing,
    "cache_policy": NO_CACHE,
}
