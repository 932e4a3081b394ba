"""What is not Batch: health, the supported operations, and what tests need, all under `/_emulator`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator import faults, job_states, node_states
from emulator.account import Account, Delays
from emulator.capacity import SHORTAGE_CODES, Quotas, Shortage
from emulator.errors import InvalidRequestBody, InvalidUri, MissingRequiredProperty, invalid
from emulator.invariants import violations
from emulator.wire import account_of, json_body, touched

R = TypeVar("R", Delays, Quotas)


async def health(_request: Request) -> Response:
    """That the emulator serves."""
    return JSONResponse({"status": "ok"})


async def check(request: Request) -> Response:
    """What is wrong in the account's state: an empty list, unless the emulator has a fault."""
    return JSONResponse({"violations": violations(account_of(request))})


_SETTINGS = (
    "clockOffset",
    "delays",
    "failingStartTasks",
    "lowerCaseStatuses",
    "quotas",
    "shortage",
    "taskCountsLag",
)


async def settings(request: Request) -> Response:
    """Change how the account's service behaves; times are in seconds."""
    account = account_of(request)
    given = await json_body(request)
    if not isinstance(given, dict):
        raise InvalidRequestBody
    # Wholly or not at all: all is checked before anything is changed.
    for change in [_change(account, name, value) for name, value in given.items()]:
        change()
    for name in given:
        account.service.log.warning("%s: %s set, on request", account.name, name)
    return JSONResponse(
        {
            "clockOffset": account.clock.offset.total_seconds(),
            "delays": asdict(account.delays),
            "quotas": asdict(account.quotas),
            "shortage": asdict(account.shortage) if account.shortage else None,
            "failingStartTasks": account.faults.failing_start_tasks,
            "taskCountsLag": account.faults.task_counts_lag,
            "lowerCaseStatuses": account.faults.lower_case_statuses,
        }
    )


def _change(account: Account, name: str, value: Any) -> Callable[[], None]:
    """What sets one setting, whose value is checked here."""
    match name:
        case "clockOffset":
            return partial(_set_clock, account, timedelta(seconds=_number(name, value)))
        case "shortage":
            return partial(setattr, account, name, None if value is None else _shortage(name, value))
        case "failingStartTasks":
            return partial(setattr, account.faults, "failing_start_tasks", _count(name, value))
        case "taskCountsLag":
            return partial(setattr, account.faults, "task_counts_lag", _least_zero(name, value))
        case "lowerCaseStatuses":
            if not isinstance(value, bool):
                raise invalid(name, value, "must be true or false")
            return partial(setattr, account.faults, "lower_case_statuses", value)
        case "delays" | "quotas":
            return partial(setattr, account, name, _replaced(getattr(account, name), name, value))
        case _:
            raise invalid(name, value, "must be one of " + ", ".join(_SETTINGS))


def _set_clock(account: Account, offset: timedelta) -> None:
    account.clock.offset = offset
    for pool in account.pools:
        pool.scaling.clock_moved()
    for schedule in account.job_schedules:
        schedule.look()
    for job in account.jobs:
        if job.state not in ("terminating", "completed", "deleting"):
            job_states.limit(job)


