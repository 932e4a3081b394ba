"""Nodes: start tasks, reboots, spot nodes, and what can befall a node."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.batch.models import _models as models  # options that the SDK needs, and keeps to itself
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from tests.emulator.conftest import Account, until

# An empty model is false to the SDK, which then sends a request without a content type, and fails.
REBOOT = models.BatchNodeRebootOptions(node_reboot_kind="requeue")
NO_MORE = models.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option="requeue")


def _node(account: Account) -> Any:
    (node,) = account.client.list_nodes("pool")
    return node


def _file(account: Account, path: str) -> str:
    return b"".join(account.client.download_node_file("pool", _node(account).id, path)).decode()


def test_a_failed_start_task_keeps_the_node_from_tasks(account: Account) -> None:
    account.pool(
        wait=False,
        startTask={"commandLine": "/bin/bash -c 'echo why >&2; exit 4'", "maxTaskRetryCount": 2},
    )
    account.job()
    account.task("waits", "/bin/true")
    account.nodes_become("starttaskfailed", number=1)
    node = _node(account)
    info = node.start_task_info
    assert (info.exit_code, info.retry_count, info.result, info.state) == (4, 2, "failure", "completed")
    assert info.failure_info.code == "FailureExitCode"
    assert _file(account, "startup/stderr.txt") == "why\n"
    assert account.client.get_task("job", "waits").state == "active"
    assert account.client.get_pool("pool").allocation_state == "steady"


def test_a_start_task_nobody_waits_for_lets_tasks_run_at_once(account: Account) -> None:
    account.pool(startTask={"commandLine": "sleep 300", "waitForSuccess": False})
    account.job()
    account.task("runs", "/bin/true")
    account.completed("runs")
    assert _node(account).start_task_info.state == "running"


def test_a_node_waits_for_its_start_task(account: Account) -> None:
    account.pool(wait=False, startTask={"commandLine": "sleep 1"})
    account.nodes_become("waitingforstarttask", number=1)
    account.nodes_become("idle", number=1)


def test_a_reboot_requeues_tasks_and_runs_the_start_task_again(account: Account) -> None:
    account.pool(startTask={"commandLine": "/bin/bash -c 'date +%N >> $AZ_BATCH_NODE_SHARED_DIR/starts'"})
    account.job()
    account.task("long", "/bin/bash -c '[ -e $AZ_BATCH_NODE_SHARED_DIR/go ] || sleep 300'")
    account.task_becomes("running", "long")
    node = _node(account)
    account.control("POST", "/settings", {"delays": {"reboot": 20}})
    poller = account.client.begin_reboot_node("pool", node.id, REBOOT, polling_interval=0)
    assert _node(account).state == "rebooting"
    poller.result()
    task = account.task_becomes("running", "long")
    assert (task.execution_info.requeue_count, task.execution_info.retry_count) == (1, 0)
    assert len(_file(account, "shared/starts").split()) == 2
    assert _node(account).last_boot_time > node.last_boot_time


def test_a_reimage_empties_the_disk(account: Account) -> None:
    account.pool(startTask={"commandLine": "/bin/bash -c 'date +%N >> $AZ_BATCH_NODE_SHARED_DIR/starts'"})
    account.client.begin_reimage_node(
        "pool",
        _node(account).id,
        models.BatchNodeReimageOptions(node_reimage_option="requeue"),
        polling_interval=0,
    ).result()
    account.nodes_become("idle", number=1)
    assert len(_file(account, "shared/starts").split()) == 1


def test_a_deallocated_node_starts_again(account: Account) -> None:
    account.pool()
    node = _node(account).id
    account.client.begin_deallocate_node(
        "pool", node, models.BatchNodeDeallocateOptions(node_deallocate_option="requeue"), polling_interval=0
    ).result()
    assert _node(account).state == "deallocated"
    with pytest.raises(ResourceExistsError, match="OperationNotValidOnNode"):
        account.client.begin_reboot_node("pool", node, REBOOT)
    account.client.begin_start_node("pool", node, polling_interval=0).result()
    account.nodes_become("idle", number=1)


def test_a_node_whose_scheduling_is_disabled_takes_no_tasks(account: Account) -> None:
    account.pool()
    account.job()
    account.task("first", "sleep 300")
    account.task_becomes("running", "first")
    node = _node(account).id
    account.client.disable_node_scheduling("pool", node, NO_MORE)
    assert account.task_becomes("active", "first").execution_info.requeue_count == 1
    with pytest.raises(ResourceExistsError, match="NodeAlreadyInTargetSchedulingState"):
        account.client.disable_node_scheduling("pool", node, NO_MORE)
    account.client.enable_node_scheduling("pool", node)
    account.task_becomes("running", "first")


def test_a_pre_empted_spot_node_requeues_its_tasks_and_comes_back(account: Account) -> None:
    account.pool(nodes=0, targetLowPriorityNodes=1, wait=False)
    account.nodes_become("idle", number=1)
    node = _node(account)
    assert node.is_dedicated is False
    account.job()
    account.task("long", "/bin/bash -c 'echo $AZ_BATCH_NODE_IS_DEDICATED; sleep 300'")
    account.task_becomes("running", "long")
    account.control("POST", "/settings", {"delays": {"capacity": 20}})
    assert account.control("POST", f"/pools/pool/nodes/{node.id}/preempt") == {"state": "preempted"}
    task = account.task_becomes("active", "long")
    assert (task.execution_info.requeue_count, task.execution_info.retry_count) == (1, 0)
    assert account.client.get_pool("pool").current_low_priority_nodes == 1
    account.task_becomes("running", "long")
    until(lambda: account.text("long") == "false\n", "the task knows that its node is a spot node")


@pytest.mark.parametrize(("what", "state"), [("lose", "unknown"), ("break", "unusable")])
def test_tasks_of_a_node_that_fails_run_elsewhere(account: Account, what: str, state: str) -> None:
    account.pool()
    account.job()
    account.task("long", "sleep 300")
    account.task_becomes("running", "long")
    node = _node(account).id
    account.control("POST", f"/pools/pool/nodes/{node}/{what}")
    assert _node(account).state == state
    assert account.task_becomes("active", "long").execution_info.requeue_count == 1
    account.client.begin_reboot_node("pool", node, REBOOT, polling_interval=0).result()
    account.task_becomes("running", "long")


def test_node_counts_tell_states_apart(account: Account) -> None:
    account.pool(nodes=2)
    account.job()
    account.task("long", "sleep 300")
    account.task_becomes("running", "long")
    (counts,) = account.client.list_pool_node_counts()
    assert (counts.dedicated.running, counts.dedicated.idle, counts.dedicated.total) == (1, 1, 2)
    assert counts.low_priority.total == 0


def test_a_node_tells_what_it_did(account: Account) -> None:
    account.pool()
    account.job()
    account.task("good", "/bin/true")
    account.completed("good")
    account.task("bad", "/bin/false")
    account.completed("bad")
    node = _node(account)
    assert (node.total_tasks_run, node.total_tasks_succeeded, node.running_tasks_count) == (2, 1, 0)
    assert [recent.task_id for recent in node.recent_tasks] == ["bad", "good"]
    with pytest.raises(ResourceNotFoundError, match="NodeNotFound"):
        account.client.get_node("pool", "tvmps_none")


def test_a_start_task_nobody_waits_for_goes_on_while_its_node_waits_to_leave(account: Account, tmp_path: Path) -> None:
    account.control("POST", "/settings", {"delays": {"allocation": 0}})
    start = f"/bin/bash -c 'echo $$ > {tmp_path}/pid; sleep 300'"
    account.pool(startTask={"commandLine": start, "waitForSuccess": False})
    account.job()
    wait = f"until [ -e {tmp_path}/go ]; do sleep 0.1; done; kill -0 $(cat {tmp_path}/pid)"
    account.task("task", f"/bin/bash -c '{wait}'")
    account.task_becomes("running", "task")
    written = tmp_path / "pid"
    pid = until(lambda: written.exists() and written.read_text().strip(), "the start task runs")
    options = {"nodeList": [_node(account).id], "nodeDeallocationOption": "taskcompletion"}
    leaving = account.client.begin_remove_nodes("pool", options, polling_interval=0.1)
    until(lambda: account.client.get_pool("pool").allocation_state == "resizing", "the node waits to leave")
    assert _node(account).start_task_info.state == "running"
    (tmp_path / "go").touch()
    leaving.result()
    account.nodes_become("idle", number=0)
    assert not Path(f"/proc/{pid}").exists()
    assert account.completed("task").execution_info.result == "success"


def test_a_start_task_that_is_cut_short_says_so(account: Account) -> None:
    account.pool(startTask={"commandLine": "sleep 300", "waitForSuccess": False})
    account.control("POST", f"/pools/pool/nodes/{_node(account).id}/break")
    until(lambda: _node(account).start_task_info.state == "completed", "the start task is ended")
    info = _node(account).start_task_info
    assert (info.result, info.failure_info.code, info.exit_code) == ("failure", "TaskEnded", None)


def test_a_reimage_can_wait_until_files_need_no_longer_be_kept(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/echo kept", constraints={"retentionTime": "PT3S"})
    ended = account.completed("task").execution_info.end_time
    options = models.BatchNodeReimageOptions({"nodeReimageOption": "retaineddata"})
    account.client.begin_reimage_node("pool", _node(account).id, options, polling_interval=0)
    assert account.text("task") == "kept\n"
    account.nodes_become("idle", number=1)
    assert _node(account).last_boot_time - ended >= timedelta(seconds=3)
