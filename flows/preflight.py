"""What is asked before anything is made: by the flow, and by the command line before Prefect's server has come up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from flows.parameters import Parameters, sas_lifetime
from tasks.application import read_application
from tasks.clients import Clients, check_reachable, check_sas_lifetime
from tasks.counting import Counting
from tasks.files import check_local_inputs
from tasks.outputs import check_outputs
from tasks.plan import Plan, make_plan
from tasks.pool import check_pool, find_image
from tasks.results_cache import ResultsCache


def check_local(parameters: Parameters) -> None:
    """What can be said of the parameters on this machine alone. Raises BadInput naming what is wrong."""
    check_outputs(Path(parameters.outputs))
    check_sas_lifetime(sas_lifetime(timedelta(minutes=parameters.timeout_minutes)))
    check_local_inputs(parameters.inputs)


async def preflight(clients: Clients, parameters: Parameters) -> Plan:
    """The plan of a run that can be carried out: services, inputs, pool or image, and folder are there.

    Raises BadInput naming what is not.
    """
    check_outputs(Path(parameters.outputs))
    check_sas_lifetime(sas_lifetime(timedelta(minutes=parameters.timeout_minutes)))
    await check_reachable(clients)
    application = await asyncio.to_thread(read_application, clients.settings.batch_endpoint)
    plan = await make_plan(parameters.inputs, Counting(parameters.words), application, clients.blobs)
    if parameters.pool_id:
        await check_pool(clients, parameters.pool_id)
    else:
        await find_image(clients, parameters.image)
    if parameters.refresh:
        return plan
    return replace(plan, kept=frozenset(await ResultsCache(clients, plan).known()))
