"""Pools: their states, resizing and the options of it, quotas and shortages."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.batch.models import (
    BatchNodeRemoveOptions,
    BatchPoolReplaceOptions,
    BatchPoolResizeOptions,
    BatchPoolUpdateOptions,
)
from azure.batch.models import _models as models  # options that the SDK needs, and keeps to itself
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError

from tests.emulator.conftest import UBUNTU, Account, start_emulator, stop, until

TARGET = 2


def _resize(account: Account, dedicated: int, **more: object) -> None:
    account.client.begin_resize_pool(
        "pool",
        BatchPoolResizeOptions({"targetDedicatedNodes": dedicated, **more}),
        polling_interval=0,
    ).result()


def test_allocation_takes_time_and_passes_through_its_states(account: Account) -> None:
    account.control("POST", "/settings", {"delays": {"allocation": 10, "create": 6, "start": 6}})
    account.pool(nodes=1, wait=False)
    pool = account.client.get_pool("pool")
    assert (pool.allocation_state, pool.current_dedicated_nodes, pool.target_dedicated_nodes) == (
        "resizing",
        0,
        1,
    )
    assert account.node_states() == []
    seen: list[str] = []

    def idle() -> bool:
        for state in account.node_states():
            if state not in seen:
                seen.append(state)
        return seen[-1:] == ["idle"]

    until(idle, "the node is idle")
    assert seen == ["creating", "starting", "idle"]
    pool = account.client.get_pool("pool")
    assert (pool.allocation_state, pool.current_dedicated_nodes) == ("steady", 1)


def test_a_pool_that_is_being_resized_is_not_resized_again(account: Account) -> None:
    account.control("POST", "/settings", {"delays": {"allocation": 40}})
    account.pool(wait=False)
    with pytest.raises(ResourceExistsError, match="PoolBeingResized"):
        _resize(account, 3)


def test_a_shrinking_pool_requeues_the_tasks_of_the_nodes_that_go(account: Account) -> None:
    account.pool()
    account.job()
    account.task("long", "sleep 300")
    account.task_becomes("running", "long")
    _resize(account, 0)
    task = account.task_becomes("active", "long")
    assert (task.execution_info.requeue_count, task.execution_info.retry_count) == (1, 0)
    assert account.node_states() == []


def test_a_shrinking_pool_can_terminate_the_tasks_of_the_nodes_that_go(account: Account) -> None:
    account.pool()
    account.job()
    account.task("long", "sleep 300", constraints={"maxTaskRetryCount": 3})
    account.task_becomes("running", "long")
    _resize(account, 0, nodeDeallocationOption="terminate")
    info = account.completed("long").execution_info
    assert (info.failure_info.code, info.retry_count) == ("TaskEnded", 0)


def test_a_shrinking_pool_can_wait_for_its_tasks(account: Account) -> None:
    account.pool()
    account.job()
    account.task("short", "sleep 1")
    account.task_becomes("running", "short")
    _resize(account, 0, nodeDeallocationOption="taskcompletion")
    assert account.completed("short").execution_info.exit_code == 0
    assert account.node_states() == []


def test_a_shrinking_pool_can_wait_until_files_need_no_longer_be_kept(account: Account) -> None:
    account.pool()
    account.job()
    account.task("short", "/bin/true", constraints={"retentionTime": "PT2S"})
    ended = account.completed("short").execution_info.end_time
    _resize(account, 0, nodeDeallocationOption="retaineddata")
    steady = account.client.get_pool("pool").allocation_state_transition_time
    assert steady - ended >= timedelta(seconds=2)


def test_a_resize_can_be_stopped_and_says_so(account: Account) -> None:
    account.control("POST", "/settings", {"delays": {"allocation": 600}})
    account.pool(nodes=3, wait=False)
    account.client.begin_stop_pool_resize("pool", polling_interval=0).result()
    pool = account.client.get_pool("pool")
    assert pool.allocation_state == "steady"
    assert pool.current_dedicated_nodes == 0
    assert [error.code for error in pool.resize_errors] == ["ResizeStopped"]
    with pytest.raises(ResourceExistsError):
        account.client.begin_stop_pool_resize("pool")


def _waiting_to_leave(account: Account) -> str:
    """Make a node wait for its task before it leaves; the task's node."""
    account.pool(nodes=2)
    account.job()
    account.task("long", "/bin/bash -c 'until [ -e go ]; do sleep 0.05; done'")
    node = account.task_becomes("running", "long").node_info.node_id
    account.client.begin_remove_nodes(
        "pool", BatchNodeRemoveOptions(node_ids=[node], node_deallocation_option="taskcompletion")
    )
    until(lambda: account.client.get_pool("pool").target_dedicated_nodes == 1, "the target is lower")
    return node


def test_nodes_that_wait_to_leave_stay_when_the_resize_is_stopped(account: Account) -> None:
    node = _waiting_to_leave(account)
    account.client.begin_stop_pool_resize("pool", polling_interval=0).result()
    _resize(account, 2)
    # A second task for each node shows that both take tasks again.
    for number in range(2):
        account.task(f"after{number}", "sleep 300")
    account.task_becomes("running", "after0")
    account.client.terminate_task("job", "long")
    account.completed("long")
    task = account.task_becomes("running", "after1")
    assert task.node_info.node_id == node
    assert account.node_states() == ["running", "running"]


