"""Pools that scale by a formula."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.batch.models import (
    BatchPoolEnableAutoScaleOptions,
    BatchPoolEvaluateAutoScaleOptions,
    BatchPoolResizeOptions,
)
from azure.core.exceptions import HttpResponseError, ResourceExistsError

from tests.emulator.conftest import SPEED, UBUNTU, Account, until

SCALED = {"enableAutoScale": True, "autoScaleEvaluationInterval": "PT5M", "targetDedicatedNodes": None}


def _pool(account: Account, formula: str, number: int = 0) -> None:
    account.pool(wait=False, autoScaleFormula=formula, **SCALED)
    if number:
        account.nodes_become("idle", number=number)


def _settled(account: Account, nodes: int) -> None:
    def settled() -> bool:
        pool = account.client.get_pool("pool")
        return pool.allocation_state == "steady" and pool.current_dedicated_nodes == nodes

    until(settled, f"the pool has {nodes} nodes")


def _evaluated(account: Account, formula: str) -> Any:
    return account.client.evaluate_pool_auto_scale(
        "pool", BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
    )


def _enable(account: Account, formula: str | None, interval: timedelta | None = None) -> None:
    account.client.enable_pool_auto_scale(
        "pool",
        BatchPoolEnableAutoScaleOptions(auto_scale_formula=formula, auto_scale_evaluation_interval=interval),
    )


def _clock(account: Account, seconds: float) -> None:
    account.control("POST", "/settings", {"clockOffset": seconds})


def test_a_lease_bounds_the_life_of_the_nodes(account: Account) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    _pool(account, f'$TargetDedicatedNodes = time() < time("{end:%Y-%m-%dT%H:%M:%SZ}") ? 2 : 0;', 2)
    pool = account.client.get_pool("pool")
    assert pool.enable_auto_scale
    assert pool.auto_scale_evaluation_interval == timedelta(minutes=5)
    assert pool.auto_scale_run.results.startswith("$TargetDedicatedNodes=2;")
    _clock(account, 3700)
    _settled(account, 0)


def test_a_formula_is_evaluated_at_its_interval(account: Account) -> None:
    _pool(account, "$TargetDedicatedNodes = 0;")
    until(lambda: account.client.get_pool("pool").auto_scale_run, "the first evaluation")
    first = account.client.get_pool("pool").auto_scale_run.timestamp

    def later() -> Any:
        run = account.client.get_pool("pool").auto_scale_run
        return run if run.timestamp > first else None

    second = until(later, "the second evaluation")
    assert second.timestamp - first >= timedelta(minutes=5) / SPEED


def test_a_formula_follows_the_number_of_tasks(account: Account) -> None:
    # A quarter of an hour of samples, of which the newest half minute is not there yet.
    _pool(account, "$TargetDedicatedNodes = min(2, max(0, $PendingTasks.GetSample(1)));")
    account.job()
    for number in range(3):
        account.task(f"task{number}", "sleep 300")
    _settled(account, 0)
    _clock(account, 31)  # the tasks are sampled
    assert account.client.get_pool("pool").current_dedicated_nodes == 0
    _clock(account, 95)  # the sample may be read
    _settled(account, 2)


def test_too_few_samples_are_an_error_of_the_run_and_change_nothing(account: Account) -> None:
    _pool(account, "$TargetDedicatedNodes = 1;", 1)
    run = _evaluated(account, "$TargetDedicatedNodes = avg($PendingTasks.GetSample(TimeInterval_Hour, 70));")
    assert run.error.code == "InsufficientSampleData"
    assert "wanted 70%" in run.error.error_values[0].value
    assert account.client.get_pool("pool").target_dedicated_nodes == 1


def test_an_evaluation_tells_and_does_nothing(account: Account) -> None:
    _pool(account, "$TargetDedicatedNodes = 0;")
    run = _evaluated(account, "x = 1 + 2; $TargetDedicatedNodes = x; $NodeDeallocationOption = terminate;")
    assert run.results == "$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;$NodeDeallocationOption=terminate;x=3"
    assert account.client.get_pool("pool").target_dedicated_nodes == 0


def test_a_formula_is_changed_at_most_once_in_half_a_minute(account: Account) -> None:
    _pool(account, "$TargetDedicatedNodes = 0;")
    with pytest.raises(HttpResponseError, match="TooManyEnableAutoScaleRequests") as early:
        account.client.enable_pool_auto_scale(
            "pool",
            BatchPoolEnableAutoScaleOptions(auto_scale_formula="$TargetDedicatedNodes = 1;"),
            retry_total=0,
        )
    assert early.value.status_code == 503

    def changed() -> bool:
        try:
            _enable(account, "$TargetDedicatedNodes = 1;")
        except HttpResponseError:
            return False
        return True

    until(changed, "the formula can be changed again")
    _settled(account, 1)
    assert account.client.get_pool("pool").auto_scale_formula == "$TargetDedicatedNodes = 1;"


def test_a_pool_that_is_being_resized_is_not_given_a_formula(account: Account) -> None:
    account.control("POST", "/settings", {"delays": {"allocation": 20}})
    account.pool(wait=False)
    with pytest.raises(ResourceExistsError, match="PoolBeingResized"):
        _enable(account, "$TargetDedicatedNodes = 1;")


def test_a_formula_can_be_taken_away(account: Account) -> None:
    _pool(account, "$TargetDedicatedNodes = 1;", 1)
    with pytest.raises(ResourceExistsError, match="OperationNotValidOnPool"):
        account.client.begin_resize_pool("pool", BatchPoolResizeOptions(target_dedicated_nodes=2))
    _settled(account, 1)
    account.client.disable_pool_auto_scale("pool")
    pool = account.client.get_pool("pool")
    assert (pool.enable_auto_scale, pool.auto_scale_formula, pool.current_dedicated_nodes) == (False, None, 1)
    with pytest.raises(ResourceExistsError, match="OperationNotValidOnPool"):
        _evaluated(account, "$TargetDedicatedNodes = 1;")
    account.client.begin_resize_pool(
        "pool", BatchPoolResizeOptions(target_dedicated_nodes=0), polling_interval=0
    ).result()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"autoScaleFormula": "$TargetDedicatedNodes = ;"}, "AutoScalingFormulaSyntaxError"),
        ({"autoScaleFormula": "x" * 9000}, "AutoScaleFormulaTooLong"),
        ({"autoScaleFormula": None}, "MissingRequiredProperty"),
        ({"autoScaleEvaluationInterval": "PT4M"}, "InvalidPropertyValue"),
        ({"autoScaleEvaluationInterval": "P8D"}, "InvalidPropertyValue"),
        ({"targetDedicatedNodes": 1}, "InvalidAutoScalingSettings"),
        ({"enableAutoScale": False}, "InvalidAutoScalingSettings"),
    ],
)
def test_settings_that_make_no_sense_are_refused(account: Account, change: dict, code: str) -> None:
    with pytest.raises(HttpResponseError) as refused:
        account.pool(wait=False, **{"autoScaleFormula": "$TargetDedicatedNodes = 1;", **SCALED, **change})
    assert refused.value.error is not None
    assert refused.value.error.code == code


def test_a_job_can_have_a_pool_that_scales(account: Account) -> None:
    account.job(
        poolInfo={
            "autoPoolSpecification": {
                "poolLifetimeOption": "job",
                "pool": {
                    "vmSize": "STANDARD_D2S_V3",
                    "virtualMachineConfiguration": UBUNTU,
                    "enableAutoScale": True,
                    "autoScaleFormula": "$TargetDedicatedNodes = 1;",
                },
            }
        },
    )
    account.task("task", "/bin/true")
    account.completed("task")


def test_tasks_that_wait_for_others_ask_for_no_nodes(account: Account) -> None:
    _pool(account, "$TargetDedicatedNodes = 1;", 1)
    account.job(usesTaskDependencies=True)
    account.task("first", "sleep 300")
    account.task_becomes("running", "first")
    for number in range(3):
        account.task(f"after{number}", "/bin/true", dependsOn={"taskIds": ["first"]})
    for number in range(2):
        account.task(f"free{number}", "/bin/true")
    _clock(account, 31)  # the tasks are sampled
    _clock(account, 95)  # the sample may be read
    counted = "a = $ActiveTasks.GetSample(1); p = $PendingTasks.GetSample(1); $TargetDedicatedNodes = 1;"
    assert "a=[2];p=[3]" in _evaluated(account, counted).results
