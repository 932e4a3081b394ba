"""The way of a small job through Batch, as the first thing people do with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.batch import aio
from azure.batch.models import BatchTaskCreateOptions, EnvironmentSetting, ResourceFile
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobSasPermissions, generate_blob_sas

from tests.emulator.conftest import AZURITE_KEY, KEY, Account, Azurite, Emulator, until


def test_a_job_runs_on_a_pool_and_all_of_it_is_deleted(account: Account) -> None:
    client = account.client
    account.pool(
        nodes=2,
        startTask={
            "commandLine": "/bin/bash -c 'echo staged > $AZ_BATCH_NODE_SHARED_DIR/staged.txt'",
            "waitForSuccess": True,
            "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
        },
    )
    account.job()
    tasks = [
        BatchTaskCreateOptions(
            id=f"task{number}",
            command_line="/bin/bash -c 'cat $AZ_BATCH_NODE_SHARED_DIR/staged.txt; echo $COLOUR'",
            environment_settings=[EnvironmentSetting(name="COLOUR", value="a 'b' $c;")],
        )
        for number in range(5)
    ]
    results = client.create_tasks("job", tasks)
    assert {result.status.lower() for result in results.result_values or ()} == {"success"}
    for number in range(5):
        task = account.completed(f"task{number}")
        assert task.execution_info.exit_code == 0
        assert task.execution_info.result == "success"
        assert account.text(f"task{number}") == "staged\na 'b' $c;\n"
    counts = client.get_job_task_counts("job").task_counts
    assert (counts.active, counts.running, counts.completed, counts.succeeded) == (0, 0, 5, 5)
    client.begin_delete_job("job", polling_interval=0).result()
    with pytest.raises(ResourceNotFoundError, match="JobNotFound"):
        client.get_job("job")
    client.begin_delete_pool("pool", polling_interval=0).result()
    with pytest.raises(ResourceNotFoundError, match=r"\(PoolNotFound\) The specified pool does not exist\."):
        client.get_pool("pool")


def test_a_resource_file_comes_by_its_url(account: Account, azurite: Azurite) -> None:
    container = azurite.container()
    container.upload_blob("a b.txt", "words\n")
    sas = generate_blob_sas(
        "devstoreaccount1",
        container.container_name,
        "a b.txt",
        account_key=AZURITE_KEY,
        permission=BlobSasPermissions(read=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    url = f"{container.get_blob_client('a b.txt').url}?{sas}"
    account.pool()
    account.job()
    account.task("reads", "cat in/words.txt", resourceFiles=[ResourceFile(http_url=url, file_path="in/words.txt")])
    assert account.completed("reads").execution_info.exit_code == 0
    assert account.text("reads") == "words\n"


def test_a_non_zero_exit_is_retried_and_then_fails(account: Account) -> None:
    account.pool()
    account.job()
    account.task("fails", "/bin/bash -c 'echo no >&2; exit 3'", constraints={"maxTaskRetryCount": 2})
    info = account.completed("fails").execution_info
    assert (info.exit_code, info.result, info.retry_count) == (3, "failure", 2)
    assert info.failure_info.code == "FailureExitCode"
    assert account.text("fails", "stderr.txt") == "no\n"


def test_a_task_is_ended_at_its_wall_clock_limit(account: Account) -> None:
    account.pool()
    account.job()
    account.task("slow", "sleep 60", constraints={"maxWallClockTime": "PT0.3S", "maxTaskRetryCount": 3})
    info = account.completed("slow").execution_info
    assert (info.exit_code, info.failure_info.code, info.retry_count) == (-9, "TaskEnded", 0)


def test_lists_come_in_pages_filtered_and_trimmed(account: Account) -> None:
    account.pool()
    account.job()
    account.client.create_tasks(
        "job",
        [
            BatchTaskCreateOptions(id=f"t{number:03}", command_line=f"/bin/bash -c 'exit {number % 2}'")
            for number in range(25)
        ],
    )
    for number in range(25):
        account.completed(f"t{number:03}")
    failed = account.client.list_tasks(
        "job", filter="executionInfo/exitCode ne 0 and state eq 'Completed'", select=["id"], max_results=5
    )
    pages = [list(found) for found in failed.by_page()]
    assert [len(found) for found in pages] == [5, 5, 2]
    assert {task.id for found in pages for task in found} == {f"t{number:03}" for number in range(1, 25, 2)}
    assert pages[0][0].command_line is None


async def test_the_asynchronous_client_does_the_same(emulator: Emulator, account: Account) -> None:
    account.pool()
    async with aio.BatchClient(emulator.url, AzureNamedKeyCredential(account.name, KEY)) as client:
        await client.create_job({"id": "job", "poolInfo": {"poolId": "pool"}})  # pyright: ignore[reportArgumentType]  # a model's JSON will do
        tasks = [BatchTaskCreateOptions(id=f"task{number}", command_line="/bin/true") for number in range(250)]
        results = (await client.create_tasks("job", tasks, max_concurrency=4)).result_values
        assert results is not None
        assert len(results) == 250
        until(
            lambda: account.client.get_job_task_counts("job").task_counts.succeeded == 250,
            "all tasks have succeeded",
            60,
        )
        names = {task.id async for task in client.list_tasks("job", select=["id"], max_results=100)}
        assert names == {f"task{number}" for number in range(250)}
        await (await client.begin_delete_job("job", polling_interval=0)).wait()
