"""Preparation and release tasks: once a node before the first task there, and at the job's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure.batch.models import _models as models
from azure.core.exceptions import (
    ResourceExistsError,
)

from tests.emulator.conftest import Account, until

BECAUSE = models.BatchJobTerminateOptions(termination_reason="Enough")

PREPARED: dict[str, Any] = {
    "jobPreparationTask": {"commandLine": "/bin/bash -c 'echo prepared >> $AZ_BATCH_NODE_SHARED_DIR/log'"},
    "jobReleaseTask": {"commandLine": "/bin/bash -c 'echo released >> $AZ_BATCH_NODE_SHARED_DIR/log'"},
}


def _job_becomes(account: Account, state: str, job_id: str = "job") -> Any:
    def reached() -> Any:
        job = account.client.get_job(job_id)
        return job if job.state == state else None

    return until(reached, f"job {job_id} is {state}")


def _log(account: Account) -> list[str]:
    (node,) = account.client.list_nodes("pool")
    return b"".join(account.client.download_node_file("pool", node.id, "shared/log")).decode().split()


def test_a_job_is_prepared_once_on_a_node_and_released_at_its_end(account: Account) -> None:
    account.pool(taskSlotsPerNode=2)
    account.job(**PREPARED)
    for number in range(3):
        account.task(f"task{number}", "/bin/bash -c 'cat $AZ_BATCH_NODE_SHARED_DIR/log'")
    for number in range(3):
        account.completed(f"task{number}")
        assert account.text(f"task{number}") == "prepared\n"
    (before,) = account.client.list_job_preparation_and_release_task_status("job")
    assert before.job_preparation_task_execution_info.result == "success"
    assert before.job_release_task_execution_info is None
    account.client.begin_terminate_job("job", BECAUSE, polling_interval=0).result()
    assert _log(account) == ["prepared", "released"]
    (after,) = account.client.list_job_preparation_and_release_task_status("job")
    assert after.job_release_task_execution_info.exit_code == 0


@pytest.mark.parametrize("end", ["reboot", "remove"])
def test_a_release_task_ends_with_its_node(account: Account, end: str, tmp_path: Path) -> None:
    pid, terminating = _releasing(account, "sleep 60", tmp_path)
    (node,) = account.client.list_nodes("pool")
    if end == "reboot":
        ending = account.client.begin_reboot_node(
            "pool", node.id, models.BatchNodeRebootOptions(node_reboot_kind="requeue"), polling_interval=0
        )
    else:
        options = {"nodeList": [node.id], "nodeDeallocationOption": "taskcompletion"}
        ending = account.client.begin_remove_nodes("pool", options, polling_interval=0)
    until(lambda: not Path(f"/proc/{pid}").exists(), "its process is gone")
    ending.result()
    terminating.result()
    assert account.client.get_job("job").state == "completed"
    (status,) = account.client.list_job_preparation_and_release_task_status("job")
    assert status.job_release_task_execution_info.result == "failure"


def test_a_task_is_preparing_while_its_job_is(account: Account) -> None:
    account.pool()
    account.job(jobPreparationTask={"commandLine": "sleep 1"})
    account.task("task", "/bin/true")
    assert account.task_becomes("preparing", "task").node_info is not None
    assert account.client.get_job_task_counts("job").task_counts.running == 1
    account.completed("task")


def test_a_job_that_cannot_be_prepared_leaves_its_tasks_waiting(account: Account) -> None:
    account.pool()
    account.job(jobPreparationTask={"commandLine": "/bin/false", "constraints": {"maxTaskRetryCount": 1}})
    account.task("task", "/bin/true")

    def failed() -> bool:
        statuses = list(account.client.list_job_preparation_and_release_task_status("job"))
        return bool(statuses) and statuses[0].job_preparation_task_execution_info.result == "failure"

    until(failed, "the preparation has failed")
    task = account.task_becomes("active", "task")
    assert (task.execution_info.requeue_count, task.execution_info.retry_count) == (0, 0)
    (status,) = account.client.list_job_preparation_and_release_task_status("job")
    assert status.job_preparation_task_execution_info.retry_count == 1
    # Other jobs may use the node.
    account.job("other")
    account.task("task", "/bin/true", "other")
    account.completed("task", "other")


def test_a_release_task_needs_a_preparation_task(account: Account) -> None:
    with pytest.raises(ResourceExistsError, match="JobPreparationTaskNotSpecified"):
        account.job(jobReleaseTask={"commandLine": "/bin/true"})


def test_an_id_of_a_preparation_task_is_taken(account: Account) -> None:
    account.job(**PREPARED)
    with pytest.raises(ResourceExistsError, match="TaskIdSameAsJobPreparationTask"):
        account.task("jobpreparation", "/bin/true")


@pytest.mark.parametrize(("again", "log"), [(True, ["prepared", "prepared"]), (False, ["prepared"])])
def test_a_rebooted_node_is_prepared_again_if_the_job_wants_it(account: Account, again: bool, log: list[str]) -> None:
    account.pool()
    preparation = {**PREPARED["jobPreparationTask"], "rerunOnNodeRebootAfterSuccess": again}
    account.job(jobPreparationTask=preparation)
    account.task("first", "/bin/true")
    account.completed("first")
    (node,) = account.client.list_nodes("pool")
    reboot = models.BatchNodeRebootOptions(node_reboot_kind="requeue")
    account.client.begin_reboot_node("pool", node.id, reboot, polling_interval=0).result()
    account.task("second", "/bin/true")
    account.completed("second")
    assert _log(account) == log


def _releasing(account: Account, command: str, tmp_path: Path) -> tuple[str, Any]:
    """A job whose release task runs: the id of that task's process, and the poller of its termination."""
    account.pool()
    release = f"/bin/bash -c 'echo $$ >> {tmp_path}/releases; {command}'"
    account.job(jobPreparationTask={"commandLine": "/bin/true"}, jobReleaseTask={"commandLine": release})
    account.task("task", "/bin/true")
    account.completed("task")
    terminating = account.client.begin_terminate_job("job", BECAUSE, polling_interval=0.1)
    written = tmp_path / "releases"
    pid = until(lambda: written.read_text().strip() if written.exists() else "", "the release task runs")
    return pid, terminating


def test_a_job_that_is_deleted_while_it_is_released_is_released_once(account: Account, tmp_path: Path) -> None:
    pid, _ = _releasing(account, f"until [ -e {tmp_path}/go ]; do sleep 0.1; done", tmp_path)
    deleting = account.client.begin_delete_job("job", polling_interval=0.1)
    assert Path(f"/proc/{pid}").exists()
    (tmp_path / "go").touch()
    deleting.result()
    assert (tmp_path / "releases").read_text().split() == [pid]


def test_a_job_that_is_deleted_by_force_waits_for_no_release(account: Account, tmp_path: Path) -> None:
    pid, _ = _releasing(account, "sleep 300", tmp_path)
    account.client.begin_delete_job("job", force=True, polling_interval=0.1).result()
    assert not Path(f"/proc/{pid}").exists()
    assert (tmp_path / "releases").read_text().split() == [pid]


def test_a_preparation_that_is_cut_short_says_so(account: Account) -> None:
    account.pool()
    account.job(jobPreparationTask={"commandLine": "sleep 300"})
    account.task("task", "/bin/true")
    account.task_becomes("preparing", "task")
    account.client.begin_terminate_job("job", BECAUSE, polling_interval=0).result()
    (status,) = account.client.list_job_preparation_and_release_task_status("job")
    info = status.job_preparation_task_execution_info
    assert (info.state, info.result, info.failure_info.code) == ("completed", "failure", "TaskEnded")
