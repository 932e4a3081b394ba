"""Resources by id, case-insensitively, and in order of creation for lists that are read page by page."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

_SCANNED = 10_000  # items a page looks at before it is answered short, so that a filter cannot hold everyone up


class _Listed(Protocol):
    serial: int
    model: Any


T = TypeVar("T", bound=_Listed)


class Listing(Generic[T]):
    """Resources by lower-cased id; their serials grow as they are added."""

    def __init__(self) -> None:
        self._by_id: dict[str, T] = {}
        self._in_order: list[T] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._in_order))

    def __contains__(self, item_id: str) -> bool:
        return item_id.lower() in self._by_id

    def get(self, item_id: str) -> T | None:
        """The resource of an id, if there is one."""
        return self._by_id.get(item_id.lower())

    def add(self, item_id: str, item: T) -> None:
        """Add a resource, the newest of all."""
        self._by_id[item_id.lower()] = item
        self._in_order.append(item)

    def remove(self, item_id: str) -> None:
        """Forget a resource."""
        item = self._by_id.pop(item_id.lower())
        del self._in_order[bisect.bisect_left(self._in_order, item.serial, key=lambda listed: listed.serial)]

    def page(self, after: int, size: int, wanted: Callable[[Any], bool] | None) -> tuple[list[T], int | None]:
        """Up to `size` resources created after the serial `after`, and the serial to go on from, if any.

        It costs the same whichever page it is.
        """
        start = bisect.bisect_right(self._in_order, after, key=lambda listed: listed.serial)
        found: list[T] = []
        for place in range(start, min(start + _SCANNED, len(self._in_order))):
            item = self._in_order[place]
            if wanted is None or wanted(item.model):
                if len(found) == size:
                    return found, found[-1].serial
                found.append(item)
        stop = start + _SCANNED
        return found, (self._in_order[stop - 1].serial if stop < len(self._in_order) else None)