def test_nodes_that_leave_already_do_not_count_for_a_new_target(account: Account) -> None:
    account.pool()
    (old,) = account.client.list_nodes("pool")
    account.control("POST", "/settings", {"delays": {"leave": 60}})
    account.client.begin_resize_pool("pool", BatchPoolResizeOptions({"targetDedicatedNodes": 0}))
    account.nodes_become("leavingpool", number=1)
    account.control("POST", "/settings", {"delays": {"leave": 0}})
    account.client.begin_stop_pool_resize("pool", polling_interval=0).result()
    _resize(account, 1)
    new = until(lambda: [node for node in account.client.list_nodes("pool") if node.id != old.id], "a new node")
    until(lambda: [node.id for node in account.client.list_nodes("pool")] == [new[0].id], "the old one is gone")
    assert account.client.get_pool("pool").current_dedicated_nodes == 1


@pytest.mark.parametrize("befalls", ["reboot", "lose"])
def test_a_node_that_waits_to_leave_leaves_whatever_befalls_it(account: Account, befalls: str) -> None:
    node = _waiting_to_leave(account)
    if befalls == "reboot":
        account.client.begin_reboot_node("pool", node, models.BatchNodeRebootOptions(node_reboot_kind="requeue"))
    else:
        account.control("POST", f"/pools/pool/nodes/{node}/{befalls}")
    until(lambda: _steady(account), "the pool is steady")
    assert node not in [each.id for each in account.client.list_nodes("pool")]
    assert account.client.get_pool("pool").current_dedicated_nodes == 1
    task = account.task_becomes("running", "long")
    assert (task.node_info.node_id != node, task.execution_info.requeue_count) == (True, 1)


def test_named_nodes_are_removed_and_the_target_follows(account: Account) -> None:
    account.pool(nodes=TARGET)
    gone, kept = [node.id for node in account.client.list_nodes("pool")]
    account.client.begin_remove_nodes("pool", BatchNodeRemoveOptions(node_ids=[gone]), polling_interval=0).result()
    assert [node.id for node in account.client.list_nodes("pool")] == [kept]
    assert account.client.get_pool("pool").target_dedicated_nodes == 1


def test_cores_beyond_the_quota_are_a_resize_error(account: Account) -> None:
    account.control("POST", "/settings", {"quotas": {"dedicated_cores": 5}})
    account.pool(nodes=4, wait=False)
    pool = until(lambda: _steady(account), "the pool is steady")
    assert pool.current_dedicated_nodes == TARGET  # of 2 cores each
    assert [error.code for error in pool.resize_errors] == ["AccountCoreQuotaReached"]
    account.pool("fine", nodes=0)
    assert account.client.get_pool("fine").resize_errors is None


def _steady(account: Account) -> Any:
    pool = account.client.get_pool("pool")
    return pool if pool.allocation_state == "steady" else None


@pytest.mark.parametrize("code", ["AllocationFailed", "AllocationTimedout"])
def test_a_shortage_of_nodes_is_a_resize_error(account: Account, code: str) -> None:
    account.control("POST", "/settings", {"shortage": {"nodes": 1, "code": code}})
    account.pool(nodes=3, wait=False, resizeTimeout="PT5M")
    pool = until(lambda: _steady(account), "the pool is steady")
    assert pool.current_dedicated_nodes == 1
    assert [error.code for error in pool.resize_errors] == [code]


def test_pools_beyond_the_quota_are_refused(account: Account) -> None:
    account.control("POST", "/settings", {"quotas": {"pools": 1}})
    account.pool(nodes=0)
    with pytest.raises(ResourceExistsError, match="PoolQuotaReached"):
        account.pool("second", nodes=0)


def test_a_deleted_pool_stays_deleting_for_a_while_and_its_tasks_wait(account: Account) -> None:
    account.control("POST", "/settings", {"delays": {"delete": 20}})
    account.pool()
    account.job()
    account.task("long", "sleep 300")
    account.task_becomes("running", "long")
    poller = account.client.begin_delete_pool("pool", polling_interval=0)
    assert account.client.get_pool("pool").state == "deleting"
    with pytest.raises(ResourceExistsError, match="PoolBeingDeleted"):
        _resize(account, 2)
    poller.result()
    assert account.task_becomes("active", "long").execution_info.requeue_count == 1
    account.pool(wait=False)
    account.task_becomes("running", "long")


