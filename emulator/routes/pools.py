"""Operations on pools."""

from __future__ import annotations

from datetime import timedelta

from azure.batch.models import (
    AllocationState,
    BatchPool,
    BatchPoolCreateOptions,
    BatchPoolResizeOptions,
    BatchPoolState,
)
from starlette.requests import Request
from starlette.responses import Response

from emulator import clock, options
from emulator.errors import MissingRequiredProperty, PoolExists
from emulator.lifecycle import transition, transition_allocation
from emulator.pool import Pool
from emulator.wire import account_of, body, check_conditions, created, done, element, page, tags


def pool_of(request: Request) -> Pool:
    """The pool that the path names."""
    return account_of(request).pool(request.path_params["poolId"])


async def create_pool(request: Request) -> Response:
    """Create a pool and start allocating its nodes."""
    account = account_of(request)
    given = await body(request, BatchPoolCreateOptions)
    checked = options.pool(given)
    if given["id"] in account.pools:
        raise PoolExists
    now = account.clock.stamp()
    dedicated, spot = checked["targetDedicatedNodes"], checked["targetLowPriorityNodes"]
    model = BatchPool(
        {
            **checked,
            "url": f"{account.settings.endpoint}/pools/{given['id']}",
            "eTag": clock.etag(),
            "lastModified": now,
            "creationTime": now,
            "currentDedicatedNodes": 0,
            "currentLowPriorityNodes": 0,
            "enableAutoScale": False,
        }
    )
    transition(model, BatchPoolState.ACTIVE, now)
    transition_allocation(model, AllocationState.STEADY, now)
    pool = Pool(account, model, account.next_serial())
    account.pools.add(pool.id, pool)
    pool.start_resize(dedicated, spot, options.resize_timeout(model["resizeTimeout"]), "requeue")
    return created(model)


async def list_pools(request: Request) -> Response:
    """A page of the account's pools."""
    return page(request, account_of(request).pools, BatchPool, "pools")


async def get_pool(request: Request) -> Response:
    """One pool."""
    return element(request, pool_of(request).model, "pools")


async def pool_exists(request: Request) -> Response:
    """Whether there is such a pool: 200 or 404."""
    model = pool_of(request).model
    check_conditions(request, model)
    return Response(headers=tags(model))


async def delete_pool(request: Request) -> Response:
    """Start deleting a pool."""
    pool = pool_of(request)
    check_conditions(request, pool.model)
    pool.delete()
    return done(202)


async def resize_pool(request: Request) -> Response:
    """Start towards new numbers of nodes; one that is not given stays."""
    given = await body(request, BatchPoolResizeOptions)
    pool = pool_of(request)
    check_conditions(request, pool.model)
    if "targetDedicatedNodes" not in given and "targetLowPriorityNodes" not in given:
        raise MissingRequiredProperty(PropertyName="targetDedicatedNodes")
    dedicated, spot = (
        options.node_count(given.get(name, pool.model[name]), name)
        for name in ("targetDedicatedNodes", "targetLowPriorityNodes")
    )
    timeout: timedelta = options.resize_timeout(given.get("resizeTimeout", "PT15M"))
    pool.resize(dedicated, spot, timeout, given.get("nodeDeallocationOption", "requeue"))
    return done(202, pool.model)
