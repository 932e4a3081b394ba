"""What a run would take of the Batch account's quotas: the plan's warning before Azure's refusal.

Only Azure's management API tells quotas, and only to Entra ID; so they are compared where AZURE_BATCH_ACCOUNT_ID names
the account's resource, and the plan says so where it does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from azure.core.exceptions import AzureError
from azure.core.rest import HttpRequest

from tasks.clients import Clients, Management
from tasks.errors import BadInput, brief

API_VERSION = "2024-07-01"  # of Microsoft.Batch/batchAccounts


@dataclass(frozen=True)
class Quotas:
    """An account's limits."""

    pools: int
    active_jobs: int  # and job schedules
    dedicated_cores: int
    spot_cores: int


@dataclass(frozen=True)
class Usage:
    """What an account has now, or a run would add."""

    pools: int
    active_jobs: int
    dedicated_cores: int
    spot_cores: int


async def read_quotas(management: Management, account_id: str) -> Quotas:
    """Ask Azure's management API for the quotas of a Batch account, by its resource id. Raises BadInput."""
    request = HttpRequest("GET", management.format_url(account_id), params={"api-version": API_VERSION})
    try:
        response = await management.send_request(request)
        response.raise_for_status()
        properties = response.json()["properties"]
        return Quotas(
            pools=properties["poolQuota"],
            active_jobs=properties["activeJobAndJobScheduleQuota"],
            dedicated_cores=properties["dedicatedCoreQuota"] or 0,
            spot_cores=properties["lowPriorityCoreQuota"] or 0,
        )
    except AzureError as error:
        raise BadInput(f"AZURE_BATCH_ACCOUNT_ID: the quotas of {account_id} cannot be read: {brief(error)}.") from error
    except (KeyError, ValueError) as error:
        raise BadInput(f"AZURE_BATCH_ACCOUNT_ID: {account_id} is no Batch account.") from error


async def read_usage(clients: Clients) -> Usage:
    """Count what the account has now."""
    fields = ["id", "vmSize", "targetDedicatedNodes", "targetLowPriorityNodes"]
    pools = [pool async for pool in clients.batch.list_pools(select=fields)]
    active_jobs = [job.id async for job in clients.batch.list_jobs(filter="state eq 'active'", select=["id"])]
    return Usage(
        pools=len(pools),
        active_jobs=len(active_jobs),
        dedicated_cores=sum(cores(pool.vm_size or "") * (pool.target_dedicated_nodes or 0) for pool in pools),
        spot_cores=sum(cores(pool.vm_size or "") * (pool.target_low_priority_nodes or 0) for pool in pools),
    )


def cores(vm_size: str) -> int:
    """The cores of a VM size, which its name tells: STANDARD_D2S_V3 has 2, STANDARD_M8-4MS 4 of 8; 1 where it does not.

    Source: Microsoft's "Azure virtual machine sizes naming conventions".
    """
    named = re.match(r"(?:standard|basic)_[a-z]+(\d+)(?:-(\d+))?", vm_size.lower())
    return int(named[2] or named[1]) if named else 1


def exceeded(quotas: Quotas, now: Usage, added: Usage) -> list[str]:
    """A sentence for each quota that the run would exceed."""
    pairs = (
        ("pools", quotas.pools, now.pools, added.pools),
        ("active jobs", quotas.active_jobs, now.active_jobs, added.active_jobs),
        ("dedicated cores", quotas.dedicated_cores, now.dedicated_cores, added.dedicated_cores),
        ("spot cores", quotas.spot_cores, now.spot_cores, added.spot_cores),
    )
    return [
        f"{what}: {used} in use + {more} are more than the quota of {limit}"
        for what, limit, used, more in pairs
        if more and used + more > limit
    ]
