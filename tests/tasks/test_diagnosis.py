"""Why nothing runs: each cause as Batch shows it, and what the table says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.batch.models import (
    BatchJob,
    BatchJobCreateOptions,
    BatchJobDisableOptions,
    BatchNode,
    BatchNodeDisableSchedulingOptions,
    BatchPool,
    BatchPoolInfo,
    BatchPoolResizeOptions,
    BatchStartTask,
    BatchTask,
    BatchTaskCreateOptions,
    DisableBatchJobOption,
)
from azure.batch.models import _models as models  # of terminating, the package exports none
from azure.core.rest import HttpRequest

from deployments.services import services
from tasks.causes import CAUSES, word
from tasks.clients import Clients
from tasks.diagnosis import Diagnosis, diagnose, explain
from tasks.lease import INTERVAL, Lease
from tasks.quotas import Quotas
from tests.conftest import create_pool, until

LEASED = Lease(2, 0, datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1))
TAKE_NO_TASKS = BatchNodeDisableSchedulingOptions({"nodeDisableSchedulingOption": "requeue"})
ENOUGH = models.BatchJobTerminateOptions(termination_reason="Enough")
FOR_EVER = 1e6  # seconds; of a delay that a test does not wait for


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, str]]:
    """One whose service is in a hurry: a resize timeout of five minutes takes three seconds."""
    with services("--speed", "100") as environment:
        yield environment


async def control(clients: Clients, what: str = "settings", **settings: object) -> None:
    answer = await clients.batch.send_request(HttpRequest("POST", f"/_emulator/{what}", json=settings))
    answer.raise_for_status()


async def create_started_pool(clients: Clients, nodes: int = 2, start_task: str = "/bin/true", **options: Any) -> None:
    size: dict[str, Any] = {} if "auto_scale_formula" in options else {"target_dedicated_nodes": nodes}
    start = BatchStartTask(command_line=start_task, wait_for_success=True)
    await create_pool(clients, "pool", start_task=start, **size, **options)


async def add_job(clients: Clients, job_id: str = "job", command: str = "/bin/true", **options: Any) -> None:
    await clients.batch.create_job(BatchJobCreateOptions(id=job_id, pool_info=BatchPoolInfo(pool_id="pool")))
    await clients.batch.create_task(job_id, BatchTaskCreateOptions(id="task", command_line=command, **options))


async def becomes(clients: Clients, sentence: str) -> Diagnosis:
    """Wait until the diagnosis has these words."""
    found: list[Diagnosis | None] = [None]

    async def said() -> bool:
        found[0] = await diagnose(clients, "pool", "job")
        return found[0] is not None and sentence in found[0].sentence

    try:
        await until(said, f"it says: {sentence}", 15)
    except AssertionError as error:
        raise AssertionError(f"{error}; it says: {found[0]}") from None
    assert found[0] is not None
    return found[0]


async def nodes_are(clients: Clients, *states: str) -> list[BatchNode]:
    nodes: list[BatchNode] = []

    async def reached() -> bool:
        nodes[:] = [node async for node in clients.batch.list_nodes("pool")]
        return sorted(word(node.state) for node in nodes) == sorted(states)

    await until(reached, f"the nodes are {states}", 15)
    return nodes


async def test_a_job_that_is_disabled_waits_for_somebody_to_enable_it(clients: Clients) -> None:
    await create_started_pool(clients)
    await clients.batch.create_job(BatchJobCreateOptions(id="job", pool_info=BatchPoolInfo(pool_id="pool")))
    disable = BatchJobDisableOptions(disable_tasks=DisableBatchJobOption.REQUEUE)
    await (await clients.batch.begin_disable_job("job", disable, polling_interval=1)).result()
    await clients.batch.create_task("job", BatchTaskCreateOptions(id="task", command_line="/bin/true"))
    await nodes_are(clients, "idle", "idle")
    assert (await becomes(clients, "Job job is disabled, so its tasks wait: enable it")).heals


async def test_a_job_that_ended_or_is_gone_does_not_heal(clients: Clients) -> None:
    await create_started_pool(clients, 0)
    await add_job(clients)
    await control(clients, delays={"delete": FOR_EVER})
    await clients.batch.begin_terminate_job("job", ENOUGH)
    assert not (await becomes(clients, "Job job was terminated (Enough)")).heals
    await clients.batch.begin_delete_job("job")
    assert not (await becomes(clients, "Job job is being deleted")).heals
    assert await diagnose(clients, "pool", "another") == Diagnosis(
        "There is no job another any more, so its tasks never run.", heals=False
    )


async def test_a_pool_that_is_gone_or_being_deleted_does_not_heal(clients: Clients) -> None:
    await add_job(clients)
    assert not (await becomes(clients, "There is no pool pool any more")).heals
    await create_started_pool(clients, 0)
    await control(clients, delays={"delete": FOR_EVER})
    await clients.batch.begin_delete_pool("pool")
    assert not (await becomes(clients, "Pool pool is being deleted")).heals


async def test_a_task_that_needs_more_slots_than_a_node_has_never_runs(clients: Clients) -> None:
    await add_job(clients, required_slots=4)
    await create_started_pool(clients)
    assert not (await becomes(clients, "A task of job job needs 4 slots, and a node of pool pool has 1")).heals


async def test_a_lease_that_ended_does_not_heal(clients: Clients) -> None:
    await add_job(clients, command="sleep 60")
    await create_started_pool(clients, auto_scale_formula=LEASED.formula)
    await nodes_are(clients, "idle", "running")
    assert await diagnose(clients, "pool", "job") is None
    await control(clients, clockOffset=7200)
    assert not (await becomes(clients, f"The lease of pool pool ended at {LEASED.end:%H:%M:%S} UTC")).heals


async def test_a_formula_that_fails_does_not_heal(clients: Clients) -> None:
    await add_job(clients)
    await create_started_pool(clients, auto_scale_formula="$TargetDedicatedNodes = 1 / 0;")
    assert not (await becomes(clients, "The autoscale formula of pool pool fails: ")).heals


@pytest.mark.parametrize("formula", [LEASED.formula, "$TargetLowPriorityNodes = 1;"])
async def test_a_quota_that_is_reached_does_not_heal(clients: Clients, formula: str) -> None:
    await control(clients, quotas={"dedicated_cores": 1, "spot_cores": 1})
    await add_job(clients)
    await create_started_pool(clients, auto_scale_formula=formula)
    diagnosis = await becomes(clients, "Pool pool gets no nodes, as a quota of the Batch account is reached: Account")
    assert not diagnosis.heals


async def test_what_a_quota_leaves_is_not_blamed(clients: Clients) -> None:
    await control(clients, quotas={"dedicated_cores": 2}, delays={"create": FOR_EVER})
    await add_job(clients)
    await create_started_pool(clients)
    assert (await becomes(clients, "1 node of pool pool is starting")).heals


@pytest.mark.parametrize("code", ["AllocationFailed", "AllocationTimedout"])
async def test_a_lack_of_capacity_heals_at_the_next_evaluation(clients: Clients, code: str) -> None:
    await control(clients, shortage={"nodes": 0, "code": code})
    await add_job(clients)
    await create_started_pool(
        clients,
        auto_scale_formula=LEASED.formula,
        auto_scale_evaluation_interval=INTERVAL,
        resize_timeout=timedelta(minutes=5),
    )
    assert (await becomes(clients, f"Pool pool gets no nodes now ({code}: Desired number of nodes")).heals
    await control(clients, shortage=None)

    async def ended() -> bool:
        return (await clients.batch.get_job_task_counts("job")).task_counts.succeeded == 1

    await until(ended, "Batch has tried again and the task has run", 30)


async def test_an_empty_pool_of_the_users_waits_for_somebody_to_resize_it(clients: Clients) -> None:
    await create_started_pool(clients, 0)
    await add_job(clients)
    assert (await becomes(clients, "Pool pool has 0 nodes and is to have none: resize it")).heals


async def test_nodes_take_their_time(clients: Clients) -> None:
    await control(clients, delays={"allocation": FOR_EVER})
    await add_job(clients)
    await create_started_pool(clients, auto_scale_formula=LEASED.formula)
    assert (await becomes(clients, "Pool pool waits for its first of 2 nodes")).heals


async def test_nodes_that_start_are_counted(clients: Clients) -> None:
    await add_job(clients)
    await create_started_pool(clients, start_task="sleep 60")
    await nodes_are(clients, "waitingforstarttask", "waitingforstarttask")
    assert (await becomes(clients, "2 nodes of pool pool are starting")).heals


async def test_a_start_task_that_failed_everywhere_does_not_heal_and_its_stderr_tells_why(clients: Clients) -> None:
    await add_job(clients)
    await create_started_pool(
        clients, start_task="/bin/bash -c 'echo no Python here >&2; echo sig=c2VjcmV0 >&2; exit 3'"
    )
    diagnosis = await becomes(clients, "The start task failed on all 2 nodes of pool pool (exit code 3): no Python")
    assert not diagnosis.heals
    assert diagnosis.sentence.endswith("no Python here | sig=REDACTED.")


async def test_a_start_task_that_was_never_run_has_the_services_own_words(clients: Clients) -> None:
    await add_job(clients)
    await create_started_pool(clients, 1, start_task="/no/such/program")
    diagnosis = await becomes(clients, "The start task failed on the one node of pool pool (CommandProgramNotFound: ")
    assert not diagnosis.heals


async def test_a_start_task_that_failed_somewhere_leaves_hope_while_others_start(clients: Clients) -> None:
    await control(clients, failingStartTasks=1)
    await add_job(clients)
    await create_started_pool(clients, start_task="sleep 60")
    await nodes_are(clients, "starttaskfailed", "waitingforstarttask")
    diagnosis = await becomes(clients, "The start task failed on 1 of 2 nodes of pool pool (exit code 1); 1 node still")
    assert diagnosis.heals


async def test_an_unusable_node_is_told_with_its_error(clients: Clients) -> None:
    await create_started_pool(clients, 1)
    (node,) = await nodes_are(clients, "idle")
    await control(clients, f"pools/pool/nodes/{node.id}/break")
    await add_job(clients)
    diagnosis = await becomes(clients, "1 of 1 node of pool pool cannot run tasks: unusable (NodeUnusable: ")
    assert diagnosis.heals


async def test_a_lost_node_is_told(clients: Clients) -> None:
    await create_started_pool(clients, 1)
    (node,) = await nodes_are(clients, "idle")
    await control(clients, f"pools/pool/nodes/{node.id}/lose")
    await add_job(clients)
    assert (await becomes(clients, "cannot run tasks: unknown")).heals


async def test_spot_nodes_that_were_taken_away_come_back(clients: Clients) -> None:
    await control(clients, delays={"capacity": FOR_EVER})
    await create_started_pool(clients, 0, target_low_priority_nodes=1)
    (node,) = await nodes_are(clients, "idle")
    await control(clients, f"pools/pool/nodes/{node.id}/preempt")
    await add_job(clients)
    assert (await becomes(clients, "Azure has taken 1 of 1 node of pool pool away")).heals


async def test_disabled_scheduling_waits_for_somebody_to_enable_it(clients: Clients) -> None:
    await create_started_pool(clients)
    for node in await nodes_are(clients, "idle", "idle"):
        await clients.batch.disable_node_scheduling("pool", node.id, TAKE_NO_TASKS)
    await add_job(clients)
    assert (await becomes(clients, "Scheduling is disabled on all 2 nodes of pool pool")).heals


async def test_nodes_that_leave_take_no_tasks(clients: Clients) -> None:
    await control(clients, delays={"leave": FOR_EVER})
    await create_started_pool(clients)
    await nodes_are(clients, "idle", "idle")
    await clients.batch.begin_resize_pool("pool", BatchPoolResizeOptions(target_dedicated_nodes=0))
    await nodes_are(clients, "leavingpool", "leavingpool")
    await add_job(clients)
    assert (await becomes(clients, "No node of pool pool takes tasks: 2 nodes, leavingpool")).heals


async def test_other_jobs_may_keep_all_nodes_busy(clients: Clients) -> None:
    await create_started_pool(clients, 1)
    await add_job(clients, "other", command="sleep 60")
    await nodes_are(clients, "running")
    await add_job(clients)
    assert (await becomes(clients, "Other jobs' tasks keep the one node of pool pool busy")).heals


# The table by itself


JOB, TASK = BatchJob({"id": "job", "state": "active"}), BatchTask({"id": "task", "state": "active"})


def pool(**properties: object) -> BatchPool:
    """A pool as the wire has it."""
    steady = {"id": "pool", "state": "active", "allocationState": "steady", "taskSlotsPerNode": 1}
    return BatchPool({**steady, "targetDedicatedNodes": 2, **properties})


def test_what_never_heals_is_looked_for_first_and_each_cause_has_its_reason() -> None:
    assert [cause.heals for cause in CAUSES] == sorted(cause.heals for cause in CAUSES)
    assert len({cause.name for cause in CAUSES}) == len(CAUSES)
    assert all(dataclasses.astuple(cause)[-1] for cause in CAUSES)


@pytest.mark.parametrize(
    ("code", "heals"),
    [
        ("AccountCoreQuotaReached", False),
        ("AccountVMSeriesCoreQuotaReached", False),
        ("AccountLowPriorityCoreQuotaReached", False),
        ("UnsupportedVMSize", False),
        ("AllocationFailed", True),
        ("AllocationTimedout", True),
        ("ResizeStopped", True),
    ],
)
def test_a_resize_error_heals_or_not_by_its_code(code: str, heals: bool) -> None:
    broken = pool(resizeErrors=[{"code": code, "message": "Why."}])
    diagnosis = explain(broken, [], JOB, TASK, "")
    assert diagnosis is not None and diagnosis.heals is heals


def test_the_accounts_quotas_are_told_where_they_are_known() -> None:
    broken = pool(resizeErrors=[{"code": "AccountCoreQuotaReached", "message": "Why."}])
    quotas = Quotas(pools=1, active_jobs=1, dedicated_cores=10, spot_cores=20)
    diagnosis = explain(broken, [], JOB, TASK, "", quotas=quotas)
    assert diagnosis is not None and "(its quotas are 10 dedicated and 20 spot cores)" in diagnosis.sentence


def test_a_free_node_is_in_nobodys_way() -> None:
    nodes = [BatchNode({"id": "node", "state": "idle", "runningTaskSlotsCount": 0})]
    assert explain(pool(), nodes, JOB, TASK, "") is None


def test_a_state_that_the_client_does_not_know_is_told_as_it_is() -> None:
    nodes = [BatchNode({"id": "node", "state": "hibernating"})]
    diagnosis = explain(pool(), nodes, JOB, TASK, "")
    assert diagnosis == Diagnosis("No node of pool pool takes tasks: 1 node, hibernating.", heals=True)
