"""Pools that are made for one job, and go with it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from azure.batch.models import BatchJobUpdateOptions
from azure.batch.models import _models as models
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.emulator.conftest import UBUNTU, Account, until

BECAUSE = models.BatchJobTerminateOptions(termination_reason="Enough")


def _specification(**more: Any) -> dict[str, Any]:
    return {
        "autoPoolIdPrefix": "auto",
        "poolLifetimeOption": "job",
        "keepAlive": False,
        "pool": {
            "vmSize": "STANDARD_D2S_V3",
            "virtualMachineConfiguration": UBUNTU,
            "targetDedicatedNodes": 1,
        },
        **more,
    }


def _completed(account: Account) -> Any:
    account.client.begin_terminate_job("job", BECAUSE, polling_interval=0).result()
    return account.client.get_job("job")


def _is_gone(account: Account, pool_id: str) -> bool:
    try:
        account.client.get_pool(pool_id)
    except ResourceNotFoundError:
        return True
    return False


@pytest.mark.parametrize("keep", [False, True])
def test_a_job_can_have_a_pool_of_its_own(account: Account, keep: bool) -> None:
    account.job(poolInfo={"autoPoolSpecification": _specification(keepAlive=keep)})
    job = account.client.get_job("job")
    pool_id = job.execution_info.pool_id
    assert re.fullmatch(r"auto_[0-9A-Fa-f-]{36}", pool_id)
    assert job.pool_info.auto_pool_specification.pool.vm_size.lower() == "standard_d2s_v3"
    account.task("task", "/bin/true")
    account.completed("task")
    _completed(account)
    if keep:
        assert account.client.get_pool(pool_id).state == "active"
    else:
        until(lambda: _is_gone(account, pool_id), "the pool of the job is deleted")


def test_a_job_whose_pool_cannot_be_made_ends_with_a_scheduling_error(account: Account) -> None:
    account.control("POST", "/settings", {"quotas": {"pools": 0}})
    account.job(poolInfo={"autoPoolSpecification": _specification()})
    until(lambda: account.client.get_job("job").state == "completed", "the job is completed")
    error = account.client.get_job("job").execution_info.scheduling_error
    assert error.code == "AutoPoolCreationFailedWithQuotaReached"


@pytest.mark.parametrize("way", ["patch", "put"])
def test_only_whether_it_is_kept_can_be_changed(account: Account, way: str) -> None:
    account.job(poolInfo={"autoPoolSpecification": _specification()})
    job = account.client.get_job("job")

    def change(**pool_info: Any) -> None:
        if way == "put":
            account.client.replace_job("job", models.BatchJob({**job, "poolInfo": pool_info}))
        else:
            account.client.update_job("job", BatchJobUpdateOptions({"poolInfo": pool_info}))

    present = job.pool_info.auto_pool_specification
    pool_id = job.execution_info.pool_id
    for wrong in (
        {"autoPoolSpecification": {**present, "autoPoolIdPrefix": "other"}},
        {"autoPoolSpecification": present, "poolId": pool_id},
        {"poolId": "elsewhere"},
    ):
        with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
            change(**wrong)
    change(autoPoolSpecification={**present, "keepAlive": True})
    assert _completed(account).pool_info.auto_pool_specification.keep_alive
    assert account.client.get_pool(pool_id).state == "active"


def test_a_pool_that_a_job_names_has_no_specification(account: Account) -> None:
    account.job()
    for wrong in (
        {"autoPoolSpecification": _specification()},
        {"poolId": "pool", "autoPoolSpecification": _specification()},
    ):
        with pytest.raises(HttpResponseError, match="InvalidPropertyValue"):
            account.client.update_job("job", BatchJobUpdateOptions({"poolInfo": wrong}))