def _number(name: str, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e9:
        raise invalid(name, value, "must be a number")
    return value


def _least_zero(name: str, value: Any) -> float:
    if _number(name, value) < 0:
        raise invalid(name, value, "must not be negative")
    return value


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or _least_zero(name, value) != value:
        raise invalid(name, value, "must be a whole number")
    return value


def _replaced(kept: R, name: str, value: Any) -> R:
    """A record of numbers with some of its fields changed."""
    known = {field.name for field in fields(kept)}
    if not isinstance(value, dict) or not value.keys() <= known:
        raise invalid(name, value, "must be an object of " + ", ".join(sorted(known)))
    for each, number in value.items():
        (_count if isinstance(getattr(kept, each), int) else _least_zero)(f"{name}.{each}", number)
    return replace(kept, **value)


def _shortage(name: str, value: Any) -> Shortage:
    if not isinstance(value, dict) or not value.keys() <= {"nodes", "code"} or "nodes" not in value:
        raise invalid(name, value, "must be an object of nodes and code")
    if value.get("code", SHORTAGE_CODES[0]) not in SHORTAGE_CODES:
        raise invalid(f"{name}.code", value["code"], "must be one of " + ", ".join(SHORTAGE_CODES))
    return Shortage(_count(f"{name}.nodes", value["nodes"]), value.get("code", SHORTAGE_CODES[0]))


_BEFALLS = {"preempt": node_states.preempt, "lose": node_states.lose, "break": node_states.spoil}


async def befall(request: Request) -> Response:
    """Let something befall a node: `preempt`, `lose` or `break`."""
    what = request.path_params["what"]
    if what not in _BEFALLS:
        raise InvalidUri(Reason="must be one of " + ", ".join(_BEFALLS))
    node = account_of(request).pool(request.path_params["poolId"]).node(request.path_params["nodeId"])
    _BEFALLS[what](node)
    node.account.service.log.warning("%s: node %s: %s, on request", node.account.name, node.id, what)
    return JSONResponse({"state": node.state})


_IDENTITY = re.compile(
    r"/subscriptions/[^/\s]+/resourceGroups/[^/\s]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/\s]+",
    re.IGNORECASE,
)


async def identify(request: Request) -> Response:
    """Assign user-assigned identities to a pool, as the management plane would: the data plane cannot."""
    pool = account_of(request).pool(request.path_params["poolId"])
    given = await json_body(request)
    if not isinstance(given, dict) or given.keys() != {"userAssignedIdentities"}:
        raise MissingRequiredProperty(PropertyName="userAssignedIdentities")
    named = given["userAssignedIdentities"]
    if not isinstance(named, list) or not all(isinstance(one, str) and _IDENTITY.fullmatch(one) for one in named):
        raise invalid("userAssignedIdentities", named, "must be a list of the resource ids of such identities")
    pool.identify(named)
    touched(pool.account, pool.model)
    pool.account.service.log.warning("%s: pool %s: %d identities, on request", pool.account.name, pool.id, len(named))
    return JSONResponse(dict(pool.model["identity"]))


async def reset(request: Request) -> Response:
    """Forget the account with all its pools and jobs; it begins anew."""
    account = account_of(request)
    await account.close()
    account.service.forget(account)
    return JSONResponse({})


async def list_faults(request: Request) -> Response:
    """The faults that are still to come."""
    return JSONResponse(account_of(request).faults.shown())


async def add_fault(request: Request) -> Response:
    """Let something go wrong with the next requests."""
    account = account_of(request)
    account.faults.requests.append(faults.read(await json_body(request)))
    return JSONResponse(account.faults.shown())


async def clear_faults(request: Request) -> Response:
    """Let nothing go wrong any more."""
    account = account_of(request)
    account.faults = faults.Faults()
    return JSONResponse(account.faults.shown())


PUBLIC = {"/_emulator/health"}
"""What is answered without a signature."""

ROUTES = [
    Route("/_emulator/health", health, methods=["GET"]),
    Route("/_emulator/check", check, methods=["GET"]),
    Route("/_emulator/settings", settings, methods=["POST"]),
    Route("/_emulator/faults", list_faults, methods=["GET"]),
    Route("/_emulator/faults", add_fault, methods=["POST"]),
    Route("/_emulator/faults", clear_faults, methods=["DELETE"]),
    Route("/_emulator/reset", reset, methods=["POST"]),
    Route("/_emulator/pools/{poolId}/identity", identify, methods=["POST"]),
    Route("/_emulator/pools/{poolId}/nodes/{nodeId}/{what}", befall, methods=["POST"]),
]
