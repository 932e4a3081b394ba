"""Which errors may pass by themselves, and how a step waits for that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypedDict, TypeVar

from azure.core.exceptions import AzureError, HttpResponseError, ServiceRequestError, ServiceResponseError
from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from tasks.errors import TryAgain, brief
from tasks.logs import run_logger

Result = TypeVar("Result")

TROUBLE = timedelta(minutes=5)  # of a service that a run lives through
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0

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


async def patiently(call: Callable[[], Awaitable[Result]], patience: timedelta = TROUBLE) -> Result:
    """Await `call()`, again and again while its error may pass, with growing pauses or those that Retry-After asks for.

    Raises the last error when the trouble has lasted longer than `patience`.
    """
    loop = asyncio.get_running_loop()
    pause_seconds, last = FIRST_PAUSE_SECONDS, loop.time() + patience.total_seconds()
    while True:
        try:
            return await call()
        except Exception as error:
            asked = _retry_after_seconds(error)
            wait = max(asked, pause_seconds * random.uniform(0.75, 1.25))
            if not is_transient(error) or loop.time() + wait > last:
                raise
            run_logger().warning("%s; trying again", brief(error) if isinstance(error, AzureError) else error)
            await asyncio.sleep(wait)
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)


def _retry_after_seconds(error: Exception) -> float:
    headers = getattr(error.response, "headers", {}) if isinstance(error, HttpResponseError) else {}
    try:
        return float(headers.get("Retry-After", 0))
    except ValueError:  # a date, which neither service sends
        return 0.0
