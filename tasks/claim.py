"""The claim on a run key: whoever holds it works under the key, and nobody else does.

It is a blob in the run's application container with a lease of a minute, which the run renews while it lives. A run
that was killed loses it by itself; the next one with the key waits for that and goes on with what there is. The lease's
id is the flow run's, so that a retry of the same flow run, and its hooks, hold it at once.

The blob's metadata say who holds the key, in which generation of job and pool, and who held it before, as long as
something of theirs may still be there: tasks/recovery.py goes by that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob.aio import BlobLeaseClient
from prefect import task

from tasks.clients import Clients
from tasks.containers import make_container, mark_container
from tasks.errors import RunFailed, brief, error_code
from tasks.logs import run_logger
from tasks.retries import STEP
from tasks.run import OWNER, Run

BLOB = "claim.json"
GENERATION = "topn_generation"
BEFORE = "topn_before"
CLOSED = "topn_closed"
MOST_BEFORE = 100  # owners; metadata take 8 KiB

LENGTH = timedelta(seconds=60)  # of the lease: Azure takes 15 s to 60 s
WAIT = 1.25  # times that length, for a dead run's lease to end and that to be seen
LOOK = timedelta(seconds=1)
_TAKEN_BY_OTHERS = (404, 409, 412)  # statuses of a renewal after which the lease is not this run's any more

# A renewal is tried again here, before the lease ends; the client's own retries would take longer than that.
_AT_ONCE: dict[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 10}


@dataclass(frozen=True)
class Record:
    """What a claim's metadata say."""

    owner: str
    generation: int = 1
    before: tuple[str, ...] = ()  # owners of what may still be there, the latest last
    closed: bool = False  # the owner went to its end, and has left all this for others to look at

    @classmethod
    def read(cls, metadata: Mapping[str, str] | None) -> Record:
        """The record in a blob's metadata; what is damaged counts as not written."""
        given = metadata or {}
        generation = given.get(GENERATION, "")
        before = tuple(owner for owner in given.get(BEFORE, "").split(",") if owner)
        number = max(int(generation), 1) if generation.isdecimal() else 1
        return cls(given.get(OWNER, ""), number, before, CLOSED in given)

    @property
    def metadata(self) -> dict[str, str]:
        """To be read back."""
        before = {BEFORE: ",".join(self.before[-MOST_BEFORE:])} if self.before else {}
        closed = {CLOSED: "yes"} if self.closed else {}
        return {OWNER: self.owner, GENERATION: str(self.generation), **before, **closed}

    def taken_by(self, owner: str) -> Record:
        """The record when the key passes to this owner."""
        before = dict.fromkeys([*self.before, self.owner])
        return Record(owner, self.generation, tuple(one for one in before if one not in ("", owner)))


