"""A pool: its nodes, the growing and shrinking of it, and the scheduling of ready tasks onto its nodes."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
import uuid
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from azure.batch.models import AllocationState, BatchPool, BatchPoolState

from emulator import clock, node_states, windows_shell
from emulator.capacity import resize_error, room
from emulator.errors import (
    NodeNotFound,
    OperationInvalidForCurrentState,
    PoolBeingDeleted,
    PoolBeingResized,
    PoolExists,
    PoolQuotaReached,
)
from emulator.lifecycle import transition, transition_allocation
from emulator.listing import Listing
from emulator.node import Node
from emulator.queue import Queue
from emulator.resource import Resource
from emulator.scaling import Scaling
from emulator.task import Task
from emulator.usage import Usage

if TYPE_CHECKING:
    from emulator.account import Account


def create(account: Account, checked: dict[str, Any]) -> Pool:
    """Make a pool of options that were checked, and start allocating its nodes.

    Raises:
        PoolExists, PoolQuotaReached: when there is one of that id, or as many as may be.
    """
    if checked["id"] in account.pools:
        raise PoolExists
    if len(account.pools) >= account.quotas.pools:
        raise PoolQuotaReached
    now = account.clock.stamp()
    model = BatchPool(
        {
            **checked,
            "url": f"{account.settings.endpoint}/pools/{checked['id']}",
            "eTag": clock.etag(),
            "lastModified": now,
            "creationTime": now,
            "currentDedicatedNodes": 0,
            "currentLowPriorityNodes": 0,
        }
    )
    transition(model, BatchPoolState.ACTIVE, now)
    transition_allocation(model, AllocationState.STEADY, now)
    pool = Pool(account, model, account.next_serial())
    account.pools.add(pool.id, pool)
    if checked.get("enableAutoScale"):
        pool.scaling.enable(checked["autoScaleFormula"], checked.get("autoScaleEvaluationInterval"))
        return pool
    assert model.resize_timeout is not None, "the options' check fills it in"
    pool.resize(model["targetDedicatedNodes"], model["targetLowPriorityNodes"], model.resize_timeout, "requeue")
    return pool


class Pool(Resource):
    """One pool and its nodes."""

    def __init__(self, account: Account, model: BatchPool, serial: int) -> None:
        self.account = account
        self.model = model
        self.serial = serial
        self.nodes = Listing[Node]()
        self.queue: Queue = account.queue(self.id)
        self._open: dict[Node, None] = {}  # nodes with free slots that take tasks
        self._resizing: asyncio.Task[None] | None = None
        self.scaling = Scaling(self)
        self.usage = Usage(self)

    @property
    def steady(self) -> bool:
        """Whether no resize is under way."""
        return self.model["allocationState"] == "steady"

    @property
    def identities(self) -> frozenset[str]:
        """The resource ids, in lower case, of the user-assigned identities that its nodes may use."""
        identity = self.model.get("identity") or {}
        return frozenset(one["resourceId"].lower() for one in identity.get("userAssignedIdentities", ()))

    def identify(self, resource_ids: Sequence[str]) -> None:
        """Assign these identities and no others, as the management plane does: with ids that Entra ID has for them."""
        assigned = [
            {
                "resourceId": resource_id,
                "clientId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"client {resource_id.lower()}")),
                "principalId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"principal {resource_id.lower()}")),
            }
            for resource_id in resource_ids
        ]
        self.model["identity"] = {"type": "UserAssigned" if assigned else "None", "userAssignedIdentities": assigned}

    def node(self, node_id: str) -> Node:
        """The node of an id.

        Raises:
            NodeNotFound: when there is none.
        """
        node = self.nodes.get(node_id)
        if node is None:
            raise NodeNotFound
        return node

    def runnable(self, line: str) -> str:
        """A command line as this machine runs it: that of a Windows node is for the stand-in for its shell."""
        configuration = self.model.get("virtualMachineConfiguration")  # Cloud Services have Windows only
        if configuration and not configuration["nodeAgentSKUId"].lower().startswith("batch.node.windows"):
            return line
        return shlex.join([sys.executable, "-I", "-S", windows_shell.__file__, line])

    # Scheduling

    def opened(self, node: Node) -> None:
        """Note whether a node can take tasks; called whenever that may have changed."""
        if node.open and node.free_slots:
            self._open[node] = None
        else:
            self._open.pop(node, None)

    def schedule(self) -> None:
        """Give ready tasks to nodes until one of the two runs out."""
        while self._open and not self.account.closing and (match := self._match()):
            task, node = match
            task.job.ready.pop(task)
            node.accept(task)

    def _match(self) -> tuple[Task, Node] | None:
        for task in self.queue.heads():
            node = self._choose(task)
            if node is not None:
                return task, node
        return None

    def _choose(self, task: Task) -> Node | None:
        fitting = [node for node in self._open if task.fits(node)]
        if not fitting:
            return None
        wanted = task.model.get("affinityInfo")
        if wanted:
            for node in fitting:
                if wanted["affinityId"] in (node.model["affinityId"], node.id):
                    return node
        pack = self.model["taskSchedulingPolicy"]["nodeFillType"] == "pack"
        return (min if pack else max)(fitting, key=lambda node: (node.free_slots, -node.serial))

    # Resizing

    def must_be_steady(self) -> None:
        """Refuse what cannot be done while nodes come or go.

        Raises:
            PoolBeingDeleted, PoolBeingResized: when it cannot now.
        """
        if self.state == "deleting":
            raise PoolBeingDeleted
        if not self.steady:
            raise PoolBeingResized

    def resize(self, dedicated: int, spot: int, timeout: timedelta, option: str) -> None:
        """Start towards new targets; `option` says how the tasks on nodes that go fare.

        Raises:
            PoolBeingDeleted, PoolBeingResized: when it cannot now.
        """
        self.must_be_steady()
        self.model["targetDedicatedNodes"] = dedicated
        self.model["targetLowPriorityNodes"] = spot
        self.model.resize_timeout = timeout
        self._begin(lambda: self._reach_targets(option, timeout))

    def remove_nodes(self, nodes: Sequence[Node], timeout: timedelta, option: str) -> None:
        """Start removing these nodes, and lower the targets by as many.

        Raises:
            PoolBeingDeleted, PoolBeingResized: when it cannot now.
        """
        self.must_be_steady()
        for node in nodes:
            if node.leaving:
                continue  # since a resize that was stopped; the target is without it already
            name = "targetDedicatedNodes" if node.model["isDedicated"] else "targetLowPriorityNodes"
            self.model[name] = max(0, self.model[name] - 1)
        self._begin(lambda: self._remove_named(nodes, option, timeout))

    def stop_resize(self) -> None:
        """Start stopping the resize that is under way.

        Raises:
            OperationInvalidForCurrentState: when there is none.
        """
        if self.state == "deleting" or self.model["allocationState"] != "resizing":
            raise OperationInvalidForCurrentState
        assert self._resizing is not None, "a resizing pool has a resize"
        self._resizing.cancel()
        self._stay()
        transition_allocation(self.model, AllocationState.STOPPING, self.account.clock.stamp())
        self._resizing = self.account.spawn(self._stop())

    async def _stop(self) -> None:
        await self.account.clock.delay(self.account.delays.leave)
        if not self.at_target:
            self.model.resize_errors = [resize_error("ResizeStopped")]
        self._settle()

    def _stay(self) -> None:
        """Let nodes that wait to leave stay; those of no use go at once."""
        for node in self.nodes:
            node_states.stay(node)
            if node.leaving and node.state != "leavingpool":
                self.account.spawn(self._remove_one(node, "requeue"))
        self.schedule()

    @property
    def at_target(self) -> bool:
        """Whether it has as many nodes as it is to have."""
        return (
            self.model["currentDedicatedNodes"] == self.model["targetDedicatedNodes"]
            and self.model["currentLowPriorityNodes"] == self.model["targetLowPriorityNodes"]
        )

    def _begin(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.model.resize_errors = None
        transition_allocation(self.model, AllocationState.RESIZING, self.account.clock.stamp())
        self._resizing = self.account.spawn(self._resize(change))

    async def _resize(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await self.account.clock.delay(self.account.delays.allocation)
        await change()
        self._settle()

    def _settle(self) -> None:
        transition_allocation(self.model, AllocationState.STEADY, self.account.clock.stamp())

    async def _reach_targets(self, option: str, within: timedelta) -> None:
        leaving: list[Node] = []
        errors: set[str] = set()
        for dedicated, name in ((True, "targetDedicatedNodes"), (False, "targetLowPriorityNodes")):
            present = [node for node in self.nodes if node.model["isDedicated"] is dedicated and not node.leaving]
            wanted = self.model[name] - len(present)
            allowed, code = room(self, dedicated=dedicated)
            if wanted > allowed:
                errors.add(code)
            for _ in range(min(wanted, allowed)):
                self._add_node(dedicated=dedicated)
            # Those that are of no use go first, then the idle ones, and of those the youngest.
            present.sort(key=lambda node: (node.up, len(node.on_it), -node.serial))
            leaving += present[: max(0, -wanted)]
        if "AllocationTimedout" in errors:
            await asyncio.gather(
                self._remove(leaving, option, within), self.account.clock.delay(within.total_seconds())
            )
        elif not await self._remove(leaving, option, within):
            errors.add("AllocationTimedout")
        if errors:
            self.model.resize_errors = [resize_error(code) for code in sorted(errors)]

    def _add_node(self, *, dedicated: bool) -> None:
        node = Node(self, self.account.next_serial(), dedicated=dedicated)
        self.nodes.add(node.id, node)
        self._count(node, 1)
        node.live(lambda: node.boot(self.account.delays.create))

    async def _remove_named(self, nodes: Sequence[Node], option: str, within: timedelta) -> None:
        if not await self._remove(nodes, option, within):
            self.model.resize_errors = [resize_error("AllocationTimedout")]

    async def _remove(self, nodes: Iterable[Node], option: str, within: timedelta) -> bool:
        """See nodes out; False when time is up, and those that still wait for their tasks stay."""
        try:
            async with asyncio.timeout(within.total_seconds() / self.account.clock.speed):
                await asyncio.gather(*(self._remove_one(node, option) for node in nodes))
        except TimeoutError:
            self._stay()
            return False
        return True

    async def _remove_one(self, node: Node, option: str) -> None:
        """See a node out; one that is rebooted, say, while it waits for its tasks, does not wait any longer."""
        while not node.gone:
            leaving = node_states.leave(node, option if node.up else "requeue")
            await asyncio.wait([leaving])
            if not leaving.cancelled():
                return

    def forget(self, node: Node) -> None:
        """A node is gone."""
        self.usage.left(node)
        self.nodes.remove(node.id)
        self._open.pop(node, None)
        self._count(node, -1)

    def _count(self, node: Node, by: int) -> None:
        name = "currentDedicatedNodes" if node.model["isDedicated"] else "currentLowPriorityNodes"
        self.model[name] += by

    # The end

    def delete(self) -> None:
        """Start deleting the pool.

        Raises:
            PoolBeingDeleted: when it is under way.
        """
        if self.state == "deleting":
            raise PoolBeingDeleted
        transition(self.model, BatchPoolState.DELETING, self.account.clock.stamp())
        if self._resizing is not None:
            self._resizing.cancel()
        self.scaling.close()
        self.account.spawn(self._delete())

    async def _delete(self) -> None:
        await asyncio.gather(*(self._remove_one(node, "requeue") for node in self.nodes))
        await self.account.clock.delay(self.account.delays.delete)
        self.account.past_usage.append(self.usage.metrics())
        self.account.past_core_time += self.usage.core_time(dedicated=True)
        self.account.pools.remove(self.id)
        with contextlib.suppress(OSError):  # it never had a node, or a task has put something there
            (self.account.directory / self.id).rmdir()
