"""Steps 1 to 4: the run's containers, pool and job, made when they are first needed and never twice."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType

from azure.core.exceptions import AzureError

from flows.parameters import Parameters, sas_lifetime, terms_of
from tasks import claim, containers, inputs, job, lease, pool, recovery
from tasks.access import NodeAccess
from tasks.clients import Clients
from tasks.errors import RunFailed, brief
from tasks.job import JOB_MARGIN
from tasks.plan import Plan
from tasks.run import Run


def timeout_of(parameters: Parameters) -> timedelta:
    """How long the run may count: there are no nodes after the longest lease."""
    timeout, terms = timedelta(minutes=parameters.timeout_minutes), terms_of(parameters)
    return min(timeout, terms.longest) if terms else timeout


def sas_lifetime_of(parameters: Parameters) -> timedelta:
    """How long the SAS that nodes get live: as long as a task may wait and run."""
    return sas_lifetime(timeout_of(parameters))


def retention_of(parameters: Parameters) -> timedelta:
    """How long containers may stay, from now."""
    return sas_lifetime_of(parameters) + timedelta(days=parameters.retention_days)


async def begin(held: claim.Claim, parameters: Parameters) -> None:
    """Step 1: work under the run key alone. Raises RunFailed."""
    if held.taken:
        return
    try:
        await claim.take_claim(held, retention_of(parameters))
    except AzureError as error:
        raise RunFailed(f"The run cannot go on: {brief(error)}.") from error


async def is_left(held: claim.Claim) -> bool:
    """Whether a run died under this key, and something of it may be there. Raises RunFailed."""
    try:
        return await held.is_left()
    except AzureError as error:
        raise RunFailed(f"The run cannot go on: {brief(error)}.") from error


@dataclass
class OwnJob:
    """What a run works with; while its block lasts, the lease of its pool is renewed."""

    clients: Clients
    held: claim.Claim
    plan: Plan
    parameters: Parameters
    recovered: recovery.Recovered | None = None
    made: bool = False
    _keeping: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def __aenter__(self) -> OwnJob:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._keeping.__aexit__(kind, error, trace)

    @property
    def goes_on(self) -> bool:
        """Whether results that are there count: not those of a run that went to its end, when all is to be counted."""
        return self.held.goes_on or not self.parameters.refresh

    @property
    def access(self) -> NodeAccess:
        """How nodes reach the run's blobs."""
        return NodeAccess(self.clients, sas_lifetime_of(self.parameters), self.parameters.pool_identity)

    @property
    def run(self) -> Run:
        """The run, with the generation of its job and pool."""
        return self.recovered.run if self.recovered else self.held.run

    async def prepare_containers(self) -> Run:
        """Steps 1 and 2: claimed, recovered, the containers there, the application in its own. Raises RunFailed."""
        if self.recovered is None:
            await begin(self.held, self.parameters)
            recovered = await recovery.recover(self.clients, self.held, await self._wanted())
            await containers.create_containers(self.clients, recovered.run, retention_of(self.parameters))
            await inputs.upload_application(self.clients, recovered.run, self.plan.application)
            self.recovered = recovered
        return self.recovered.run

    async def prepare(self) -> recovery.Action:
        """Steps 3 and 4: a pool with a lease, unless one is named, and a job on it; what of it was there already.

        Raises RunFailed, azure-core's errors.
        """
        run = await self.prepare_containers()
        assert self.recovered is not None
        action, parameters, terms = self.recovered.action, self.parameters, terms_of(self.parameters)
        if self.made:
            return action
        await self._keeping.enter_async_context(
            lease.kept(self.clients, run, terms, adopted=action.adopts_pool),
        )
        if terms and not action.adopts_pool:
            await pool.create_pool(
                self.access,
                run,
                self.plan.application,
                image=parameters.image,
                vm_size=parameters.vm_size,
                terms=terms,
                task_slots=parameters.task_slots,
            )
        if not action.adopts_job:
            pool_id = parameters.pool_id or run.pool_id
            await job.create_job(self.clients, run, pool_id, timeout_of(parameters) + JOB_MARGIN)
        self.made = True
        return action

    async def _wanted(self) -> recovery.Wanted:
        """What the run needs of a job and a pool that a run before it has left."""
        plan, parameters = self.plan, self.parameters
        of_use = plan.files if self.goes_on else ()
        terms, start_task = terms_of(parameters), None
        if terms:
            start_task = await pool.start_task(self.access, self.held.run, plan.application)
        return recovery.Wanted(
            batch_task_ids=frozenset(file.batch_task_id for file in of_use),
            wall_clock=timeout_of(parameters) + JOB_MARGIN,
            pool_id=parameters.pool_id,
            terms=terms,
            start_task=start_task,
            vm_size=parameters.vm_size,
            task_slots=parameters.task_slots,
        )