class Claim:
    """A run's hold on its key: taken once, renewed until the block of `claiming` ends."""

    def __init__(self, clients: Clients, run: Run, length: timedelta, scope: asyncio.Timeout) -> None:
        self.run = run
        self.lost: str | None = None  # the sentence why, once it is
        self.record = Record(run.owner)
        self.waited = False  # for another run's end
        self.goes_on = False  # with what a run that did not come to its end has left
        self._clients, self._length, self._scope = clients, length, scope
        self._blob = clients.blobs.get_blob_client(run.application_container, BLOB)
        self._lease: BlobLeaseClient | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._written = self._found = self._leaving = False

    @property
    def taken(self) -> bool:
        """Whether the run works under its key."""
        return self._lease is not None and self.lost is None

    @property
    def owners(self) -> frozenset[str]:
        """Whose things with this key are this run's to take over: its own, and those of who held the key before."""
        return frozenset((self.run.owner, *self.record.before))

    async def take(self, retention: timedelta) -> None:
        """Hold the key from now on, and with it the application container, marked to stay for its retention.

        Waits for a run that died to lose it. Raises RunFailed when another run works under the key.
        """
        if self._written:
            return
        if self._lease is None:
            self._lease = await self._acquire(retention)
            self._renewing = asyncio.create_task(self._renew(self._lease))
        known = Record.read((await self._blob.get_blob_properties()).metadata)
        if known.owner not in ("", self.run.owner):
            run_logger().info("Going on with run key %s, which flow run %s had", self.run.key, known.owner)
        self.goes_on = self._found and not known.closed
        await self.write(known.taken_by(self.run.owner))
        await mark_container(self._clients, self.run, self.run.application_container, retention)
        self._written = True

    async def is_left(self) -> bool:
        """Whether the key has a claim of a run that has not come to its end. Raises azure-core's errors."""
        try:
            return not Record.read((await self._blob.get_blob_properties()).metadata).closed
        except (ResourceNotFoundError, ResourceExistsError):  # none, or its container is being deleted
            return False

    async def write(self, record: Record) -> None:
        """Put a record into the claim, which the run must hold. Raises azure-core's errors."""
        assert self._lease is not None
        await self._blob.set_blob_metadata(record.metadata, lease=self._lease)
        self.record = record

    def leave(self) -> None:
        """From now on the run deletes its containers, and the claim with them: that is no loss."""
        self._leaving = True

    async def close(self) -> None:
        """Record that the run has come to its end, if something of it stays; one that cannot is one that died."""
        with contextlib.suppress(AzureError):
            await self.write(replace(self.record, closed=True))

    async def _acquire(self, retention: timedelta) -> BlobLeaseClient:
        loop, said = asyncio.get_running_loop(), False
        patience = self._length * WAIT
        deadline = loop.time() + patience.total_seconds()
        while True:
            await make_container(self._clients, self.run, self.run.application_container, retention)
            try:
                await self._make_blob()
                return await self._blob.acquire_lease(int(self._length.total_seconds()), lease_id=self.run.owner)
            except ResourceNotFoundError:
                continue  # its holder has just released all
            except HttpResponseError as error:
                if error_code(error) == "ContainerBeingDeleted":
                    continue
                if error_code(error) != "LeaseAlreadyPresent":
                    raise
            holder = await self._holder()
            if loop.time() >= deadline:
                raise RunFailed(
                    f"Flow run {holder} works under run key {self.run.key}: wait for its end, or choose another key."
                )
            if not said:
                run_logger().info(
                    "Run %s is still held by flow run %s: waiting up to %d s, in case that one is dead...",
                    *(self.run.key, holder, patience.total_seconds()),
                )
                said = self.waited = True
            await asyncio.sleep(LOOK.total_seconds())

    async def _make_blob(self) -> None:
        try:
            await self._blob.upload_blob(b"{}", metadata=Record(self.run.owner).metadata, overwrite=False)
        except ResourceExistsError:
            self._found = True
        except HttpResponseError as error:
            if error_code(error) != "LeaseIdMissing":  # it is there, and somebody's
                raise
            self._found = True

    async def _holder(self) -> str:
        try:
            return Record.read((await self._blob.get_blob_properties()).metadata).owner
        except ResourceNotFoundError:
            return "(just ended)"

    async def _renew(self, lease: BlobLeaseClient) -> None:
        every, failures = self._length / 3, 0
        pause = every
        while True:
            await asyncio.sleep(pause.total_seconds())
            try:
                await lease.renew(**_AT_ONCE)
            except HttpResponseError as error:
                if error.status_code == 404 and self._leaving:
                    return
                if error.status_code in _TAKEN_BY_OTHERS:
                    await self._lose(error)
                    return
                trouble = brief(error)
            except (AzureError, TimeoutError) as error:
                trouble = brief(error)
            else:
                pause, failures = every, 0
                continue
            pause, failures = every / 4, failures + 1
            if failures == 2:  # one may be a connection that the service has closed meanwhile
                run_logger().warning("The claim on run key %s cannot be renewed now: %s", self.run.key, trouble)

    async def _lose(self, error: HttpResponseError) -> None:
        taker = ""
        with contextlib.suppress(AzureError):
            taker = Record.read((await self._blob.get_blob_properties(**_AT_ONCE)).metadata).owner
        if taker in ("", self.run.owner):
            self.lost = f"The claim on run key {self.run.key} is gone ({brief(error)}): this run stops, and leaves all."
        else:
            self.lost = f"Flow run {taker} has taken over run key {self.run.key}: this run stops, and leaves all to it."
        self._scope.reschedule(asyncio.get_running_loop().time())

    async def end(self) -> None:
        """Stop renewing, and let the next run with this key have it at once."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            if not self._renewing.cancelled() and (error := self._renewing.exception()):
                run_logger().error("The claim on run key %s was not renewed any more: %r", self.run.key, error)
        if self._lease is not None and self.lost is None:
            with contextlib.suppress(AzureError):  # gone with its container; else it ends by itself
                await self._lease.release(**_AT_ONCE)


@contextlib.asynccontextmanager
async def claiming(clients: Clients, run: Run, length: timedelta = LENGTH) -> AsyncIterator[Claim]:
    """A claim that may be taken in the block and is given back at its end.

    When it is lost to another run meanwhile, the block is cancelled, as by `asyncio.timeout`, and ends in RunFailed.
    """
    claim = None
    try:
        async with asyncio.timeout(None) as scope:
            claim = Claim(clients, run, length, scope)
            try:
                yield claim
            finally:
                await claim.end()
    except TimeoutError:
        if claim and claim.lost:
            raise RunFailed(claim.lost) from None
        raise


@task(name="claim", **STEP)
async def take_claim(claim: Claim, retention: timedelta) -> None:
    """Step 1: only one run at a time works under a run key. Raises RunFailed when another one does."""
    await claim.take(retention)
