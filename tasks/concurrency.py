"""Many calls at once, but only so many; and work that is done to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def for_each(call: Callable[[Item], Awaitable[None]], items: Iterable[Item], at_once: int) -> None:
    """Await `call(item)` for all items, `at_once` of them at a time.

    The first error ends it: calls under way are cancelled and awaited, then the error is raised as it is
    (a TaskGroup would wrap it, and a step's retry condition looks at its type).
    """
    remaining = iter(items)

    async def take() -> None:
        for item in remaining:
            await call(item)

    takers = [asyncio.create_task(take()) for _ in range(at_once)]
    try:
        await asyncio.gather(*takers)
    finally:
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)


async def to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Await work that must be done to its end, also in a flow that is being cancelled, and cancelled again.

    A cancellation that arrives meanwhile is raised when the work is done.
    """
    ending = asyncio.ensure_future(work)
    cancellation = None
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError as cancelled:
            if ending.cancelled():
                raise
            cancellation = cancelled
    if cancellation:
        raise cancellation
    return ending.result()
