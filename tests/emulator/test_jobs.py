"""Jobs: their states, what ends them, what can be changed."""

from __future__ import annotations

from typing import Any

import pytest
from azure.batch.models import BatchJobDisableOptions, BatchJobUpdateOptions, BatchTaskCreateOptions
from azure.batch.models import _models as models
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
)

from tests.emulator.conftest import Account, until

BECAUSE = models.BatchJobTerminateOptions(termination_reason="Enough")


def _job_becomes(account: Account, state: str, job_id: str = "job") -> Any:
    def reached() -> Any:
        job = account.client.get_job(job_id)
        return job if job.state == state else None

    return until(reached, f"job {job_id} is {state}")


def _disable(account: Account, tasks: str) -> None:
    account.client.begin_disable_job("job", BatchJobDisableOptions(disable_tasks=tasks), polling_interval=0).result()
    assert account.client.get_job("job").state == "disabled"


def test_a_disabled_job_requeues_its_tasks_and_starts_none(account: Account) -> None:
    account.pool()
    account.job()
    account.task("long", "sleep 300")
    account.task_becomes("running", "long")
    _disable(account, "requeue")
    task = account.client.get_task("job", "long")
    assert (task.state, task.execution_info.requeue_count) == ("active", 1)
    with pytest.raises(ResourceExistsError, match="JobDisabled"):
        account.client.begin_disable_job("job", BatchJobDisableOptions(disable_tasks="wait"))
    account.client.begin_enable_job("job", polling_interval=0).result()
    account.task_becomes("running", "long")


def test_a_job_can_be_disabled_with_an_end_of_its_tasks(account: Account) -> None:
    account.pool()
    account.job()
    account.task("long", "sleep 300")
    account.task_becomes("running", "long")
    _disable(account, "terminate")
    assert account.client.get_task("job", "long").execution_info.failure_info.code == "TaskEnded"


def test_a_job_can_be_disabled_once_its_tasks_are_done(account: Account) -> None:
    account.pool()
    account.job()
    account.task("short", "sleep 1")
    account.task_becomes("running", "short")
    _disable(account, "wait")
    assert account.client.get_task("job", "short").execution_info.exit_code == 0


def test_a_terminated_job_ends_its_tasks_and_takes_no_more(account: Account) -> None:
    account.control("POST", "/settings", {"delays": {"job": 20}})
    account.pool()
    account.job()
    account.task("runs", "sleep 300")
    account.task("waits", "sleep 300")
    account.task_becomes("running", "runs")
    poller = account.client.begin_terminate_job("job", BECAUSE, polling_interval=0)
    assert account.client.get_job("job").state == "terminating"
    poller.result()
    job = account.client.get_job("job")
    assert (job.state, job.execution_info.termination_reason) == ("completed", "Enough")
    for task_id, code in (("runs", -9), ("waits", None)):
        info = account.client.get_task("job", task_id).execution_info
        assert (info.failure_info.code, info.exit_code, info.result) == ("TaskEnded", code, "failure")
    with pytest.raises(ResourceExistsError, match="JobCompleted"):
        account.task("late", "/bin/true")
    with pytest.raises(ResourceExistsError, match="TaskFilesUnavailable"):
        list(account.client.list_task_files("job", "waits"))


def test_a_job_ends_at_its_wall_clock_limit(account: Account) -> None:
    account.pool()
    account.job(constraints={"maxWallClockTime": "PT1S"})
    account.task("long", "sleep 300")
    job = _job_becomes(account, "completed")
    assert job.execution_info.termination_reason == "MaxWallClockTimeExpiry"
    assert account.client.get_task("job", "long").state == "completed"


def test_an_empty_job_that_ends_with_its_tasks_ends_at_once(account: Account) -> None:
    account.job(onAllTasksComplete="terminatejob")
    assert _job_becomes(account, "completed").execution_info.termination_reason == "AllTasksComplete"


