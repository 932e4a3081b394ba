"""Which task goes where, and when: slots, spreading and packing, affinity, order, dependencies."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.emulator.conftest import Account, until


def _running(account: Account, count: int) -> None:
    until(lambda: account.client.get_job_task_counts("job").task_counts.running == count, f"{count} tasks run")


@pytest.mark.parametrize(("fill", "loads"), [("spread", [2, 2]), ("pack", [0, 4])])
def test_tasks_are_spread_over_nodes_or_packed_onto_them(account: Account, fill: str, loads: list[int]) -> None:
    account.pool(nodes=2, taskSlotsPerNode=4, taskSchedulingPolicy={"nodeFillType": fill})
    account.job()
    for number in range(4):
        account.task(f"task{number}", "sleep 300")
    _running(account, 4)
    assert sorted(node.running_tasks_count for node in account.client.list_nodes("pool")) == loads


def test_a_task_takes_the_slots_it_requires(account: Account) -> None:
    account.pool(taskSlotsPerNode=4)
    account.job()
    account.task("wide", "sleep 300", requiredSlots=3)
    account.task("too", "sleep 300", requiredSlots=2)
    account.task("narrow", "sleep 300")
    account.task_becomes("running", "narrow")  # it passes the one that does not fit
    assert account.client.get_task("job", "too").state == "active"
    counts = account.client.get_job_task_counts("job")
    assert (counts.task_slot_counts.running, counts.task_slot_counts.active) == (4, 2)
    (node,) = account.client.list_nodes("pool")
    assert (node.running_tasks_count, node.running_task_slots_count) == (2, 4)
    account.client.terminate_task("job", "wide")
    account.task_becomes("running", "too")


def test_a_task_goes_to_the_node_it_names_if_that_is_free(account: Account) -> None:
    account.pool(nodes=3)
    account.job()
    wanted = list(account.client.list_nodes("pool"))[1]
    account.task("task", "/bin/true", affinityInfo={"affinityId": wanted.affinity_id})
    assert account.completed("task").node_info.node_id == wanted.id


def test_tasks_of_a_job_start_in_the_order_in_which_they_came(account: Account) -> None:
    account.job()
    names = [f"task{number}" for number in (3, 1, 2)]
    for name in names:
        account.task(name, "/bin/true")
    account.pool()
    started = {name: account.completed(name).execution_info.start_time for name in names}
    assert sorted(started, key=lambda name: started[name]) == names


def test_tasks_may_wait_for_a_pool_that_does_not_exist_yet(account: Account) -> None:
    account.job(pool_id="later")
    account.task("task", "/bin/true")
    assert account.client.get_task("job", "task").state == "active"
    account.pool("later", wait=False)
    account.completed("task")


# Dependencies


def _states(account: Account) -> dict[str, Any]:
    return {task.id: task.state for task in account.client.list_tasks("job")}


def test_a_task_waits_for_the_tasks_it_depends_on(account: Account) -> None:
    account.pool(nodes=2)
    account.job(usesTaskDependencies=True)
    account.task("last", "/bin/true", dependsOn={"taskIds": ["first", "SECOND"]})  # added before them
    account.task("first", "/bin/true")
    account.completed("first")
    assert _states(account)["last"] == "active"
    account.task("second", "/bin/true")
    last = account.completed("last")
    assert last.execution_info.start_time >= account.completed("second").execution_info.end_time


def test_a_range_of_ids_counts_integers_however_they_are_written(account: Account) -> None:
    account.pool(nodes=2)
    account.job(usesTaskDependencies=True)
    account.task("007", "/bin/true")
    account.completed("007")
    account.task("after", "/bin/true", dependsOn={"taskIdRanges": [{"start": 7, "end": 9}]})
    account.task("8", "/bin/true")
    account.completed("8")
    assert _states(account)["after"] == "active"
    account.task("9", "/bin/true")
    account.completed("after")


def test_dependents_of_a_failed_task_stay_active(account: Account) -> None:
    account.pool()
    account.job(usesTaskDependencies=True)
    account.task("bad", "/bin/false")
    account.task("after", "/bin/true", dependsOn={"taskIds": ["bad"]})
    account.completed("bad")
    account.task("other", "/bin/true")
    account.completed("other")
    assert _states(account)["after"] == "active"


def test_a_dependency_action_lets_dependents_of_a_failed_task_run(account: Account) -> None:
    account.pool()
    account.job(usesTaskDependencies=True)
    conditions = {"exitCodes": [{"code": 1, "exitOptions": {"dependencyAction": "satisfy"}}]}
    account.task("bad", "/bin/false", exitConditions=conditions)
    account.task("after", "/bin/true", dependsOn={"taskIds": ["bad"]})
    account.completed("after")


def test_a_dependency_action_holds_dependents_of_a_good_task_back(account: Account) -> None:
    account.pool()
    account.job(usesTaskDependencies=True)
    conditions = {"exitCodes": [{"code": 0, "exitOptions": {"dependencyAction": "block"}}]}
    account.task("good", "/bin/true", exitConditions=conditions)
    account.task("after", "/bin/true", dependsOn={"taskIds": ["good"]})
    account.completed("good")
    account.task("other", "/bin/true")
    account.completed("other")
    assert _states(account)["after"] == "active"


def test_a_reactivated_task_runs_again_and_frees_its_dependents(account: Account) -> None:
    account.pool()
    account.job(usesTaskDependencies=True)
    line = "/bin/bash -c 'mkdir $AZ_BATCH_NODE_SHARED_DIR/seen && exit 1; exit 0'"
    account.task("second-try", line)
    account.task("after", "/bin/true", dependsOn={"taskIds": ["second-try"]})
    assert account.completed("second-try").execution_info.exit_code == 1
    account.client.reactivate_task("job", "second-try")
    account.completed("after")
    with pytest.raises(HttpResponseError, match="TaskSucceeded"):
        account.client.reactivate_task("job", "second-try")


def test_a_reactivated_task_still_waits_for_the_tasks_it_depends_on(account: Account) -> None:
    account.job(usesTaskDependencies=True)
    account.task("first", "/bin/bash -c 'echo 1 > $AZ_BATCH_NODE_SHARED_DIR/first'")
    account.task("second", "/bin/bash -c 'cat $AZ_BATCH_NODE_SHARED_DIR/first'", dependsOn={"taskIds": ["first"]})
    account.client.terminate_task("job", "second")
    account.client.reactivate_task("job", "second")
    account.client.terminate_task("job", "first")
    account.pool()
    account.task("last", "/bin/true")
    account.completed("last")
    assert _states(account)["second"] == "active"
    account.client.reactivate_task("job", "first")
    assert account.completed("second").execution_info.exit_code == 0


@pytest.mark.parametrize(
    ("depends_on", "code"),
    [
        ({"taskIds": ["x" * 64] * 1001}, "TaskDependencyListTooLong"),
        ({"taskIdRanges": [{"start": 2, "end": 1}]}, "InvalidPropertyValue"),
    ],
)
def test_dependencies_that_make_no_sense_are_refused(account: Account, depends_on: dict, code: str) -> None:
    account.job(usesTaskDependencies=True)
    with pytest.raises(HttpResponseError, match=code):
        account.task("task", "/bin/true", dependsOn=depends_on)


def test_a_job_must_say_that_its_tasks_have_dependencies(account: Account) -> None:
    account.job()
    with pytest.raises(HttpResponseError, match="TaskDependenciesNotSpecifiedOnJob"):
        account.task("task", "/bin/true", dependsOn={"taskIds": ["other"]})


def test_a_deleted_task_that_waited_for_another_never_runs(account: Account) -> None:
    account.pool()
    account.job(usesTaskDependencies=True)
    account.task("after", "/bin/true", dependsOn={"taskIds": ["first"]})
    account.client.delete_task("job", "after")
    account.task("first", "/bin/true")
    account.completed("first")
    assert [task.id for task in account.client.list_tasks("job")] == ["first"]


@pytest.mark.parametrize(("name", "on"), [("a", {"taskIds": ["a"]}), ("7", {"taskIdRanges": [{"start": 7, "end": 7}]})])
def test_a_deleted_task_satisfies_nothing_that_comes_later(account: Account, name: str, on: dict[str, Any]) -> None:
    account.pool(taskSlotsPerNode=2)
    account.job(usesTaskDependencies=True)
    account.task("first", "/bin/true", dependsOn=on)
    account.task(name, "/bin/true")
    account.completed("first")
    account.client.delete_task("job", name)
    account.task(name, "sleep 300")
    account.task("second", "/bin/true", dependsOn=on)
    account.task_becomes("running", name)
    assert account.client.get_task("job", "second").state == "active"
