"""What pools used: the core hours of their nodes, from allocation to leaving."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import isodate
from azure.batch.models import BatchPoolUsageMetrics

from emulator.clock import written
from emulator.options import cores

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.node import Node
    from emulator.pool import Pool

_HOUR = timedelta(hours=1)


class Usage:
    """What one pool has used; nodes that have left are kept as a sum."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._past = {True: timedelta(0), False: timedelta(0)}  # by whether the nodes were dedicated

    def left(self, node: Node) -> None:
        """Add the time of a node that leaves."""
        self._past[node.model["isDedicated"]] += _age(node)

    def core_time(self, *, dedicated: bool) -> timedelta:
        """The time of the cores of its dedicated nodes, or of its spot nodes, from the pool's creation until now."""
        present = (_age(node) for node in self._pool.nodes if node.model["isDedicated"] is dedicated)
        return sum(present, self._past[dedicated]) * cores(self._pool.model["vmSize"])

    def metrics(self) -> BatchPoolUsageMetrics:
        """The usage from the pool's creation until now."""
        total = self.core_time(dedicated=True) + self.core_time(dedicated=False)
        model = self._pool.model
        return BatchPoolUsageMetrics(
            {
                "poolId": self._pool.id,
                "startTime": model["creationTime"],
                "endTime": self._pool.account.clock.stamp(),
                "vmSize": model["vmSize"],
                "totalCoreHours": total / _HOUR,
            }
        )


def _age(node: Node) -> timedelta:
    return node.account.clock.now() - isodate.parse_datetime(node.model["allocationTime"])


def between(account: Account, start: datetime | None, end: datetime | None) -> list[BatchPoolUsageMetrics]:
    """The usage of pools, deleted ones among them, whose time overlaps with that between two moments."""
    found = [*account.past_usage, *(pool.usage.metrics() for pool in account.pools)]
    return [
        metrics
        for metrics in found
        if (start is None or metrics["endTime"] >= written(start))
        and (end is None or metrics["startTime"] <= written(end))
    ]
