"""The job in flight, with tasks of our own making instead of the node task: adding, watching, attempts."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from azure.batch.models import (
    BatchCreateTaskCollectionResult,
    BatchJobCreateOptions,
    BatchPoolInfo,
    BatchTaskCreateOptions,
    EnvironmentSetting,
)
from azure.core.exceptions import ResourceNotFoundError
from azure.core.rest import HttpRequest
from prefect import flow

from tasks.adding import add_all, not_taken
from tasks.clients import Clients
from tasks.diagnosis import Diagnosis
from tasks.errors import RunFailed, TimedOut
from tasks.in_flight import Attempt, JobInFlight, attempt_id, attempt_of
from tasks.plan import InputFile
from tasks.policies import Policies, Retries, RetryWaits
from tests.conftest import create_pool, until

pytestmark = pytest.mark.usefixtures("prefect_api", "environment")

AT_ONCE = RetryWaits(exit_code=0, resource_file=0, upload=0, wall_clock=0, scheduling=0, result=0)

POLICIES = Policies(waits=AT_ONCE)


def files(number: int) -> list[InputFile]:
    return [InputFile(Path(f"f{n}"), f"f{n}", 1, f"k{n}", f"t{n}") for n in range(number)]


def command(text: str) -> Callable[[Attempt], Awaitable[BatchTaskCreateOptions]]:
    async def make(attempt: Attempt) -> BatchTaskCreateOptions:
        return BatchTaskCreateOptions(id=attempt_id(*attempt), command_line=f"/bin/sh -c '{text}'")

    return make


async def ask(clients: Clients, what: str, **body: object) -> None:
    """Ask the emulator for `settings` or `faults`."""
    (await clients.batch.send_request(HttpRequest("POST", f"/_emulator/{what}", json=body))).raise_for_status()


@pytest.fixture
async def job_id(clients: Clients) -> AsyncIterator[str]:
    """A job on a pool with two nodes of 200 slots."""
    name = f"in-flight-{uuid.uuid4().hex[:8]}"
    await create_pool(clients, name, vm_size="standard_d64s_v3", target_dedicated_nodes=2, task_slots_per_node=200)
    await clients.batch.create_job(BatchJobCreateOptions(id=name, pool_info=BatchPoolInfo(pool_id=name)))
    yield name
    with contextlib.suppress(ResourceNotFoundError):
        await clients.batch.begin_delete_job(name)
    await clients.batch.begin_delete_pool(name)


async def nothing_to_say() -> Diagnosis | None:
    return None


def in_flight(
    clients: Clients,
    job_id: str,
    number: int,
    make: Callable[[Attempt], Awaitable[BatchTaskCreateOptions]],
    policies: Policies = POLICIES,
    timeout: timedelta = timedelta(minutes=2),
) -> JobInFlight:
    return JobInFlight(
        clients, job_id, files(number), make, policies=policies, timeout=timeout, diagnose=nothing_to_say
    )


async def run(job: JobInFlight) -> None:
    """Add and watch to the end, as the results are taken."""

    async def take() -> None:
        while True:
            job.finish(await job.settled.get())

    @flow
    async def watched() -> None:
        taking = asyncio.create_task(take())
        try:
            await job.add()
            await job.watch()
        finally:
            taking.cancel()

    await watched()


async def ids(clients: Clients, job_id: str) -> list[str]:
    return sorted([task.id async for task in clients.batch.list_tasks(job_id, select=["id"])])


async def test_attempts_have_ids_of_their_own() -> None:
    file = files(1)[0]
    assert [attempt_id(file, n) for n in (1, 2, 12)] == ["t0", "t0-a2", "t0-a12"]
    assert [attempt_of(id) for id in ("t0", "t0-a2", "t0-a12")] == [("t0", 1), ("t0", 2), ("t0", 12)]


async def test_four_hundred_slots_have_four_hundred_tasks_running(clients: Clients, job_id: str) -> None:
    job = in_flight(clients, job_id, 450, command("exec sleep 600"))
    await job.add()

    async def all_slots_busy() -> bool:
        counts = (await clients.batch.get_job_task_counts(job_id)).task_counts
        return (counts.running, counts.active) == (400, 50)

    await until(all_slots_busy, "400 tasks run", 120)


async def test_a_file_that_fails_is_tried_again_as_often_as_its_policy_says_and_alone(
    clients: Clients, job_id: str
) -> None:
    async def make(attempt: Attempt) -> BatchTaskCreateOptions:
        file, number = attempt
        status = {"f0": 0, "f1": 9, "f2": 0 if number == 3 else 9, "f3": 3}[file.name]
        return BatchTaskCreateOptions(id=attempt_id(*attempt), command_line=f"/bin/sh -c 'exit {status}'")

    policies = Policies(retries=Retries(exit_code=2), waits=AT_ONCE, never_again=frozenset({3}))
    job = in_flight(clients, job_id, 4, make, policies)
    await run(job)
    outcomes = [await job.outcome(file) for file in files(4)]
    assert [outcome.exit_code for outcome in outcomes] == [0, 9, 0, 3]
    assert [outcome.failure for outcome in outcomes] == [None, "exit_code", None, "exit_code"]
    assert await ids(clients, job_id) == ["t0", "t1", "t1-a2", "t1-a3", "t2", "t2-a2", "t2-a3", "t3"]


async def test_an_input_that_cannot_be_fetched_is_tried_again(clients: Clients, job_id: str) -> None:
    async def make(attempt: Attempt) -> BatchTaskCreateOptions:
        task = BatchTaskCreateOptions(id=attempt_id(*attempt), command_line="/bin/true")
        if attempt[1] == 1:
            task.resource_files = [{"httpUrl": "http://127.0.0.1:9/x", "filePath": "x"}]  # pyright: ignore[reportAttributeAccessIssue]
        return task

    job = in_flight(clients, job_id, 1, make)
    await run(job)
    assert (await job.outcome(files(1)[0])).failure is None
    assert await ids(clients, job_id) == ["t0", "t0-a2"]


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_collection_that_is_too_large_is_halved_until_it_fits(clients: Clients, job_id: str) -> None:
    async def make(attempt: Attempt) -> BatchTaskCreateOptions:
        task = BatchTaskCreateOptions(id=attempt_id(*attempt), command_line="/bin/true")
        task.environment_settings = [EnvironmentSetting(name="LONG", value="x" * 30_000)]
        return task

    await add_all(clients.batch, job_id, ((file, 1) for file in files(120)), make)
    assert len(await ids(clients, job_id)) == 120


@pytest.mark.parametrize("lower_case", [True, False])
async def test_a_task_that_is_there_already_is_as_good_as_added(
    clients: Clients, job_id: str, lower_case: bool
) -> None:
    await ask(clients, "settings", lowerCaseStatuses=lower_case)
    for _ in range(2):
        await add_all(clients.batch, job_id, ((file, 1) for file in files(150)), command("true"))
    assert len(await ids(clients, job_id)) == 150


@pytest.mark.parametrize("status", ["clienterror", "ClientError"])
def test_a_task_that_batch_takes_for_wrong_is_named_however_its_status_is_spelled(status: str) -> None:
    answer = BatchCreateTaskCollectionResult(
        {"value": [{"taskId": "t7", "status": status, "error": {"code": "InvalidPropertyValue"}}]}
    )
    with pytest.raises(RunFailed, match="does not take the task t7 of job j: InvalidPropertyValue"):
        not_taken("j", answer)


async def test_adding_gives_up_on_a_service_in_trouble_and_names_the_job(clients: Clients, job_id: str) -> None:
    await ask(
        clients,
        "faults",
        action="answer",
        status=503,
        count=50,
        method="POST",
        path="/jobs/*/addtaskcollection",
    )
    with pytest.raises(RunFailed, match=f"tasks of job {job_id} cannot be added: 503"):
        await add_all(
            clients.batch, job_id, ((file, 1) for file in files(3)), command("true"), patience=timedelta(seconds=3)
        )


async def test_trouble_while_watching_passes(clients: Clients, job_id: str) -> None:
    # More than the SDK's own four tries.
    await ask(clients, "faults", action="answer", status=503, count=6, method="GET", path="/jobs/*/taskcounts")
    job = in_flight(clients, job_id, 3, command("true"))
    await run(job)
    assert [(await job.outcome(file)).exit_code for file in files(3)] == [0, 0, 0]


async def test_at_the_timeout_the_rest_is_told_why(clients: Clients, job_id: str) -> None:
    async def make(attempt: Attempt) -> BatchTaskCreateOptions:
        seconds = 600 if attempt[0].name == "f1" else 0
        return BatchTaskCreateOptions(id=attempt_id(*attempt), command_line=f"/bin/sleep {seconds}")

    job = in_flight(clients, job_id, 2, make, timeout=timedelta(seconds=8))
    with pytest.raises(TimedOut, match=r"1 of 2 tasks of job .* did not complete within the timeout") as late:
        await run(job)
    job.give_up(late.value)
    assert (await job.outcome(files(2)[0])).exit_code == 0
    with pytest.raises(TimedOut):
        await job.outcome(files(2)[1])


async def test_the_tasks_that_a_dead_run_left_in_the_job_are_adopted(clients: Clients, job_id: str) -> None:
    async def make(attempt: Attempt) -> BatchTaskCreateOptions:
        status = 9 if attempt == (files(3)[1], 1) else 0
        return BatchTaskCreateOptions(id=attempt_id(*attempt), command_line=f"/bin/sh -c 'exit {status}'")

    dead = in_flight(clients, job_id, 2, make)
    await dead.add()

    async def both_ended() -> bool:
        return (await clients.batch.get_job_task_counts(job_id)).task_counts.completed == 2

    await until(both_ended, "both tasks have ended")
    job = in_flight(clients, job_id, 3, make)
    await job.adopt()
    await run(job)
    assert [(await job.outcome(file)).exit_code for file in files(3)] == [0, 0, 0]
    assert await ids(clients, job_id) == ["t0", "t1", "t1-a2", "t2"]


async def test_a_job_that_is_gone_ends_the_watching(clients: Clients, job_id: str) -> None:
    job = in_flight(clients, job_id, 1, command("exec sleep 600"))
    await job.add()
    await (await clients.batch.begin_delete_job(job_id)).result()
    with pytest.raises(ResourceNotFoundError):
        await run(job)
