"""Job manager tasks: first of their job, alone on their node if they want, and the job's end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError

from tests.emulator.conftest import Account, until

WAITING = "/bin/bash -c 'until [ -e $AZ_BATCH_NODE_SHARED_DIR/go ]; do sleep 0.05; done'"
GO = "/bin/bash -c 'touch $AZ_BATCH_NODE_SHARED_DIR/go'"


def _manager(command: str, **more: object) -> dict[str, Any]:
    return {"id": "manager", "commandLine": command, **more}


def _job_completes(account: Account) -> Any:
    def reached() -> Any:
        job = account.client.get_job("job")
        return job if job.state == "completed" else None

    return until(reached, "the job is completed")


def test_its_end_is_the_end_of_the_job(account: Account) -> None:
    account.pool(taskSlotsPerNode=2)
    account.job(jobManagerTask=_manager(WAITING, runExclusive=False))
    account.task("long", "sleep 300")
    account.task_becomes("running", "long")
    account.job("helper")
    account.client.update_pool("pool", {"metadata": []})
    account.task_becomes("running", "manager")
    account.client.terminate_task("job", "manager")
    assert _job_completes(account).execution_info.termination_reason == "JMComplete"
    assert account.completed("long").execution_info.failure_info.code == "TaskEnded"


def test_a_job_may_go_on_without_it(account: Account) -> None:
    account.pool()
    account.job(jobManagerTask=_manager("/bin/true", killJobOnCompletion=False))
    assert account.completed("manager").execution_info.exit_code == 0
    account.task("task", "/bin/true")
    account.completed("task")
    assert account.client.get_job("job").state == "active"


@pytest.mark.parametrize(("exclusive", "running"), [(True, {"manager"}), (False, {"manager", "task"})])
def test_it_may_have_its_node_for_itself(account: Account, exclusive: bool, running: set[str]) -> None:
    account.pool(taskSlotsPerNode=2)
    account.job(jobManagerTask=_manager("sleep 300", runExclusive=exclusive))
    account.task("task", "sleep 300")
    account.task_becomes("running", "manager")
    (node,) = account.client.list_nodes("pool")
    until(lambda: {task.id for task in account.client.list_tasks("job") if task.state == "running"} == running, "so")
    (node,) = account.client.list_nodes("pool")
    assert (node.running_tasks_count, node.running_task_slots_count) == (len(running), 2)


def test_it_waits_for_an_empty_node_and_smaller_tasks_pass_it(account: Account) -> None:
    account.pool(taskSlotsPerNode=2)
    account.job("first")
    account.task("waiting", WAITING, "first")
    account.task_becomes("running", "waiting", "first")
    account.job(jobManagerTask=_manager("/bin/true"))
    account.task("go", GO, "first")
    account.completed("go", "first")
    assert account.completed("manager").execution_info.exit_code == 0
    manager = account.client.get_task("job", "manager").execution_info
    waited = account.client.get_task("first", "waiting").execution_info
    assert manager.start_time >= waited.end_time - timedelta(milliseconds=1)


def test_it_may_ask_for_a_dedicated_node(account: Account) -> None:
    account.pool(nodes=0, wait=False, targetLowPriorityNodes=1)
    account.nodes_become("idle", number=1)
    account.job(jobManagerTask=_manager("/bin/true", allowLowPriorityNode=False))
    account.job("other", jobManagerTask=_manager("/bin/true"))
    account.completed("manager", "other")
    assert account.client.get_task("job", "manager").state == "active"


def test_it_is_told_with_its_defaults(account: Account) -> None:
    account.job(jobManagerTask=_manager("/bin/true", displayName="Boss"))
    manager = account.client.get_job("job").job_manager_task
    assert (manager.kill_job_on_completion, manager.run_exclusive, manager.allow_low_priority_node) == (True,) * 3
    assert (manager.required_slots, manager.display_name) == (1, "Boss")
    task = account.client.get_task("job", "manager")
    assert (task.command_line, task.display_name, task.state) == ("/bin/true", "Boss", "active")


def test_a_schedules_jobs_have_one_each(account: Account) -> None:
    account.pool()
    specification = {"poolInfo": {"poolId": "pool"}, "jobManagerTask": _manager("/bin/true")}
    account.client.create_job_schedule({"id": "nightly", "schedule": {}, "jobSpecification": specification})

    def over() -> bool:
        return account.client.get_job_schedule("nightly").state == "completed"

    until(over, "the schedule completes with its only job, and that with its manager")
    assert account.client.get_job("nightly:job-1").execution_info.termination_reason == "JMComplete"


def test_one_that_makes_no_sense_is_refused(account: Account) -> None:
    for manager, cause in (
        (_manager(" "), "jobManagerTask.commandLine"),
        ({**_manager("/bin/true"), "id": "a b"}, "jobManagerTask.id"),
        (_manager("/bin/true", requiredSlots=0), "jobManagerTask.requiredSlots"),
    ):
        with pytest.raises(HttpResponseError) as refused:
            account.job(jobManagerTask=manager)
        assert (refused.value.status_code, cause in str(refused.value.error)) == (400, True)
    with pytest.raises(ResourceExistsError, match=r"\(TaskIdSameAsJobPreparationTask\)"):
        account.job(
            jobManagerTask=_manager("/bin/true"),
            jobPreparationTask={"id": "MANAGER", "commandLine": "/bin/true"},
        )