def test_a_job_ends_with_its_last_task_when_told_so_after_adding_them(account: Account) -> None:
    account.pool()
    account.job()
    account.task("first", "/bin/true")
    account.task("second", "/bin/false")
    account.client.update_job("job", BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    assert _job_becomes(account, "completed").execution_info.termination_reason == "AllTasksComplete"
    counts = account.client.get_job_task_counts("job").task_counts
    assert (counts.succeeded, counts.failed) == (1, 1)


def test_a_failing_task_ends_a_job_that_wants_it(account: Account) -> None:
    account.pool()
    account.job(onTaskFailure="performexitoptionsjobaction")
    account.task("bad", "/bin/false")
    assert _job_becomes(account, "completed").execution_info.termination_reason == "TaskFailed"


@pytest.mark.parametrize(
    ("conditions", "state"),
    [
        ({"exitCodes": [{"code": 5, "exitOptions": {"jobAction": "none"}}]}, "active"),
        ({"exitCodes": [{"code": 5, "exitOptions": {"jobAction": "disable"}}]}, "disabled"),
        ({"exitCodeRanges": [{"start": 4, "end": 6, "exitOptions": {"jobAction": "disable"}}]}, "disabled"),
        (
            {
                "exitCodes": [{"code": 5, "exitOptions": {"jobAction": "none"}}],
                "exitCodeRanges": [{"start": 1, "end": 9, "exitOptions": {"jobAction": "terminate"}}],
            },
            "active",
        ),
        ({"default": {"jobAction": "disable"}}, "disabled"),
        ({"exitCodes": [{"code": 6, "exitOptions": {"jobAction": "none"}}]}, "completed"),
    ],
)
def test_exit_conditions_choose_what_becomes_of_the_job(account: Account, conditions: dict, state: str) -> None:
    account.pool()
    account.job(onTaskFailure="performexitoptionsjobaction")
    account.task("five", "/bin/bash -c 'exit 5'", exitConditions=conditions)
    account.completed("five")
    _job_becomes(account, state)


def test_a_command_that_cannot_start_meets_the_pre_processing_condition(account: Account) -> None:
    account.pool()
    account.job(onTaskFailure="performexitoptionsjobaction")
    account.task("missing", "/no/such/program", exitConditions={"preProcessingError": {"jobAction": "disable"}})
    info = account.completed("missing").execution_info
    assert (info.failure_info.code, info.exit_code) == ("CommandProgramNotFound", None)
    _job_becomes(account, "disabled")


def test_a_job_action_needs_a_job_that_heeds_it(account: Account) -> None:
    account.job()
    with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
        account.task("task", "/bin/true", exitConditions={"default": {"jobAction": "terminate"}})


def test_jobs_of_higher_priority_go_first(account: Account) -> None:
    account.job("low", priority=-5)
    account.job("high", priority=7)
    account.job("middle")
    for job_id in ("low", "middle", "high"):
        account.task("task", "/bin/true", job_id)
    account.client.update_job("low", BatchJobUpdateOptions(priority=9))
    account.pool()
    started = {
        job_id: account.completed("task", job_id).execution_info.start_time for job_id in ("low", "middle", "high")
    }
    assert sorted(started, key=lambda job_id: started[job_id]) == ["low", "high", "middle"]


def test_a_job_runs_only_as_many_tasks_at_once_as_it_may(account: Account) -> None:
    account.pool(taskSlotsPerNode=4)
    account.job(maxParallelTasks=2)
    for number in range(4):
        account.task(f"task{number}", "sleep 0.5")
    most = 0

    def done() -> bool:
        nonlocal most
        counts = account.client.get_job_task_counts("job").task_counts
        most = max(most, counts.running)
        return counts.completed == 4

    until(done, "all tasks are done")
    assert most == 2


def test_a_patch_replaces_whole_parts_and_a_put_resets_what_it_leaves_out(account: Account) -> None:
    account.job(priority=3, constraints={"maxTaskRetryCount": 5}, metadata=[{"name": "a", "value": "1"}])
    account.client.update_job("job", BatchJobUpdateOptions({"constraints": {"maxWallClockTime": "PT1H"}}))
    job = account.client.get_job("job")
    assert (job.constraints.max_task_retry_count, job.priority) == (0, 3)
    account.client.replace_job("job", job.__class__({"poolInfo": {"poolId": "pool"}}))
    job = account.client.get_job("job")
    assert (job.priority, job.metadata) == (0, None)


def test_active_jobs_beyond_the_quota_are_refused(account: Account) -> None:
    account.control("POST", "/settings", {"quotas": {"active_jobs": 1}})
    account.job()
    with pytest.raises(ResourceExistsError, match="ActiveJobAndScheduleQuotaReached"):
        account.job("second")
    account.client.begin_terminate_job("job", BECAUSE, polling_interval=0).result()
    account.job("second")


def test_a_job_id_is_taken_however_it_is_capitalised(account: Account) -> None:
    account.job("Job")
    with pytest.raises(ResourceExistsError, match=r"\(JobExists\) The specified job already exists\."):
        account.job("JOB")
    assert account.client.get_job("joB").id == "Job"


def test_a_deleted_job_stays_deleting_for_a_while_and_its_files_go(account: Account) -> None:
    account.control("POST", "/settings", {"delays": {"delete": 20}})
    account.pool()
    account.job()
    account.client.create_tasks("job", [BatchTaskCreateOptions(id="long", command_line="sleep 300")])
    account.task_becomes("running", "long")
    poller = account.client.begin_delete_job("job", polling_interval=0)
    assert account.client.get_job("job").state == "deleting"
    with pytest.raises(ResourceExistsError, match="JobBeingDeleted"):
        account.task("late", "/bin/true")
    with pytest.raises(ResourceExistsError, match="JobExists"):
        account.job()
    poller.result()
    (node,) = account.client.list_nodes("pool")
    names = [file.name for file in account.client.list_node_files("pool", node.id, recursive=True)]
    assert not [name for name in names if name.startswith("workitems/")]


def test_changes_of_a_job_and_a_task_hold_to_their_conditions(account: Account) -> None:
    account.job()
    account.task("task", "/bin/true")
    job, task = account.client.get_job("job"), account.client.get_task("job", "task")
    unchanged = {"match_condition": MatchConditions.IfNotModified}
    account.client.update_job("job", BatchJobUpdateOptions(priority=1), etag=job.etag, **unchanged)
    task.constraints.max_task_retry_count = 4
    account.client.replace_task("job", "task", task, etag=task.etag, **unchanged)
    assert account.client.get_task("job", "task").constraints.max_task_retry_count == 4
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        account.client.update_job("job", BatchJobUpdateOptions(priority=2), etag=job.etag, **unchanged)
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        account.client.begin_terminate_job("job", BECAUSE, etag=job.etag, **unchanged)
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        account.client.terminate_task("job", "task", etag=task.etag, **unchanged)
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        account.client.delete_task("job", "task", etag=task.etag, **unchanged)
    assert (account.client.get_job("job").priority, account.client.get_task("job", "task").state) == (
        1,
        "active",
    )


def test_a_task_ended_as_soon_as_it_was_placed_comes_off_its_node(account: Account) -> None:
    account.pool(nodes=2, taskSlotsPerNode=8)
    account.job()
    for turn in range(10):
        names = [f"task{turn}-{number}" for number in range(16)]
        account.client.create_tasks("job", [BatchTaskCreateOptions(id=name, command_line="sleep 60") for name in names])
        for name in names[::2]:
            account.client.delete_task("job", name)
        for name in names[1::2]:
            account.client.terminate_task("job", name)
        account.client.create_task("job", BatchTaskCreateOptions(id=names[0], command_line="/bin/true"))
        assert account.completed(names[0]).execution_info.exit_code == 0
        assert account.text(names[0]) == ""
    until(
        lambda: all(node.running_tasks_count == 0 for node in account.client.list_nodes("pool")),
        "the nodes are empty",
    )


def test_a_task_has_as_many_retries_as_its_job_says(account: Account) -> None:
    account.pool()
    account.job(constraints={"maxTaskRetryCount": 1})
    account.task("task", "/bin/false")
    task = account.completed("task")
    assert (task.constraints.max_task_retry_count, task.execution_info.retry_count) == (1, 1)


def test_a_job_that_ends_while_its_tasks_are_requeued_ends_them(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "sleep 300")
    account.task_becomes("running", "task")
    account.client.begin_disable_job("job", BatchJobDisableOptions(disable_tasks="requeue"))
    account.client.begin_terminate_job("job", BECAUSE, polling_interval=0).result()
    assert account.client.get_task("job", "task").state == "completed"


def test_a_change_that_is_refused_changes_nothing(account: Account) -> None:
    account.job()
    requeue = BatchJobDisableOptions(disable_tasks="requeue")
    account.client.begin_disable_job("job", requeue, polling_interval=0).result()
    with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
        account.client.update_job("job", BatchJobUpdateOptions({"poolInfo": {"poolId": "p2"}, "priority": 5000}))
    job = account.client.get_job("job")
    assert (job.pool_info.pool_id, job.execution_info.pool_id) == ("pool", "pool")


def test_a_clock_that_is_set_past_a_jobs_time_ends_it(account: Account) -> None:
    account.job(constraints={"maxWallClockTime": "PT10M"})
    account.control("POST", "/settings", {"clockOffset": 3600})
    assert _job_becomes(account, "completed").execution_info.termination_reason == "MaxWallClockTimeExpiry"


def test_a_job_that_ends_with_its_tasks_is_not_told_otherwise(account: Account) -> None:
    account.job()
    account.task("task", "/bin/true")  # which waits for a pool
    account.client.update_job("job", BatchJobUpdateOptions(all_tasks_complete_mode="terminatejob"))
    with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
        account.client.update_job("job", BatchJobUpdateOptions(all_tasks_complete_mode="noaction"))
    job = account.client.get_job("job")
    with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
        account.client.replace_job("job", job.__class__({"poolInfo": {"poolId": "pool"}}))
    assert account.client.get_job("job").all_tasks_complete_mode == "terminatejob"


def test_what_a_user_does_to_a_job_gives_it_a_new_version(account: Account) -> None:
    account.job()
    versions = [account.client.get_job("job").etag]
    for change in (
        lambda: account.client.begin_disable_job("job", BatchJobDisableOptions(disable_tasks="wait")),
        lambda: account.client.begin_enable_job("job"),
        lambda: account.client.begin_terminate_job("job", BECAUSE),
    ):
        change().result()
        versions.append(account.client.get_job("job").etag)
    assert len(set(versions)) == 4


def test_disabling_a_job_with_an_end_of_its_tasks_is_no_failure_that_ends_it(account: Account) -> None:
    account.pool()
    account.job(onTaskFailure="performexitoptionsjobaction")
    account.task("task", "sleep 300", exitConditions={"default": {"jobAction": "terminate"}})
    account.task_becomes("running", "task")
    _disable(account, "terminate")
    assert account.client.get_task("job", "task").state == "completed"


def test_a_task_that_waits_to_run_again_has_not_started(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "sleep 300")
    assert account.task_becomes("running", "task").execution_info.start_time
    _disable(account, "requeue")
    execution = account.client.get_task("job", "task").execution_info
    assert (execution.start_time, execution.requeue_count) == (None, 1)
