"""What is asked before anything is made: by the flow, and by the command line before Prefect's server has come up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from flows.parameters import Parameters
from tasks.application import read_application
from tasks.clients import Clients, check_reachable
from tasks.counting import Counting
from tasks.files import check_local_inputs
from tasks.outputs import check_outputs
from tasks.plan import Plan, make_plan
from tasks.pool import check_pool, find_image
from tasks.results_cache import ResultsCache


def check_local(parameters: Parameters) -> None:
    """What can be said of the parameters on this machine alone. Raises BadInput naming what is wrong."""
    check_outputs(Path(parameters.outputs))
    check_local_inputs(parameters.inputs)


async def preflight(clients: Clients, parameters: Parameters) -> Plan:
    """The plan of a run that can be carried out: services, inputs, pool or image, and folder are there.

    Raises BadInput naming what is not.
    """
    check_outputs(Path(parameters.outputs))
    await check_reachable(clients)
    application = await asyncio.to_thread(read_application, clients.settings.batch_endpoint)
    plan = await make_plan(parameters.inputs, Counting(parameters.words), application, clients.blobs)
    if parameters.pool_id:
        await check_pool(clients, parameters.pool_id)
    else:
        await find_image(clients, parameters.image)
    return plan if parameters.refresh else await known_now(clients, plan)


async def known_now(clients: Clients, plan: Plan) -> Plan:
    """The plan, with the results that are kept by now. Raises BadInput where they may not be listed."""
    return replace(plan, kept=frozenset(await ResultsCache(clients, plan).known()))
