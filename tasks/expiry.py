"""What runs left behind and whose time is up: found by a run's mark, never by a name alone, and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from azure.batch.models import BatchJob, BatchMetadataItem, BatchPool
from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import ContainerProperties

from tasks.clients import Clients
from tasks.containers import UNTIL
from tasks.errors import brief
from tasks.lease import INTERVAL, Lease
from tasks.run import OWNER

Kind = Literal["pool", "job", "container"]

SKEW = timedelta(minutes=5)  # between this clock and the cloud's: what expired a moment ago waits for the next sweep


@dataclass(frozen=True)
class Finding:
    """A thing that carries a run's mark, and what is to become of it."""

    kind: Kind
    id: str
    owner: str  # the flow run
    until: datetime | None  # None: nothing says so
    expired: bool
    verdict: str
    etag: str | None = None
    failed: bool = False

    @property
    def what(self) -> str:
        """Such as "pool topn-x-g1"."""
        return f"{self.kind} {self.id}"

    @property
    def until_text(self) -> str:
        """For people."""
        return f"{self.until:%Y-%m-%d %H:%M} UTC" if self.until else "?"

    @property
    def row(self) -> tuple[str, str, str, str]:
        """For a table."""
        return (self.what, self.owner, self.until_text, self.verdict)


async def find_expired(clients: Clients, now: datetime) -> list[Finding]:
    """All that carries a run's mark, in the order in which it is deleted: jobs, pools, containers."""
    pools = {
        pool.id: _pool(pool, owner, now)
        async for pool in clients.batch.list_pools()
        if (owner := _owner(pool.metadata))
    }
    jobs = [_job(job, owner, now, pools) async for job in clients.batch.list_jobs() if (owner := _owner(job.metadata))]
    containers = [
        _container(one, owner, now)
        async for one in clients.blobs.list_containers(name_starts_with="topn-", include_metadata=True)
        if (owner := (one.metadata or {}).get(OWNER))
    ]
    return [*jobs, *pools.values(), *containers]


def _owner(metadata: list[BatchMetadataItem] | None) -> str | None:
    return next((item.value for item in metadata or () if item.name == OWNER), None)


def _finding(kind: Kind, id: str, owner: str, until: datetime | None, now: datetime, etag: str | None) -> Finding:
    expired = until is not None and until + SKEW < now
    return Finding(kind, id, owner, until, expired, "expired" if expired else "left alone: its time is not up", etag)


def _pool(pool: BatchPool, owner: str, now: datetime) -> Finding:
    lease = Lease.read(pool.auto_scale_formula)
    finding = _finding("pool", pool.id, owner, lease and lease.end, now, pool.etag)
    if pool.state == "deleting":
        return replace(finding, expired=False, verdict="being deleted")
    return finding if lease else replace(finding, verdict="left alone: its formula is no lease, so somebody changed it")


def _job(job: BatchJob, owner: str, now: datetime, pools: Mapping[str, Finding]) -> Finding:
    limit = job.constraints.max_wall_clock_time if job.constraints else None
    until = job.creation_time + limit if job.creation_time and limit and limit < timedelta(days=3650) else None
    finding = _finding("job", job.id, owner, until, now, job.etag)
    if job.state == "deleting":
        return replace(finding, expired=False, verdict="being deleted")
    own_pool = job.pool_info is not None and job.pool_info.pool_id == job.id
    pool = pools.get(job.id)
    young = job.creation_time is not None and now - job.creation_time < INTERVAL  # its pool is in a moment's listing
    if own_pool and not young and (pool is None or pool.expired):
        return replace(finding, expired=True, verdict="expired: its pool has, or is gone")
    return finding if until else replace(finding, verdict="left alone: it has no wall clock limit")


def _container(container: ContainerProperties, owner: str, now: datetime) -> Finding:
    text = (container.metadata or {}).get(UNTIL)
    try:
        until = datetime.fromisoformat(text).astimezone(UTC) if text else None
    except ValueError:
        until = None
    finding = _finding("container", str(container.name), owner, until, now, None)
    return finding if until else replace(finding, verdict="left alone: its metadata does not say until when it stays")


async def sweep_away(clients: Clients, found: list[Finding]) -> list[Finding]:
    """Delete what has expired, unless it was changed since it was found (renewed, or taken over by another run)."""
    return [await _delete(clients, one) if one.expired else one for one in found]


async def _delete(clients: Clients, one: Finding) -> Finding:
    unchanged = {"etag": one.etag, "match_condition": MatchConditions.IfNotModified} if one.etag else {}
    try:
        if one.kind == "job":
            await clients.batch.begin_delete_job(one.id, **unchanged)
        elif one.kind == "pool":
            await clients.batch.begin_delete_pool(one.id, **unchanged)
        else:
            await clients.blobs.get_container_client(one.id).delete_container()
    except ResourceNotFoundError:
        return replace(one, verdict="gone meanwhile")
    except ResourceModifiedError:
        return replace(one, expired=False, verdict="left alone: it was changed meanwhile")
    except AzureError as error:
        return replace(one, failed=True, verdict=f"COULD NOT BE DELETED: {brief(error)}")
    return replace(one, verdict="deleted")
