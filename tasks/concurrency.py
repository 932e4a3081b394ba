"""Many calls at once, but only so many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


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
