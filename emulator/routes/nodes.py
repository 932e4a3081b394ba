"""Operations on nodes."""

from __future__ import annotations

from azure.batch.models import BatchNode, BatchNodeDisableSchedulingOptions
from azure.batch.models._models import (  # the SDK keeps these to itself
    BatchNodeDeallocateOptions,
    BatchNodeRebootOptions,
    BatchNodeReimageOptions,
)
from starlette.requests import Request
from starlette.responses import Response

from emulator import node_states
from emulator.node import Node
from emulator.routes.pools import pool_of
from emulator.wire import body, done, element, page


def node_of(request: Request) -> Node:
    """The node that the path names."""
    return pool_of(request).node(request.path_params["nodeId"])


async def list_nodes(request: Request) -> Response:
    """A page of a pool's nodes."""
    return page(request, pool_of(request).nodes, BatchNode, "nodes")


async def get_node(request: Request) -> Response:
    """One node."""
    return element(request, node_of(request).model, "nodes")


async def reboot_node(request: Request) -> Response:
    """Start rebooting a node."""
    given = await body(request, BatchNodeRebootOptions)
    node = node_of(request)
    node_states.reboot(node, given.get("nodeRebootOption", "requeue"))
    return done(202, node.model)


async def reimage_node(request: Request) -> Response:
    """Start setting a node up anew."""
    given = await body(request, BatchNodeReimageOptions)
    node = node_of(request)
    node_states.reimage(node, given.get("nodeReimageOption", "requeue"))
    return done(202, node.model)


async def deallocate_node(request: Request) -> Response:
    """Start giving a node's machine back."""
    given = await body(request, BatchNodeDeallocateOptions)
    node = node_of(request)
    node_states.deallocate(node, given.get("nodeDeallocateOption", "requeue"))
    return done(202, node.model)


async def start_node(request: Request) -> Response:
    """Start a deallocated node."""
    node = node_of(request)
    node_states.start(node)
    return done(202, node.model)


async def disable_node_scheduling(request: Request) -> Response:
    """Give a node no more tasks."""
    given = await body(request, BatchNodeDisableSchedulingOptions)
    node = node_of(request)
    node_states.disable_scheduling(node, given.get("nodeDisableSchedulingOption", "requeue"))
    return done(200, node.model)


async def enable_node_scheduling(request: Request) -> Response:
    """Give a node tasks again."""
    node = node_of(request)
    node_states.enable_scheduling(node)
    return done(200, node.model)
