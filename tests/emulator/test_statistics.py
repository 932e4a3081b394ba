"""What tasks and pools have used: `$expand=stats`, and older api-versions' statistics of all jobs and pools."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from azure.batch.models import BatchJob
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest

from tests.emulator.conftest import Account, until

LAST = "2022-10-01.16.0"  # that had statistics of all jobs and pools
BUSY = "/bin/bash -c 'for ((i = 0; i < 200000; i++)); do :; done'"
NONE = timedelta(0)


def lifetime(account: Account, of: str, version: str = LAST, **query: str) -> Any:
    """The statistics of all jobs or pools, as an older client gets them."""
    request = HttpRequest("GET", f"/lifetime{of}stats", params={"api-version": version, **query})
    response = account.client.send_request(request, retry_total=0)
    response.raise_for_status()
    return response.json()


def job_with_statistics(account: Account) -> BatchJob:
    """The job, with its statistics."""
    return account.client.get_job("job", expand=["stats"])


def test_what_tasks_used_is_told_of_their_job(account: Account) -> None:
    account.pool(nodes=1)
    account.job()
    account.task("good", BUSY)
    account.task("bad", "/bin/false", constraints={"maxTaskRetryCount": 2})
    account.task("absent", "/no/such/program")
    for task_id in ("good", "bad", "absent"):
        account.completed(task_id)
    assert account.client.get_job("job").job_statistics is None
    job = job_with_statistics(account)
    (listed,) = account.client.list_jobs(expand=["stats"])
    for stats in (job.job_statistics, listed.job_statistics):
        assert stats is not None
        assert (stats.succeeded_tasks_count, stats.failed_tasks_count, stats.task_retries_count) == (1, 2, 2)
        assert NONE < stats.user_cpu_time <= stats.wall_clock_time < timedelta(minutes=2)
        assert stats.kernel_cpu_time >= NONE
        assert stats.start_time == job.creation_time <= stats.last_update_time
        # Nobody counts these; how long tasks waited is told of the whole account only.
        assert (stats.read_iops, stats.write_iops, stats.wait_time) == (None, None, None)
    (selected,) = account.client.list_jobs(expand=["stats"], select=["id", "stats"])
    assert selected.keys() == {"id", "stats"}
    (without,) = account.client.list_jobs(expand=["stats"], select=["id"])
    assert without.keys() == {"id"}


def test_a_task_that_runs_counts_already(account: Account) -> None:
    account.pool(nodes=1)
    account.job()
    account.task("task", "/bin/sleep 60")

    def wall_clock() -> timedelta:
        stats = job_with_statistics(account).job_statistics
        assert stats is not None
        return stats.wall_clock_time

    first = until(wall_clock, "the task runs")
    assert until(lambda: wall_clock() > first, "its wall clock time grows")
    account.client.terminate_task("job", "task")
    account.completed("task")
    assert wall_clock() == wall_clock() > first
    stats = job_with_statistics(account).job_statistics
    assert stats is not None
    assert (stats.succeeded_tasks_count, stats.failed_tasks_count) == (0, 1)


def test_a_pool_tells_the_time_of_its_dedicated_cores(account: Account) -> None:
    account.pool(nodes=1, targetLowPriorityNodes=1, wait=False)
    account.nodes_become("idle", number=2)
    (listed,) = account.client.list_pools(expand=["stats"])
    for pool in (account.client.get_pool("pool", expand=["stats"]), listed):
        (metrics,) = account.client.list_pool_usage_metrics()
        stats = pool.pool_statistics
        assert stats is not None
        assert stats.usage_statistics is not None
        spent = stats.usage_statistics.dedicated_core_time
        assert NONE < spent < timedelta(hours=metrics.total_core_hours)  # those are of the spot node too
        assert stats.resource_statistics is None
    assert account.client.get_pool("pool").pool_statistics is None


def test_a_schedule_tells_what_its_jobs_used(account: Account) -> None:
    account.pool(nodes=1)
    manager = {"id": "manager", "commandLine": "/bin/true"}
    specification = {"poolInfo": {"poolId": "pool"}, "jobManagerTask": manager}
    account.client.create_job_schedule({"id": "schedule", "schedule": {}, "jobSpecification": specification})

    def succeeded() -> bool:
        stats = account.client.get_job_schedule("schedule", expand=["stats"]).job_schedule_statistics
        return stats is not None and stats.succeeded_tasks_count == 1

    until(succeeded, "the manager of its job succeeds")
    (job,) = account.client.list_jobs_from_schedule("schedule", expand=["stats"])
    (schedule,) = account.client.list_job_schedules(expand=["stats"])
    for stats in (job.job_statistics, schedule.job_schedule_statistics):
        assert stats is not None
        assert (stats.succeeded_tasks_count, stats.failed_tasks_count) == (1, 0)
        assert stats.wall_clock_time > NONE
    account.client.begin_delete_job(job.id, polling_interval=0).result()
    assert succeeded()


def test_older_versions_told_of_all_jobs_and_pools_that_ever_were(account: Account) -> None:
    before = lifetime(account, "job")
    assert (before["numSucceededTasks"], before["wallClockTime"]) == ("0", "PT0S")
    assert lifetime(account, "pool")["usageStats"]["dedicatedCoreTime"] == "PT0S"
    account.pool(nodes=1)
    for job_id in ("job", "other"):
        account.job(job_id)
        account.task("task", "/bin/true", job_id=job_id)
        account.completed("task", job_id=job_id)
    account.client.begin_delete_job("other", polling_interval=0).result()
    account.client.begin_delete_pool("pool", polling_interval=0).result()
    until(lambda: not list(account.client.list_pools()), "the pool is gone")
    for version in ("2016-07-01.3.1", LAST):
        jobs, pools = lifetime(account, "job", version), lifetime(account, "pool", version)
        assert jobs["odata.metadata"].endswith("$metadata#jobstats/@Element")
        assert jobs["url"].endswith("/lifetimejobstats")
        assert (jobs["numSucceededTasks"], jobs["numFailedTasks"]) == ("2", "0")
        assert jobs["startTime"] == pools["startTime"] <= jobs["lastUpdateTime"]
        assert jobs["wallClockTime"] != "PT0S"
        assert jobs["waitTime"] != "PT0S"
        assert pools["url"].endswith("/lifetimepoolstats")
        assert pools["usageStats"]["dedicatedCoreTime"] != "PT0S"
    assert lifetime(account, "job", **{"$select": "numFailedTasks"}).keys() == {"odata.metadata", "numFailedTasks"}
    for of in ("job", "pool"):
        with pytest.raises(HttpResponseError, match=r"\(InvalidUri\)"):
            lifetime(account, of, "2023-05-01.17.0")


def test_nothing_else_is_expanded(account: Account) -> None:
    account.job()
    with pytest.raises(HttpResponseError, match=r"\(InvalidQueryParameterValue\)"):
        account.client.get_job("job", expand=["everything"])
    with pytest.raises(HttpResponseError, match=r"\(InvalidQueryParameterValue\)"):
        list(account.client.list_jobs(expand=["everything"]))
