"""The metrics of autoscale formulas: histories that are read by count or by time."""

from datetime import timedelta

import pytest

from emulator.autoscale import Samples
from tests.emulator.autoscale.pool import NOON, error, value


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("GetSample(1)", "[20]"),
        ("GetSample(3)", "[18,19,20]"),
        ("GetSample(2.9)", "[19,20]"),
        ("GetSample(TimeInterval_Minute)", "[19,20]"),
        ("GetSample(TimeInterval_Minute * 10, 100)", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]"),
        ("GetSample(TimeInterval_Minute, TimeInterval_Minute * 2)", "[17,18]"),
        ("GetSample(TimeInterval_Minute * 2, TimeInterval_Minute)", "[17,18]"),
        ("GetSample(TimeInterval_Minute * 8, TimeInterval_Minute * 11, 60)", "[1,2,3,4]"),
        ('GetSample(time("2026-01-05T11:59:00Z"))', "[19,20]"),
        ('GetSample(time("2026-01-05T11:58:00Z"), time("2026-01-05T11:59:00Z"))', "[17,18]"),
        ('GetSample(time("2026-01-05T11:58:00Z"), TimeInterval_Minute, 100)', "[17,18]"),
        ("GetSamplePercent(TimeInterval_Minute * 10)", "100"),
        ("GetSamplePercent(TimeInterval_Minute * 20)", "50"),
        ("GetSamplePercent(TimeInterval_Minute * 5, TimeInterval_Minute * 15)", "50"),
        ("GetSamplePercent(TimeInterval_Hour, TimeInterval_Hour * 2)", "0"),
        ("GetSamplePeriod()", "00:00:30"),
        ("Count()", "20"),
        ("HistoryBeginTime()", "2026-01-05T11:50:30.000Z"),
    ],
)
def test_the_methods_of_a_metric_read_its_history(call: str, result: str):
    assert value(f"$PendingTasks.{call}") == result


@pytest.mark.parametrize(
    "call",
    [
        "GetSample()",
        "GetSample(0)",
        "GetSample(-1)",
        "GetSample(1, 2)",
        'GetSample("1")',
        "GetSample(TimeInterval_Minute, TimeInterval_Minute, TimeInterval_Minute)",
        "GetSamplePercent()",
        "GetSamplePercent(1)",
        "GetSamplePercent(TimeInterval_Hour, 50)",
        "GetSamplePeriod(1)",
        "Count(1)",
        "HistoryBeginTime(1)",
        "getSample(1)",
        "Average()",
    ],
)
def test_other_methods_of_a_metric_do_not_exist(call: str):
    assert error(f"x = $PendingTasks.{call}").code == "AutoScalingFormulaEvaluationError"


def test_only_metrics_have_methods():
    assert "Only the service's metrics have methods" in error("x = 1; y = x.GetSample(1)").detail


def test_a_history_without_samples_is_empty():
    assert value("$CPUPercent.Count()") == "0"
    assert value("$CPUPercent.GetSample(5)") == "[]"
    assert value("$CPUPercent.GetSamplePercent(TimeInterval_Hour)") == "0"
    assert error("x = $CPUPercent.HistoryBeginTime()").code == "InsufficientSampleData"
    assert error("x = $CPUPercent + 1").code == "InsufficientSampleData"


def test_a_count_of_nodes_has_a_history_beside_its_number():
    samples = Samples(delay=timedelta(0))
    samples.record(NOON, 3)
    facts = {"metrics": {"$CurrentDedicatedNodes": samples}, "current_dedicated_nodes": 5}
    assert value("$CurrentDedicatedNodes", **facts) == "5"
    assert value("$CurrentDedicatedNodes.GetSample(1)", **facts) == "[3]"
