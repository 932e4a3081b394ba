"""Takes a node through leaving, rebooting, reimaging, deallocating, pre-emption, loss and breakage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from azure.batch.models import BatchNodeState, SchedulingState

from emulator import preparation
from emulator.errors import (
    NodeAlreadyInTargetSchedulingState,
    NodeBeingCreated,
    NodeBeingRebooted,
    NodeBeingReimaged,
    NodeBeingStarted,
    NodeStateUnusable,
    OperationNotValidOnNode,
)

if TYPE_CHECKING:
    from emulator.node import Node

_S = BatchNodeState
_UP = {"idle", "running", "starttaskfailed", "waitingforstarttask"}
_REFUSALS = {
    "creating": NodeBeingCreated,
    "starting": NodeBeingStarted,
    "rebooting": NodeBeingRebooted,
    "reimaging": NodeBeingReimaged,
}
# Options that let tasks end by themselves first; `retaineddata` also keeps the node as long as their files.
_WAITING = ("taskcompletion", "retaineddata")


def leave(node: Node, option: str) -> asyncio.Task[None]:
    """Start leaving the pool; the tasks on the node fare as the deallocation option says."""
    node.leaving = True
    if option not in _WAITING and node.state != "leavingpool":
        node.enter(_S.LEAVING_POOL)
    node.pool.opened(node)
    return node.live(lambda: _leave(node, option))


async def _leave(node: Node, option: str) -> None:
    if option in _WAITING:
        await node.emptied.wait()
        if option == "retaineddata":
            await node.retained()
        if node.state != "leavingpool":
            node.enter(_S.LEAVING_POOL)
    await node.empty(option, "its node was removed from the pool")
    await node.account.clock.delay(node.account.delays.leave)
    node.wipe()
    node.pool.forget(node)


def stay(node: Node) -> None:
    """Take tasks again instead of leaving, if the node still waited for those on it."""
    if node.leaving and node.up:
        node.leaving = False
        node.live(_as_it_is)
        node.pool.opened(node)


async def _as_it_is() -> None:
    """Nothing happens to the node by itself."""


def _must_be(node: Node, states: set[str]) -> None:
    if node.state not in states:
        raise _REFUSALS.get(node.state, OperationNotValidOnNode)


def reboot(node: Node, option: str) -> None:
    """Start the node again; its files stay, its start task runs anew.

    Raises:
        NodeBeingCreated, NodeBeingRebooted, ...: by the node's state.
    """
    _must_be(node, _UP | {"unusable", "unknown"})
    node.enter(_S.REBOOTING)
    node.live(lambda: _again(node, option, clean=False))


def reimage(node: Node, option: str) -> None:
    """Set the node up anew, with an empty disk.

    Raises:
        NodeBeingCreated, NodeBeingRebooted, ...: by the node's state.
    """
    _must_be(node, _UP | {"unusable", "unknown"})
    node.enter(_S.REIMAGING)
    node.live(lambda: _again(node, option, clean=True))


async def _again(node: Node, option: str, *, clean: bool) -> None:
    await node.empty(option, "its node was started anew")
    preparation.forget(node, rebooted=not clean)
    if clean:
        node.users.clear()
        node.wipe()
    node.model.errors = None
    await node.boot(node.account.delays.reboot)


def deallocate(node: Node, option: str) -> None:
    """Give the machine back and keep the node.

    Raises:
        NodeStateUnusable, NodeBeingCreated, ...: by the node's state.
    """
    if node.state in ("unusable", "unknown"):
        raise NodeStateUnusable
    _must_be(node, _UP)
    node.enter(_S.DEALLOCATING)
    node.live(lambda: _deallocate(node, option))


async def _deallocate(node: Node, option: str) -> None:
    await node.empty(option, "its node was deallocated")
    await node.account.clock.delay(node.account.delays.reboot)
    preparation.forget(node, rebooted=True)
    node.enter(_S.DEALLOCATED)


def start(node: Node) -> None:
    """Take a machine for a deallocated node again.

    Raises:
        OperationNotValidOnNode, ...: when it is not deallocated.
    """
    _must_be(node, {"deallocated"})
    node.enter(_S.STARTING)
    node.live(lambda: node.boot(0))


def disable_scheduling(node: Node, option: str) -> None:
    """Give the node no more tasks; those on it fare as the option says.

    Raises:
        NodeAlreadyInTargetSchedulingState: when it takes none already.
    """
    _must_be(node, _UP)
    if node.model["schedulingState"] == "disabled":
        raise NodeAlreadyInTargetSchedulingState
    set_scheduling(node, SchedulingState.DISABLED)
    node.account.spawn(node.empty(option, "its node's scheduling was disabled"))


def enable_scheduling(node: Node) -> None:
    """Give the node tasks again.

    Raises:
        NodeAlreadyInTargetSchedulingState: when it takes some already.
    """
    _must_be(node, _UP)
    if node.model["schedulingState"] == "enabled":
        raise NodeAlreadyInTargetSchedulingState
    set_scheduling(node, SchedulingState.ENABLED)


def set_scheduling(node: Node, state: SchedulingState) -> None:
    """Take tasks again, or no more."""
    node.model["schedulingState"] = state.value
    node.pool.opened(node)
    node.pool.schedule()


# What nobody asks for, except a test


def preempt(node: Node) -> None:
    """Take a spot node's machine away; it comes back, empty, when there is capacity again.

    Raises:
        OperationNotValidOnNode: for a dedicated node, or one without a machine.
    """
    if node.model["isDedicated"]:
        raise OperationNotValidOnNode("Only spot nodes are pre-empted.")
    _must_be(node, _UP | {"starting", "creating"})
    node.enter(_S.PREEMPTED)
    node.live(lambda: _preempted(node))


async def _preempted(node: Node) -> None:
    await node.empty("requeue", "its node was pre-empted")
    preparation.forget(node, rebooted=False)
    node.users.clear()
    node.wipe()
    await node.account.clock.delay(node.account.delays.capacity)
    await node.boot(0)


def lose(node: Node) -> None:
    """Let the node fall silent with its files; its tasks run elsewhere."""
    _must_be(node, _UP)
    node.enter(_S.UNKNOWN)
    node.live(lambda: _gone(node, wipe=True))


def spoil(node: Node) -> None:
    """Make the node unusable; its tasks run elsewhere, its files stay."""
    _must_be(node, _UP | {"starting"})
    node.model["errors"] = [
        {"code": "NodeUnusable", "message": "The node became unusable: a test asked the emulator for it"}
    ]
    node.enter(_S.UNUSABLE)
    node.live(lambda: _gone(node, wipe=False))


async def _gone(node: Node, *, wipe: bool) -> None:
    await node.empty("requeue", "its node was lost")
    preparation.forget(node, rebooted=False)
    if wipe:
        node.wipe()
