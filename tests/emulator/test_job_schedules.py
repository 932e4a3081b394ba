"""Job schedules: when they make jobs, and how they end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.batch.models import BatchJobSchedule, BatchJobScheduleUpdateOptions
from azure.batch.models._models import BatchJobTerminateOptions
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceModifiedError, ResourceNotFoundError

from tests.emulator.conftest import UBUNTU, Account, until

HOUR = 3600.0
SPECIFICATION = {"poolInfo": {"poolId": "pool"}}
BECAUSE = BatchJobTerminateOptions({"terminateReason": "enough"})


def _schedule(account: Account, specification: Any = None, **timing: object) -> None:
    account.client.create_job_schedule(
        {"id": "nightly", "schedule": timing, "jobSpecification": specification or SPECIFICATION}
    )


def _jobs(account: Account) -> list[str]:
    return [job.id for job in account.client.list_jobs_from_schedule("nightly")]


def _clock(account: Account, hours: float) -> None:
    account.control("POST", "/settings", {"clockOffset": hours * HOUR})


def _becomes(account: Account, state: str) -> Any:
    def reached() -> Any:
        schedule = account.client.get_job_schedule("nightly")
        return schedule if schedule.state == state else None

    return until(reached, f"the schedule is {state}")


def _is_gone(account: Account) -> bool:
    """Whether both ways of asking say so; the SDK raises for a 404 of either."""
    with pytest.raises(ResourceNotFoundError):
        account.client.job_schedule_exists("nightly")
    with pytest.raises(ResourceNotFoundError, match=r"\(JobScheduleNotFound\)"):
        account.client.get_job_schedule("nightly")
    return True


def _terminate(account: Account, job_id: str) -> None:
    account.client.begin_terminate_job(job_id, BECAUSE, polling_interval=0).result()


def _in(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_schedule_without_recurrence_makes_one_job_and_completes_with_it(account: Account) -> None:
    specification = {**SPECIFICATION, "priority": 7, "metadata": [{"name": "a", "value": "1"}], "displayName": "Night"}
    _schedule(account, specification)
    assert account.client.job_schedule_exists("NIGHTLY")
    assert _jobs(account) == ["nightly:job-1"]
    job = account.client.get_job("nightly:job-1")
    assert (job.priority, job.metadata[0].value, job.display_name) == (7, "1", "Night")
    schedule = account.client.get_job_schedule("nightly")
    assert (schedule.state, schedule.execution_info.recent_job.id) == ("active", "nightly:job-1")
    assert schedule.execution_info.next_run_time is None
    _terminate(account, "nightly:job-1")
    schedule = _becomes(account, "completed")
    assert schedule.execution_info.end_time > schedule.creation_time
    with pytest.raises(ResourceExistsError, match=r"\(JobScheduleCompleted\)"):
        account.client.disable_job_schedule("nightly")


def test_each_recurrence_has_a_job_but_only_one_at_a_time(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H")
    assert _jobs(account) == ["nightly:job-1"]
    following = account.client.get_job_schedule("nightly").execution_info.next_run_time
    assert timedelta(minutes=59) < following - datetime.now(UTC) <= timedelta(hours=1)
    _terminate(account, "nightly:job-1")
    assert _jobs(account) == ["nightly:job-1"]  # the next one is not due yet
    _clock(account, 1.01)
    assert _jobs(account) == ["nightly:job-1", "nightly:job-2"]
    _clock(account, 2.01)
    assert _jobs(account) == ["nightly:job-1", "nightly:job-2"]  # it is due, but the other one still runs
    _terminate(account, "nightly:job-2")
    until(lambda: len(_jobs(account)) == 3, "the third job is made as the second ends")


def test_a_job_that_cannot_begin_in_its_window_is_left_out(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H", startWindow="PT10M")
    _clock(account, 1.5)
    _terminate(account, "nightly:job-1")
    schedule = _becomes(account, "active")
    assert _jobs(account) == ["nightly:job-1"]  # half an hour late
    assert schedule.execution_info.next_run_time > datetime.now(UTC) + timedelta(hours=1.9)
    _clock(account, 2.1)
    assert _jobs(account) == ["nightly:job-1", "nightly:job-2"]  # six minutes late


def test_it_begins_and_ends_when_it_is_told_to(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H", doNotRunUntil=_in(2), doNotRunAfter=_in(3.5))
    assert _jobs(account) == []
    _clock(account, 2.1)
    assert _jobs(account) == ["nightly:job-1"]
    _clock(account, 3.6)
    assert account.client.get_job_schedule("nightly").state == "active"  # its job still runs
    _terminate(account, "nightly:job-1")
    _becomes(account, "completed")
    assert _jobs(account) == ["nightly:job-1"]


def test_its_timer_goes_off_by_itself(account: Account) -> None:
    _clock(account, -1)
    start = (datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    _schedule(account, doNotRunUntil=start)
    assert _jobs(account) == []
    until(lambda: _jobs(account) == ["nightly:job-1"], "the job is made when it is due")


def test_a_disabled_one_makes_no_jobs_until_it_is_enabled(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H")
    _terminate(account, "nightly:job-1")
    account.client.disable_job_schedule("nightly")
    with pytest.raises(ResourceExistsError, match=r"\(JobScheduleDisabled\)"):
        account.client.disable_job_schedule("nightly")
    _clock(account, 1.1)
    assert _jobs(account) == ["nightly:job-1"]
    account.client.enable_job_schedule("nightly")
    assert _jobs(account) == ["nightly:job-1", "nightly:job-2"]
    with pytest.raises(ResourceExistsError, match=r"\(OperationInvalidForCurrentState\)"):
        account.client.enable_job_schedule("nightly")


def test_terminating_it_ends_its_job(account: Account) -> None:
    account.pool()
    _schedule(account, recurrenceInterval="PT1H")
    account.task("long", "sleep 300", "nightly:job-1")
    account.task_becomes("running", "long", "nightly:job-1")
    account.client.begin_terminate_job_schedule("nightly", polling_interval=0).result()
    assert account.client.get_job_schedule("nightly").state == "completed"
    job = account.client.get_job("nightly:job-1")
    assert (job.state, job.execution_info.termination_reason) == ("completed", "TerminateJobSchedule")
    _clock(account, 5)
    assert _jobs(account) == ["nightly:job-1"]


def test_deleting_it_deletes_all_its_jobs(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H")
    _terminate(account, "nightly:job-1")
    _clock(account, 1.1)
    assert len(list(account.client.list_jobs())) == 2
    account.job("other")
    account.client.begin_delete_job_schedule("nightly", polling_interval=0).result()
    assert [job.id for job in account.client.list_jobs()] == ["other"]
    assert _is_gone(account)
    _schedule(account)
    assert _jobs(account) == ["nightly:job-1"]


def test_a_job_that_is_deleted_makes_room_for_the_next(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H")
    _clock(account, 1.1)
    account.client.begin_delete_job("nightly:job-1", polling_interval=0).result()
    assert _jobs(account) == ["nightly:job-2"]


def test_its_tasks_run_in_numbered_directories(account: Account) -> None:
    account.pool()
    _schedule(account, recurrenceInterval="PT1H")
    for number, hours in ((1, 1.1), (2, 2.1)):
        job_id = f"nightly:job-{number}"
        account.task("task", "/bin/bash -c 'echo $AZ_BATCH_JOB_ID; pwd'", job_id)
        task = account.completed("task", job_id)
        assert task.node_info.task_root_directory == f"workitems/nightly/job-{number}/task"
        said = account.text("task", job_id=job_id).splitlines()
        assert said[0] == job_id
        assert said[1].endswith(f"/workitems/nightly/job-{number}/task/wd")
        _terminate(account, job_id)
        _clock(account, hours)


def test_an_auto_pool_may_serve_all_its_jobs(account: Account) -> None:
    pool = {"vmSize": "STANDARD_D2S_V3", "virtualMachineConfiguration": UBUNTU}
    specification = {"poolLifetimeOption": "jobschedule", "autoPoolIdPrefix": "auto", "pool": pool}
    _schedule(account, {"poolInfo": {"autoPoolSpecification": specification}}, recurrenceInterval="PT1H")
    _terminate(account, "nightly:job-1")
    _clock(account, 1.1)
    first, second = (account.client.get_job(job_id).execution_info.pool_id for job_id in _jobs(account))
    assert first == second
    assert [pool.id for pool in account.client.list_pools()] == [first]
    account.client.begin_terminate_job_schedule("nightly", polling_interval=0).result()
    until(lambda: not list(account.client.list_pools()), "the pool goes with its schedule")


def test_an_auto_pool_of_each_job_goes_with_it(account: Account) -> None:
    pool = {"vmSize": "STANDARD_D2S_V3", "virtualMachineConfiguration": UBUNTU}
    specification = {"poolLifetimeOption": "job", "pool": pool}
    _schedule(account, {"poolInfo": {"autoPoolSpecification": specification}}, recurrenceInterval="PT1H")
    first = account.client.get_job("nightly:job-1").execution_info.pool_id
    _terminate(account, "nightly:job-1")
    _clock(account, 1.1)
    second = account.client.get_job("nightly:job-2").execution_info.pool_id
    assert second != first
    until(lambda: [pool.id for pool in account.client.list_pools()] == [second], "the first job's pool is gone")


def test_changes_hold_for_jobs_to_come(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H")
    before = account.client.get_job_schedule("nightly")
    changes = {"jobSpecification": {**SPECIFICATION, "priority": 9}, "metadata": [{"name": "a", "value": "1"}]}
    account.client.update_job_schedule("nightly", BatchJobScheduleUpdateOptions(changes))
    changed = account.client.get_job_schedule("nightly")
    assert changed.etag != before.etag
    assert (changed.schedule.recurrence_interval, changed.metadata[0].name) == (timedelta(hours=1), "a")
    _terminate(account, "nightly:job-1")
    _clock(account, 1.1)
    assert [account.client.get_job(job_id).priority for job_id in _jobs(account)] == [0, 9]
    account.client.replace_job_schedule("nightly", BatchJobSchedule({"jobSpecification": SPECIFICATION}))
    replaced = account.client.get_job_schedule("nightly")
    assert (replaced.metadata, replaced.schedule.recurrence_interval) == (None, None)
    assert replaced.job_specification.priority == 0
    _terminate(account, "nightly:job-2")
    _becomes(account, "completed")  # it does not recur any more, and has made a job
    assert len(_jobs(account)) == 2


def test_writes_hold_to_conditions(account: Account) -> None:
    _schedule(account)
    schedule = account.client.get_job_schedule("nightly")
    account.client.update_job_schedule("nightly", BatchJobScheduleUpdateOptions({"metadata": []}))
    with pytest.raises(ResourceModifiedError, match=r"\(ConditionNotMet\)"):
        account.client.begin_delete_job_schedule(
            "nightly", etag=schedule.etag, match_condition=MatchConditions.IfNotModified
        )


def test_schedules_are_listed_filtered_and_trimmed(account: Account) -> None:
    for name in ("one", "two"):
        account.client.create_job_schedule({"id": name, "schedule": {}, "jobSpecification": SPECIFICATION})
    account.client.disable_job_schedule("two")
    found = list(account.client.list_job_schedules(filter="state eq 'disabled'", select=["id", "state"]))
    assert [(schedule.id, schedule.url) for schedule in found] == [("two", None)]
    with pytest.raises(ResourceExistsError, match=r"\(JobScheduleExists\)"):
        account.client.create_job_schedule({"id": "ONE", "schedule": {}, "jobSpecification": SPECIFICATION})


def test_schedules_and_their_jobs_count_in_the_quota(account: Account) -> None:
    account.control("POST", "/settings", {"quotas": {"active_jobs": 1}})
    _schedule(account, recurrenceInterval="PT1H")  # itself fills the quota: its job has to wait
    assert _jobs(account) == []
    with pytest.raises(ResourceExistsError, match=r"\(ActiveJobAndScheduleQuotaReached\)"):
        account.job()
    account.control("POST", "/settings", {"quotas": {"active_jobs": 2}})
    _clock(account, 1 / 60)
    assert _jobs(account) == ["nightly:job-1"]


@pytest.mark.parametrize(
    ("timing", "specification", "cause"),
    [
        ({"recurrenceInterval": "PT59S"}, SPECIFICATION, "schedule.recurrenceInterval"),
        ({"startWindow": "PT1S"}, SPECIFICATION, "schedule.startWindow"),
        ({}, {"poolInfo": {}}, "poolInfo"),
        ({}, {**SPECIFICATION, "priority": 2000}, "priority"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(
    account: Account, timing: dict[str, str], specification: dict[str, Any], cause: str
) -> None:
    with pytest.raises(HttpResponseError) as refused:
        _schedule(account, specification, **timing)
    assert refused.value.status_code == 400
    assert cause in str(refused.value.error)
    assert _is_gone(account)


@pytest.mark.parametrize(
    "timing",
    [
        {"recurrenceInterval": "P10675199DT2H48M5.4775807S"},  # how Azure writes that there is no limit
        {"startWindow": "P9000Y"},
        {"doNotRunAfter": "9999-12-31T23:59:59.9999999Z"},
        {"doNotRunUntil": "0001-01-01T00:00:00Z", "recurrenceInterval": "PT1M"},
    ],
)
def test_the_ends_of_the_calendar_are_no_limits(account: Account, timing: dict[str, str]) -> None:
    _schedule(account, **timing)
    assert _jobs(account) == ["nightly:job-1"]
    _clock(account, 1.1)
    account.client.begin_terminate_job_schedule("nightly", polling_interval=0).result()
    assert account.client.get_job_schedule("nightly").state == "completed"


def test_one_whose_time_is_over_completes_without_a_job(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H", doNotRunAfter=_in(-1))
    schedule = account.client.get_job_schedule("nightly")
    assert (schedule.state, schedule.execution_info.recent_job, _jobs(account)) == ("completed", None, [])


def test_each_write_holds_to_an_old_etag(account: Account) -> None:
    _schedule(account)
    stale = {"etag": account.client.get_job_schedule("nightly").etag, "match_condition": MatchConditions.IfNotModified}
    account.client.update_job_schedule("nightly", BatchJobScheduleUpdateOptions({"metadata": []}))
    now = account.client.get_job_schedule("nightly")
    replacement = BatchJobSchedule({"jobSpecification": SPECIFICATION})
    for write, given in (
        (account.client.update_job_schedule, (BatchJobScheduleUpdateOptions({"metadata": []}),)),
        (account.client.replace_job_schedule, (replacement,)),
        (account.client.disable_job_schedule, ()),
        (account.client.enable_job_schedule, ()),
        (account.client.begin_terminate_job_schedule, ()),
    ):
        with pytest.raises(ResourceModifiedError, match=r"\(ConditionNotMet\)"):
            write("nightly", *given, **stale)
    after = account.client.get_job_schedule("nightly")
    assert (after.etag, after.state) == (now.etag, "active")


def test_a_kept_auto_pool_stays_when_its_schedule_is_deleted(account: Account) -> None:
    pool = {"vmSize": "STANDARD_D2S_V3", "virtualMachineConfiguration": UBUNTU}
    for keep in (True, False):
        specification = {"poolLifetimeOption": "jobschedule", "keepAlive": keep, "pool": pool}
        _schedule(account, {"poolInfo": {"autoPoolSpecification": specification}}, recurrenceInterval="PT1H")
        account.client.begin_delete_job_schedule("nightly", polling_interval=0).result()
        assert _is_gone(account)
    until(lambda: len(list(account.client.list_pools())) == 1, "the pool that is not to be kept is gone")


def test_its_jobs_are_filtered_and_trimmed(account: Account) -> None:
    _schedule(account, recurrenceInterval="PT1H")
    _terminate(account, "nightly:job-1")
    _clock(account, 1.1)
    found = account.client.list_jobs_from_schedule("NIGHTLY", filter="state eq 'completed'", select=["id"])
    assert [(job.id, job.url) for job in found] == [("nightly:job-1", None)]


def test_a_job_of_the_same_id_takes_only_its_own_files_along(account: Account) -> None:
    account.pool()
    account.job("nightly")
    account.task("task", "/bin/true", job_id="nightly")
    account.completed("task", "nightly")
    manager = {"id": "manager", "commandLine": "/bin/echo here", "killJobOnCompletion": False}
    _schedule(account, {**SPECIFICATION, "jobManagerTask": manager}, recurrenceInterval="PT1H")
    _clock(account, 1.5)
    account.client.begin_terminate_job("nightly:job-1", BECAUSE, polling_interval=0).result()
    until(lambda: "nightly:job-2" in _jobs(account), "the next job is there")
    account.completed("manager", "nightly:job-2")
    account.client.begin_delete_job("nightly", polling_interval=0).result()
    assert account.text("manager", job_id="nightly:job-2") == "here\n"


@pytest.mark.parametrize("wrong", [{"vmSize": "nonsense"}, {"taskSlotsPerNode": 1000}])
def test_an_auto_pool_that_cannot_be_is_refused_with_its_schedule(account: Account, wrong: dict[str, Any]) -> None:
    pool = {"vmSize": "STANDARD_D2S_V3", "virtualMachineConfiguration": UBUNTU, **wrong}
    specification = {"poolInfo": {"autoPoolSpecification": {"poolLifetimeOption": "jobschedule", "pool": pool}}}
    for timing in ({}, {"doNotRunUntil": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}):
        with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
            _schedule(account, specification, **timing)
    assert list(account.client.list_job_schedules()) == []
    _schedule(account, recurrenceInterval="PT1H")
    with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
        account.client.update_job_schedule(
            "nightly", BatchJobScheduleUpdateOptions({"jobSpecification": specification})
        )
    assert account.client.get_job_schedule("nightly").job_specification.pool_info.pool_id == "pool"
