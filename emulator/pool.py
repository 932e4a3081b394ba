"""A pool: its nodes, the growing and shrinking of it, and the scheduling of ready tasks onto its nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from azure.batch.models import AllocationState, BatchPool, BatchPoolState

from emulator.errors import NodeNotFound, PoolBeingDeleted, PoolBeingResized
from emulator.lifecycle import transition, transition_allocation
from emulator.listing import Listing
from emulator.node import Node
from emulator.queue import Queue
from emulator.task import Task

if TYPE_CHECKING:
    from emulator.account import Account


class Pool:
    """One pool and its nodes."""

    def __init__(self, account: Account, model: BatchPool, serial: int) -> None:
        self.account = account
        self.model = model
        self.serial = serial
        self.nodes = Listing[Node]()
        self.queue: Queue = account.queue(self.id)
        self._open: dict[Node, None] = {}  # nodes with free slots that take tasks
        self._resizing: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        """The pool's id as its creator spelled it."""
        return self.model["id"]

    @property
    def state(self) -> str:
        """The state, as bodies spell it."""
        return self.model["state"]

    @property
    def steady(self) -> bool:
        """Whether no resize is under way."""
        return self.model["allocationState"] == "steady"

    def node(self, node_id: str) -> Node:
        """The node of an id.

        Raises:
            NodeNotFound: when there is none.
        """
        node = self.nodes.get(node_id)
        if node is None:
            raise NodeNotFound
        return node

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
        fitting = [node for node in self._open if node.free_slots >= task.slots]
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

    def resize(self, dedicated: int, spot: int, timeout: timedelta, option: str = "requeue") -> None:
        """Start towards new targets.

        Raises:
            PoolBeingDeleted, PoolBeingResized: when it cannot now.
        """
        if self.state == "deleting":
            raise PoolBeingDeleted
        if not self.steady:
            raise PoolBeingResized
        self.start_resize(dedicated, spot, timeout, option)

    def start_resize(self, dedicated: int, spot: int, timeout: timedelta, option: str) -> None:
        """Enter resizing, and let it go on."""
        now = self.account.clock.stamp()
        self.model["targetDedicatedNodes"] = dedicated
        self.model["targetLowPriorityNodes"] = spot
        self.model.resize_timeout = timeout
        self.model.resize_errors = None
        transition_allocation(self.model, AllocationState.RESIZING, now)
        self._resizing = self.account.spawn(self._resize(option))

    async def _resize(self, option: str) -> None:
        delays = self.account.delays
        await self.account.clock.delay(delays.allocation)
        leaving: list[Node] = []
        for dedicated, target in (
            (True, self.model["targetDedicatedNodes"]),
            (False, self.model["targetLowPriorityNodes"]),
        ):
            present = [node for node in self.nodes if node.model["isDedicated"] is dedicated]
            for _ in range(target - len(present)):
                self._add_node(dedicated=dedicated)
            present.sort(key=lambda node: (len(node.on_it), -node.serial))
            leaving += present[: max(0, len(present) - target)]
        await self._remove(leaving, option)
        transition_allocation(self.model, AllocationState.STEADY, self.account.clock.stamp())

    def _add_node(self, *, dedicated: bool) -> None:
        node = Node(self, self.account.next_serial(), dedicated=dedicated)
        self.nodes.add(node.id, node)
        self._count(node, 1)
        node.live(node.boot(self.account.delays.create))

    async def _remove(self, nodes: Iterable[Node], option: str) -> None:
        await asyncio.gather(*(node.leave(option) for node in nodes))

    def forget(self, node: Node) -> None:
        """A node is gone."""
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
        self.account.spawn(self._delete())

    async def _delete(self) -> None:
        await self._remove(self.nodes, "requeue")
        await self.account.clock.delay(self.account.delays.delete)
        self.account.pools.remove(self.id)
