"""The lease of a run's own pool: no paid node outlives it, whatever dies.

It is the pool's autoscale formula, which Batch itself evaluates every five minutes: so many nodes until a moment, and
none afterwards. A formula of `time()` alone: those that read samples get stuck where samples are missing. While the
run lives it moves the moment on, up to its ceiling; who wants to know when a pool's time is up reads the formula.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from azure.batch.models import BatchPoolEnableAutoScaleOptions
from azure.core.exceptions import AzureError, ResourceNotFoundError

from tasks.clients import Clients
from tasks.errors import brief
from tasks.logs import run_logger
from tasks.run import Run

INTERVAL = timedelta(minutes=5)  # between two evaluations: Batch takes no shorter one
LENGTH = timedelta(minutes=60)
RETRY = timedelta(seconds=30)  # Batch takes a changed formula no more often, and none while the pool is resizing

_FORMULA = re.compile(
    r'\$TargetDedicatedNodes = time\(\) < time\("(?P<end>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"\) \? (?P<nodes>\d+) : 0;\n'
    r'\$TargetLowPriorityNodes = time\(\) < time\("(?P=end)"\) \? (?P<spot>\d+) : 0;\n'
    r"\$NodeDeallocationOption = requeue;"
)


@dataclass(frozen=True)
class Lease:
    """So many nodes until then, and none afterwards."""

    nodes: int
    spot_nodes: int
    end: datetime  # UTC, in whole seconds

    @property
    def formula(self) -> str:
        """The lease as Batch keeps it."""
        before_end = f'time() < time("{self.end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")'
        return (
            f"$TargetDedicatedNodes = {before_end} ? {self.nodes} : 0;\n"
            f"$TargetLowPriorityNodes = {before_end} ? {self.spot_nodes} : 0;\n"
            "$NodeDeallocationOption = requeue;"
        )

    @classmethod
    def read(cls, formula: str | None) -> Lease | None:
        """The lease in a pool's formula; None where there is none of ours."""
        found = _FORMULA.fullmatch(formula or "")
        if not found:
            return None
        return cls(int(found["nodes"]), int(found["spot"]), datetime.fromisoformat(found["end"]))


@dataclass(frozen=True)
class Terms:
    """What a run's leases may come to."""

    nodes: int
    spot_nodes: int
    max_node_hours: float  # of all nodes together, from the pool's creation
    scale_in: bool = False  # give up nodes that have nothing left to do

    @property
    def longest(self) -> timedelta:
        """How long the pool may have its nodes, from its creation."""
        return timedelta(hours=self.max_node_hours / (self.nodes + self.spot_nodes))

    def first(self, now: datetime) -> Lease:
        """The lease that a pool is created with."""
        return Lease(self.nodes, self.spot_nodes, _seconds(now + min(LENGTH, self.longest)))

    def renewed(self, held: Lease, created: datetime, now: datetime) -> Lease:
        """The lease from now on, for a pool that was created then: never shorter, never beyond the ceiling."""
        end = _seconds(min(now + LENGTH, created + self.longest))
        return Lease(self.nodes, self.spot_nodes, max(held.end, end))


def _seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


@contextlib.asynccontextmanager
async def kept(
    clients: Clients,
    run: Run,
    terms: Terms | None,
    every: timedelta = LENGTH / 3,
    retry: timedelta = RETRY,
    *,
    adopted: bool = False,
) -> AsyncIterator[None]:
    """Renew the lease of the run's pool while the block lasts; with no terms there is none (a pool of the user's).

    The lease of an adopted pool may be about to end, so it is renewed at once.
    """
    if terms is None:
        yield
        return
    every = min(every, INTERVAL) if terms.scale_in else every
    first = timedelta() if adopted else every
    keeping = asyncio.create_task(_keep(clients, run, terms, first, every, retry))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        if not keeping.cancelled() and (error := keeping.exception()):
            run_logger().error("The lease of pool %s was not renewed any more: %r", run.pool_id, error)


async def _keep(clients: Clients, run: Run, terms: Terms, first: timedelta, every: timedelta, retry: timedelta) -> None:
    loop, pause = asyncio.get_running_loop(), first
    while True:
        await asyncio.sleep(pause.total_seconds())
        pause = every
        due, warned = loop.time(), False
        while (trouble := await _try_renew(clients, run, terms)) is not None:
            if not warned and loop.time() - due >= every.total_seconds() / 2:
                warned = True
                run_logger().warning(
                    "The lease of pool %s cannot be renewed (%s): its nodes leave when it ends", run.pool_id, trouble
                )
            await asyncio.sleep(retry.total_seconds())


async def _try_renew(clients: Clients, run: Run, terms: Terms) -> str | None:
    """Renew once; what prevents it now. A pool that is not there (yet, or any more) needs no lease."""
    try:
        await renew(clients, run, terms)
    except ResourceNotFoundError:
        return None
    except (AzureError, TimeoutError) as error:  # 409 and 503 while it is resizing, too: they pass
        return brief(error)
    return None


async def renew(clients: Clients, run: Run, terms: Terms) -> Lease | None:
    """Move the end of the pool's lease on, as far as its terms have it; the lease that holds now.

    None for a pool that is not this run's, or has another formula than a lease: it is left alone.
    Raises azure-core's errors.
    """
    pool = await clients.batch.get_pool(
        run.pool_id, select=["id", "creationTime", "autoScaleFormula", "metadata", "state"]
    )
    held = Lease.read(pool.auto_scale_formula)
    if held is None or not run.owns(pool.metadata) or pool.state != "active" or pool.creation_time is None:
        return None
    new = terms.renewed(held, pool.creation_time, datetime.now(UTC))
    if terms.scale_in:
        new = await _scaled_in(clients, run, new)
    if new != held:
        await clients.batch.enable_pool_auto_scale(
            run.pool_id, BatchPoolEnableAutoScaleOptions(auto_scale_formula=new.formula)
        )
        run_logger().info(
            "Lease of pool [%s]: %d nodes and %d spot nodes until %s",
            *(run.pool_id, new.nodes, new.spot_nodes, f"{new.end:%H:%M:%S} UTC"),
        )
    return new


async def _scaled_in(clients: Clients, run: Run, lease: Lease) -> Lease:
    """The lease without the nodes that have nothing to do, once no task waits for one; one node stays."""
    try:
        counts = (await clients.batch.get_job_task_counts(run.job_id)).task_counts
    except ResourceNotFoundError:
        return lease
    if counts.active or not counts.completed:
        return lease
    busy = [0, 0]
    async for pool in clients.batch.list_pool_node_counts(filter=f"poolId eq '{run.pool_id}'"):
        busy = [counts.running if counts else 0 for counts in (pool.dedicated, pool.low_priority)]
    nodes, spot_nodes = min(lease.nodes, busy[0]), min(lease.spot_nodes, busy[1])
    if nodes + spot_nodes == 0:
        nodes, spot_nodes = min(lease.nodes, 1), 0 if lease.nodes else 1
    return Lease(nodes, spot_nodes, lease.end)
