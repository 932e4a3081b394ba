"""Operations on pools."""

from __future__ import annotations

from typing import Any

from azure.batch.models import (
    BatchNodeRemoveOptions,
    BatchPool,
    BatchPoolCreateOptions,
    BatchPoolEnableAutoScaleOptions,
    BatchPoolEvaluateAutoScaleOptions,
    BatchPoolReplaceOptions,
    BatchPoolResizeOptions,
    BatchPoolUpdateOptions,
)
from starlette.requests import Request
from starlette.responses import Response

from emulator import account_certificate, options, statistics, versions
from emulator.body import read
from emulator.errors import MissingRequiredProperty, OperationNotValidOnPool, PoolBeingDeleted, invalid
from emulator.pool import Pool, create
from emulator.retired import OlderPoolOptions
from emulator.wire import account_of, body, check_conditions, created, done, element, json_body, page, tags, touched

_MOST_REMOVED = 100


def pool_of(request: Request) -> Pool:
    """The pool that the path names."""
    return account_of(request).pool(request.path_params["poolId"])


async def create_pool(request: Request) -> Response:
    """Create a pool and start allocating its nodes."""
    account = account_of(request)
    parsed = await json_body(request)
    older: dict[str, Any] = {}
    if versions.before(request, versions.CERTIFICATES_UNTIL) and isinstance(parsed, dict):
        named = {name: parsed.pop(name, None) for name in ("certificateReferences", "cloudServiceConfiguration")}
        older = dict(read(OlderPoolOptions, named).items())
    account_certificate.check_references(account, older.get("certificateReferences"))
    checked = options.pool(read(BatchPoolCreateOptions, parsed), older.get("cloudServiceConfiguration"))
    return created(create(account, {**checked, **older}).model)


async def list_pools(request: Request) -> Response:
    """A page of the account's pools."""
    return page(request, account_of(request).pools, BatchPool, "pools", statistics.of_pool)


async def get_pool(request: Request) -> Response:
    """One pool."""
    pool = pool_of(request)
    return element(request, pool.model, "pools", lambda: statistics.of_pool(pool))


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
    timeout = options.resize_timeout(given.get("resizeTimeout", "PT15M"))
    if pool.scaling.enabled:
        raise OperationNotValidOnPool(Reason="the pool scales automatically")
    pool.resize(dedicated, spot, timeout, given.get("nodeDeallocationOption", "requeue"))
    touched(pool.account, pool.model)
    return done(202, pool.model)


async def stop_pool_resize(request: Request) -> Response:
    """Start stopping a resize."""
    pool = pool_of(request)
    check_conditions(request, pool.model)
    pool.stop_resize()
    touched(pool.account, pool.model)
    return done(202, pool.model)


async def remove_nodes(request: Request) -> Response:
    """Start removing nodes that are named."""
    given = await body(request, BatchNodeRemoveOptions)
    pool = pool_of(request)
    check_conditions(request, pool.model)
    timeout = options.resize_timeout(given.get("resizeTimeout", "PT15M"))
    names = given["nodeList"]
    if not 1 <= len(names) <= _MOST_REMOVED:
        raise invalid("nodeList", len(names), f"names 1 to {_MOST_REMOVED} nodes")
    nodes = list({pool.node(name): None for name in names})
    pool.remove_nodes(nodes, timeout, given.get("nodeDeallocationOption", "requeue"))
    touched(pool.account, pool.model)
    return done(202, pool.model)


async def update_pool(request: Request) -> Response:
    """Change the properties that are given."""
    given = await body(request, BatchPoolUpdateOptions)
    return done(200, _changed(request, dict(given.items())))


async def replace_pool_properties(request: Request) -> Response:
    """Change all changeable properties; a start task that is not given is removed."""
    given = await body(request, BatchPoolReplaceOptions)
    changes = {"startTask": None, **dict(given.items())}
    del changes["applicationPackageReferences"]  # none: any other value is refused
    return done(204, _changed(request, changes))


def _changed(request: Request, changes: dict[str, Any]) -> BatchPool:
    """The pool, changed; nodes that are up notice a new start task when they are started anew."""
    pool = pool_of(request)
    check_conditions(request, pool.model)
    if pool.state == "deleting":
        raise PoolBeingDeleted
    if changes.get("startTask") is not None:
        changes["startTask"] = options.start_task(changes["startTask"])
    for name, value in changes.items():
        if value is None:
            pool.model.pop(name, None)
        else:
            pool.model[name] = value
    pool.model = BatchPool(pool.model)
    touched(pool.account, pool.model)
    return pool.model


async def enable_pool_auto_scale(request: Request) -> Response:
    """Let a formula decide on the number of nodes, or change it or its interval."""
    given = await body(request, BatchPoolEnableAutoScaleOptions)
    pool = pool_of(request)
    check_conditions(request, pool.model)
    pool.scaling.enable(given.auto_scale_formula, given.get("autoScaleEvaluationInterval"))
    touched(pool.account, pool.model)
    return done(200, pool.model)


async def disable_pool_auto_scale(request: Request) -> Response:
    """Let the number of nodes be as it is."""
    pool = pool_of(request)
    check_conditions(request, pool.model)
    pool.must_be_steady()
    pool.scaling.disable()
    touched(pool.account, pool.model)
    return done(200, pool.model)


async def evaluate_pool_auto_scale(request: Request) -> Response:
    """What a formula would give now."""
    given = await body(request, BatchPoolEvaluateAutoScaleOptions)
    run = pool_of(request).scaling.evaluate(given["autoScaleFormula"])
    return element(request, run, "autoscalerun")
