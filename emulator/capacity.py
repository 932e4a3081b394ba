"""How many nodes an account may have: its quotas, and the capacity that a test leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from azure.batch.models import ResizeError

from emulator.options import cores

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.pool import Pool


@dataclass
class Quotas:
    """What an account may have at most, of the order that Azure gives to a new account."""

    pools: int = 100
    active_jobs: int = 300
    dedicated_cores: int = 700
    spot_cores: int = 700


@dataclass
class Shortage:
    """Capacity that the region lacks: beyond `nodes` in the account, resizes end with the error `code`."""

    nodes: int
    code: str = "AllocationFailed"


SHORTAGE_CODES = ("AllocationFailed", "AllocationTimedout")
_MESSAGES = {
    "AccountCoreQuotaReached": "The specified account has reached core quota",
    "AccountSpotCoreQuotaReached": "The specified account has reached spot core quota",
    "AllocationFailed": "Desired number of nodes could not be allocated",
    "AllocationTimedout": "Desired number of nodes could not be allocated as the resize timeout was reached",
    "ResizeStopped": "Desired number of nodes could not be allocated as the resize was stopped",
}


def resize_error(code: str) -> ResizeError:
    """Why a resize did not reach its target."""
    return ResizeError({"code": code, "message": _MESSAGES[code]})


def room(pool: Pool, *, dedicated: bool) -> tuple[int, str]:
    """How many more nodes of a kind a pool may get now, and the error when it wants more."""
    account: Account = pool.account
    used = total = 0
    for each in account.pools:
        nodes = [node for node in each.nodes if node.model["isDedicated"] is dedicated]
        used += len(nodes) * cores(each.model["vmSize"])
        total += len(each.nodes)
    quota = account.quotas.dedicated_cores if dedicated else account.quotas.spot_cores
    by_quota = max(0, quota - used) // cores(pool.model["vmSize"])
    code = "AccountCoreQuotaReached" if dedicated else "AccountSpotCoreQuotaReached"
    shortage = account.shortage
    if shortage is not None and max(0, shortage.nodes - total) < by_quota:
        return max(0, shortage.nodes - total), shortage.code
    return by_quota, code
