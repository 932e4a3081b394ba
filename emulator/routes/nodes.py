"""Operations on nodes."""

from __future__ import annotations

from azure.batch.models import BatchNode
from starlette.requests import Request
from starlette.responses import Response

from emulator.node import Node
from emulator.routes.pools import pool_of
from emulator.wire import element, page


def node_of(request: Request) -> Node:
    """The node that the path names."""
    return pool_of(request).node(request.path_params["nodeId"])


async def list_nodes(request: Request) -> Response:
    """A page of a pool's nodes."""
    return page(request, pool_of(request).nodes, BatchNode, "nodes")


async def get_node(request: Request) -> Response:
    """One node."""
    return element(request, node_of(request).model, "nodes")
