"""Faults on request, as the SDK's clients meet them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.batch.models import BatchTaskCreateOptions, CreateTasksError
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ServiceResponseError

from tests.emulator.conftest import Account, Emulator, until


def _fault(account: Account, action: str, **more: Any) -> None:
    account.control("POST", "/faults", {"action": action, **more})


@pytest.mark.parametrize(("status", "code"), [(429, "TooManyRequests"), (500, "InternalError"), (503, "ServerBusy")])
def test_the_next_requests_are_answered_with_an_error(account: Account, status: int, code: str) -> None:
    _fault(account, "answer", status=status, method="POST", path="/jobs", count=2, retryAfter=7)
    for _ in range(2):
        with pytest.raises(HttpResponseError) as refused:
            account.client.create_job({"id": "job", "poolInfo": {"poolId": "pool"}}, retry_total=0)
        assert refused.value.status_code == status
        assert refused.value.error is not None
        assert refused.value.error.code == code
        response: Any = refused.value.response
        assert response.headers["Retry-After"] == "7"
    assert list(account.client.list_jobs()) == []
    account.job()


def test_a_client_that_retries_gets_over_a_throttled_request(account: Account) -> None:
    _fault(account, "answer", status=429, path="/jobs", retryAfter=1)
    account.job()
    assert account.control("GET", "/faults")["requests"] == []


@pytest.mark.parametrize("action", ["answer-after", "drop-after"])
def test_a_creation_can_take_effect_and_look_failed(account: Account, action: str) -> None:
    _fault(account, action, method="POST", path="/jobs")
    with pytest.raises((HttpResponseError, ServiceResponseError)) as failed:
        account.client.create_job({"id": "job", "poolInfo": {"poolId": "pool"}}, retry_total=0)
    assert not isinstance(failed.value, ResourceExistsError)
    assert account.client.get_job("job").state == "active"


def test_a_connection_can_be_cut_before_anything_is_done(account: Account) -> None:
    _fault(account, "drop", method="POST", path="/jobs")
    with pytest.raises(ServiceResponseError):
        account.client.create_job({"id": "job", "poolInfo": {"poolId": "pool"}}, retry_total=0)
    assert list(account.client.list_jobs()) == []


def test_a_retried_creation_that_took_effect_meets_itself(account: Account) -> None:
    _fault(account, "answer-after", status=503, method="POST", path="/jobs")
    with pytest.raises(ResourceExistsError, match="JobExists"):
        account.job()


def test_an_answer_can_be_slow(account: Account) -> None:
    account.job()
    _fault(account, "delay", path="/jobs/job", seconds=0.7)
    began = time.monotonic()
    account.client.get_job("job")
    assert time.monotonic() - began >= 0.7


def test_start_tasks_fail_on_request(account: Account) -> None:
    account.control("POST", "/settings", {"failingStartTasks": 1})
    account.pool(nodes=2, startTask={"commandLine": "/bin/true"}, wait=False)
    until(lambda: sorted(account.node_states()) == ["idle", "starttaskfailed"], "one of two start tasks fails")


def test_task_counts_can_lag(account: Account) -> None:
    account.control("POST", "/settings", {"taskCountsLag": 2})
    account.job()
    account.task("task", "/bin/true")
    assert account.client.get_job_task_counts("job").task_counts.active == 0
    until(lambda: account.client.get_job_task_counts("job").task_counts.active == 1, "the counts catch up")


def test_statuses_of_a_collection_are_capitalised_as_azure_does(account: Account) -> None:
    account.job()
    bad = BatchTaskCreateOptions(id="bad id", command_line="/bin/true")
    (result,) = account.client.create_tasks("job", [bad]).result_values
    # The SDK compares with its own spelling, so it takes the error for a success.
    assert (result.status, result.error.code) == ("ClientError", "InvalidPropertyValue")
    account.control("POST", "/settings", {"lowerCaseStatuses": True})
    with pytest.raises(CreateTasksError):
        account.client.create_tasks("job", [bad])


def test_faults_are_of_one_account_and_in_the_log(account: Account, emulator: Emulator) -> None:
    _fault(account, "answer", status=503, path="/jobs*")
    with emulator.client("another" + account.name[4:20]) as other:
        assert list(other.list_jobs()) == []
    with pytest.raises(HttpResponseError):
        list(account.client.list_jobs(retry_total=0))
    assert f"{account.name} GET /jobs: answer, on request" in emulator.log.read_text()


def test_a_fault_that_makes_no_sense_is_refused(account: Account) -> None:
    for wrong in (
        {"action": "explode"},
        {"action": "answer", "status": 200},
        {"action": "drop", "count": "2"},
        {"action": "drop", "count": 0},
        {"action": "answer", "retryAfter": -1},
    ):
        with pytest.raises(HttpResponseError) as refused:
            account.control("POST", "/faults", wrong)
        assert refused.value.status_code == 400
    with pytest.raises(HttpResponseError) as refused:
        account.control("POST", "/settings", {"lowerCaseStatuses": "yes"})
    assert refused.value.status_code == 400


def test_settings_are_changed_wholly_or_not_at_all(account: Account) -> None:
    before = account.control("POST", "/settings", {"delays": {"leave": 3}})
    for wrong in (
        {"clockOffset": 60, "failingStartTasks": 2, "taskCountsLag": "x"},
        {"delays": {"leave": 7, "start": -1}},
        {"failingStartTasks": -1},
        {"failingStartTasks": 1.5},
        {"taskCountsLag": -1},
        {"shortage": {"nodes": -1}},
        {"quotas": {"pools": 1}, "shortage": {"nodes": 1, "code": "None"}},
        {"shortage": {"nodes": 1}, "nonsense": 1},
    ):
        with pytest.raises(HttpResponseError) as refused:
            account.control("POST", "/settings", wrong)
        assert refused.value.status_code == 400
    assert account.control("POST", "/settings", {}) == before


def test_a_reset_leaves_an_empty_account(account: Account) -> None:
    account.pool()
    account.job()
    account.task("long", "sleep 300")
    account.task_becomes("running", "long")
    account.control("POST", "/reset")
    assert list(account.client.list_pools()) == []
    assert list(account.client.list_jobs()) == []
    account.pool()


def test_what_is_not_supported_is_refused_by_its_name(account: Account) -> None:
    with pytest.raises(HttpResponseError, match=r"NotImplemented.*networkConfiguration") as refused:
        account.job(networkConfiguration={"subnetId": "a", "skipWithdrawFromVNet": False})
    assert refused.value.status_code == 501


def test_a_reset_leaves_nothing_of_requests_on_their_way(account: Account) -> None:
    _fault(account, "delay", method="POST", path="/pools", seconds=1)
    with ThreadPoolExecutor(1) as one:
        late = one.submit(account.pool, "late", wait=False)
        until(lambda: account.control("GET", "/faults")["requests"] == [], "the request is on its way")
        account.control("POST", "/reset")
        late.result()
    account.pool()
    assert [pool.id for pool in account.client.list_pools()] == ["pool"]
    # And on the disk, see `account`: the directories of the late pool's nodes would be of no node.
