"""What is released when the flow itself no longer can: called by Prefect when a run is cancelled, fails or crashes.

Under a worker they run in another process, which knows the flow run and nothing else: the run is rebuilt from its id
and its parameters. Prefect calls hooks by the names of their arguments. They are idempotent, as the flow's own
release mostly has done it all, and delete only what the run still owns, in the order job, pool, containers.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging.loggers import flow_run_logger

from flows.parameters import Parameters
from tasks import release
from tasks.blocks import load_settings
from tasks.clients import open_clients
from tasks.errors import BadInput, TopnError
from tasks.run import Run

# For each of three steps: Prefect kills what takes longer than half a minute after a cancellation.
PATIENCE = timedelta(seconds=8)


async def release_cancelled(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """On cancellation: delete job, pool and containers, as far as `keep` has it."""
    await _release(flow, flow_run, nodes_only=False)


async def release_failed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """On failure: the same, for what the flow's own release could not do."""
    error = await state.result(raise_on_failure=False)  # pyright: ignore[reportGeneralTypeIssues]
    if not isinstance(error, BadInput):  # nothing was created then, and perhaps nobody answers
        await _release(flow, flow_run, nodes_only=False)


async def release_crashed(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """On a crash: only what costs by the hour. The containers stay for their retention, as the next run goes on."""
    await _release(flow, flow_run, nodes_only=True)


async def _release(flow: Flow[..., Any], flow_run: FlowRun, *, nodes_only: bool) -> None:
    log = flow_run_logger(flow_run, flow)
    try:
        parameters = Parameters.model_validate(flow_run.parameters.get("parameters") or {})
        settings = await load_settings(dict(os.environ), parameters.credentials, parameters.storage_credentials)
    except (TopnError, ValueError) as error:
        log.warning("What run %s may have made is not released from here: %s", flow_run.id, error)
        return
    if parameters.plan_only or parameters.keep == "everything":
        return
    run = Run.of(flow_run.id, parameters.run_key)
    async with open_clients(settings) as clients:
        steps = {
            "job": lambda: release.release_job(clients, run),
            "pool": lambda: release.release_pool(clients, run),
        }
        if not nodes_only:
            steps["containers"] = lambda: release.release_containers(clients, run, parameters.keep)
        await release.try_each(run, steps, PATIENCE)
    log.info("Released the nodes of run %s%s", run.key, "" if nodes_only else " and its containers")
