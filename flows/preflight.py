"""What is asked before anything is made: by the flow, and by the command line before Prefect's server has come up."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from flows.parameters import Parameters, sas_lifetime
from tasks.access import check_access
from tasks.application import read_application
from tasks.clients import Clients, check_reachable, check_sas_lifetime
from tasks.counting import STOP_WORDS, Counting, read_stop_words
from tasks.files import check_local_inputs
from tasks.outputs import check_outputs
from tasks.plan import Plan, make_plan
from tasks.pool import check_pool, find_image
from tasks.results_cache import ResultsCache


def check_local(parameters: Parameters) -> None:
    """What can be said of the parameters on this machine alone. Raises BadInput naming what is wrong."""
    check_outputs(Path(parameters.outputs))
    _check_lifetime(parameters)
    check_local_inputs(parameters.inputs)
    if parameters.stop_words:
        read_stop_words(Path(parameters.stop_words))


def _check_lifetime(parameters: Parameters) -> None:
    if not parameters.pool_identity:
        check_sas_lifetime(sas_lifetime(timedelta(minutes=parameters.timeout_minutes)))


async def preflight(clients: Clients, parameters: Parameters) -> Plan:
    """The plan of a run that can be carried out: services, inputs, pool or image, and folder are there.

    Raises BadInput naming what is not.
    """
    check_outputs(Path(parameters.outputs))
    _check_lifetime(parameters)
    await check_reachable(clients)
    task_slots = parameters.task_slots
    if parameters.pool_id:
        task_slots = await check_pool(clients, parameters.pool_id, parameters.pool_identity)
        check_access(clients.settings, parameters.pool_identity)
    else:
        await find_image(clients, parameters.image)
    counting = counting_of(parameters, task_slots)
    of_the_run = {} if counting.stop_words is None else {STOP_WORDS: counting.stop_words}
    application = read_application(clients.settings.batch_endpoint, of_the_run=of_the_run)
    plan = await make_plan(parameters.inputs, counting, application, clients.blobs)
    return plan if parameters.refresh else await known_now(clients, plan)


async def known_now(clients: Clients, plan: Plan) -> Plan:
    """The plan, with the results that are kept by now. Raises BadInput where they may not be listed."""
    return replace(plan, kept=frozenset(await ResultsCache(clients, plan).known()))


def counting_of(parameters: Parameters, task_slots: int) -> Counting:
    """How words are counted on nodes with so many task slots. Raises BadInput."""
    return Counting(
        parameters.words,
        fold_case=parameters.fold_case,
        min_length=parameters.min_length,
        stop_words=read_stop_words(Path(parameters.stop_words)) if parameters.stop_words else None,
        table=parameters.exact != "never",
        memory_mib=parameters.memory_mib,
        threads=0 if task_slots == 1 else 1,  # a task that has the node for itself uses all of it
    )
