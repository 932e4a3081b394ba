"""Why nothing runs."""

from __future__ import annotations

from dataclasses import dataclass

from azure.core.exceptions import ResourceNotFoundError

from tasks.clients import Clients


@dataclass(frozen=True)
class Diagnosis:
    """A cause, as a sentence, and whether it may pass by itself."""

    sentence: str
    heals: bool


async def diagnose(clients: Clients, pool_id: str, job_id: str) -> Diagnosis | None:
    """Why no task of this job runs, as far as its pool tells. Raises azure-core's errors."""
    try:
        pool = await clients.batch.get_pool(pool_id)
    except ResourceNotFoundError:
        return Diagnosis(f"The pool {pool_id} of job {job_id} is gone.", heals=False)
    for error in pool.resize_errors or ():
        return Diagnosis(f"The pool {pool_id} gets no nodes: {error.code} {error.message}", heals=True)
    return None