def test_writes_hold_to_their_conditions(account: Account) -> None:
    account.pool(nodes=0)
    before = account.client.get_pool("pool")
    change = BatchPoolUpdateOptions({"metadata": [{"name": "a", "value": "1"}]})
    account.client.update_pool("pool", change, etag=before.etag, match_condition=MatchConditions.IfNotModified)
    after = account.client.get_pool("pool")
    assert after.metadata[0].value == "1"
    assert after.etag != before.etag
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        account.client.update_pool("pool", change, etag=before.etag, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        account.client.begin_delete_pool("pool", etag=before.etag, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(HttpResponseError) as unchanged:
        account.client.get_pool("pool", etag=after.etag, match_condition=MatchConditions.IfModified)
    assert unchanged.value.status_code == 304


def test_a_pool_keeps_its_version_through_changes_of_state(account: Account) -> None:
    account.pool(wait=False)
    before = account.client.get_pool("pool").etag
    account.nodes_become("idle", number=1)
    assert account.client.get_pool("pool").etag == before


def test_replacing_properties_removes_a_start_task_that_is_not_given(account: Account) -> None:
    account.pool(startTask={"commandLine": "/bin/true"})
    account.client.replace_pool_properties(
        "pool", BatchPoolReplaceOptions(application_package_references=[], metadata=[])
    )
    assert account.client.get_pool("pool").start_task is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": "no spaces"}, "InvalidPropertyValue"),
        ({"vmSize": "large"}, "InvalidPropertyValue"),
        ({"taskSlotsPerNode": 9}, "InvalidPropertyValue"),
        ({"resizeTimeout": "PT1M"}, "InvalidPropertyValue"),
        ({"targetDedicatedNodes": -1}, "InvalidPropertyValue"),
        ({"targetDedicatedNodes": "many"}, "InvalidPropertyValue"),
        ({"taskSchedulingPolicy": {"nodeFillType": "heap"}}, "InvalidPropertyValue"),
        ({"nonsense": 1}, "InvalidRequestBody"),
        ({"virtualMachineConfiguration": None}, "MissingRequiredProperty"),
        (
            {"virtualMachineConfiguration": {**UBUNTU, "nodeAgentSKUId": "batch.node.debian 12"}},
            "InvalidPropertyValue",
        ),
        ({"startTask": {"waitForSuccess": True}}, "MissingRequiredProperty"),
        ({"mountConfiguration": [{}]}, "InvalidPropertyValue"),
        ({"userAccounts": [{"name": "a", "password": "x"}, {"name": "A", "password": "y"}]}, "InvalidPropertyValue"),
        ({"userAccounts": [{"name": "a"}]}, "MissingRequiredProperty"),
        ({"startTask": {"commandLine": "x", "containerSettings": {"imageName": "x"}}}, "NotImplemented"),
    ],
)
def test_what_a_pool_cannot_be_made_of_is_refused(account: Account, change: dict, code: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        account.pool(wait=False, **{"pool_id": change.pop("id", "pool"), **change})
    assert refused.value.error is not None
    assert refused.value.error.code == code
    assert list(account.client.list_pools()) == []


def test_numbers_may_come_as_strings(account: Account) -> None:
    account.pool(nodes=0, taskSlotsPerNode="2", resizeTimeout="PT00H10M00S")
    pool = account.client.get_pool("pool")
    assert (pool.task_slots_per_node, pool.resize_timeout) == (2, timedelta(minutes=10))


def test_a_resize_gives_a_pool_a_new_version(account: Account) -> None:
    account.pool(nodes=0)
    before = until(lambda: _steady(account), "the pool is steady").etag
    _resize(account, 1)
    assert account.client.get_pool("pool").etag != before


def test_files_that_went_with_their_job_hold_no_node(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/true", constraints={"retentionTime": "P7D"})
    account.completed("task")
    poller = account.client.begin_resize_pool(
        "pool", BatchPoolResizeOptions(target_dedicated_nodes=0, node_deallocation_option="retaineddata")
    )
    until(lambda: account.client.get_pool("pool").allocation_state == "resizing", "the node waits to leave")
    account.client.begin_delete_job("job", polling_interval=0).result()
    poller.result()
    assert account.node_states() == []


@pytest.mark.parametrize("way", ["resize", "remove"])
def test_nodes_that_do_not_leave_in_time_stay(tmp_path: Path, way: str) -> None:
    emulator = start_emulator(tmp_path / "root", "--speed", "300")  # the shortest timeout is five minutes
    try:
        with emulator.client("impatient") as client:
            account = Account("impatient", client)
            account.pool()
            account.job()
            account.task("task", "sleep 300")
            node = account.task_becomes("running", "task").node_info.node_id
            limit = {"resizeTimeout": "PT5M", "nodeDeallocationOption": "taskcompletion"}
            if way == "resize":
                client.begin_resize_pool("pool", BatchPoolResizeOptions({"targetDedicatedNodes": 0, **limit})).result()
            else:
                client.begin_remove_nodes("pool", BatchNodeRemoveOptions({"nodeList": [node], **limit})).result()
            pool: Any = client.get_pool("pool")
            assert [error.code for error in pool.resize_errors] == ["AllocationTimedout"]
            assert (pool.current_dedicated_nodes, pool.target_dedicated_nodes) == (1, 0)
            assert client.get_task("job", "task").state == "running"
            assert account.control("GET", "/check") == {"violations": []}
    finally:
        assert stop(emulator) == 0
