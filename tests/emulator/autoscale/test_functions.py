"""The functions of autoscale formulas, and the times they read."""

import math

import pytest

from emulator.autoscale.values import render
from tests.emulator.autoscale.pool import error, evaluated, value


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("avg(1, 2, 6)", "3"),
        ("avg($PendingTasks.GetSample(2), 3)", "14"),
        ("len()", "0"),
        ("len(5)", "1"),
        ("len($PendingTasks.GetSample(4), 1, $PendingTasks.GetSample(2))", "7"),
        ("max(3, $PendingTasks.GetSample(5), 7)", "20"),
        ("min(30, $PendingTasks.GetSample(5))", "16"),
        ("max(2)", "2"),
        ("norm(3, 4)", "5"),
        ("range(3, 10, 5)", "7"),
        ("std(2, 4, 4, 4, 5, 5, 7, 9)", render(math.sqrt(32 / 7))),
        ("sum(1, $PendingTasks.GetSample(2), 2.5)", "42.5"),
        ("sum()", "0"),
        ("lg(8)", "3"),
        ("log(1000)", "3"),
        ("ln(1)", "0"),
        ("lg(1, 2, 4)", "[0,1,2]"),
        ("log($PendingTasks.GetSample(1) * 5)", "[2]"),
        ("ceil(1.2)", "2"),
        ("ceil(-1.2)", "-1"),
        ("floor(1.8)", "1"),
        ("floor(-1.2)", "-2"),
        ("round(2.5)", "3"),
        ("round(-2.5)", "-3"),
        ("round(2.4, 1.5)", "[2,2]"),
        ("ceil($PendingTasks.GetSample(2) / 4)", "[5,5]"),
        ("percentile($PendingTasks.GetSample(20), 50)", "10"),
        ("percentile($PendingTasks.GetSample(20), 90)", "18"),
        ("percentile($PendingTasks.GetSample(20), 100)", "20"),
        ("percentile($PendingTasks.GetSample(20), 0)", "1"),
        ("val($PendingTasks.GetSample(3), 0)", "18"),
        ("val($PendingTasks.GetSample(3), 2)", "20"),
        ("max(0, $CPUPercent.GetSample(1))", "0"),
    ],
)
def test_functions_give_their_documented_value(expression: str, result: str):
    assert value(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "avg()",
        "max()",
        "min($CPUPercent.GetSample(1))",
        "range()",
        "std(1)",
        "lg()",
        "ln(0)",
        "lg(-1)",
        "log(1, 0)",
        "avg(time())",
        'sum("1")',
        "max(TimeInterval_Day, TimeInterval_Hour)",
        "percentile($PendingTasks.GetSample(3))",
        "percentile(5, 50, 1)",
        "percentile($PendingTasks.GetSample(3), 101)",
        "percentile($CPUPercent.GetSample(1), 50)",
        "val($PendingTasks.GetSample(3), 3)",
        "val($PendingTasks.GetSample(3), -1)",
        "val(time(), 1)",
        "rand(1)",
        "stop(1)",
        "time(1)",
        'time("2026", "2027")',
        "abs(1)",
        "Max(1)",
    ],
)
def test_functions_refuse_what_they_do_not_take(expression: str):
    assert error(f"x = {expression}").code == "AutoScalingFormulaEvaluationError"


def test_rand_is_between_zero_and_one():
    assert value("rand()", rand=lambda: 0.25) == "0.25"
    assert 0 <= float(value("rand()")) <= 1


def test_stop_keeps_what_is_set_so_far():
    evaluation = evaluated("$TargetDedicatedNodes = 1; stop(); $TargetDedicatedNodes = 2; x = $undefined;")
    assert evaluation.target_dedicated_nodes == 1
    assert evaluation.variables == {}


def test_stop_may_stand_in_a_branch():
    formula = "$TargetDedicatedNodes = 1; x = {} ? stop() : 5; $TargetDedicatedNodes = 2;"
    assert evaluated(formula.format("1")).target_dedicated_nodes == 1
    assert evaluated(formula.format("0")).target_dedicated_nodes == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026", "2026-01-01T00:00:00.000Z"),
        ("2026-03", "2026-03-01T00:00:00.000Z"),
        ("2026-03-04", "2026-03-04T00:00:00.000Z"),
        ("2026-03-04T05:06Z", "2026-03-04T05:06:00.000Z"),
        ("2026-03-04T05:06:07Z", "2026-03-04T05:06:07.000Z"),
        ("2026-03-04T05:06:07.8Z", "2026-03-04T05:06:07.800Z"),
        ("2026-03-04T05:06:07.1234567Z", "2026-03-04T05:06:07.123Z"),
        ("2026-03-04T05:06:07+02:00", "2026-03-04T03:06:07.000Z"),
        ("2026-03-04T05:06:07.5-05:30", "2026-03-04T10:36:07.500Z"),
        ("Wed, 04 Mar 2026 05:06:07 GMT", "2026-03-04T05:06:07.000Z"),
        ("Wed, 4 Mar 2026 05:06:07 GMT", "2026-03-04T05:06:07.000Z"),
        ("", "2026-01-05T12:00:00.000Z"),
    ],
)
def test_a_time_is_read_in_the_documented_formats(text: str, shown: str):
    assert value(f'time("{text}")') == shown


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-13",
        "2026-02-30",
        "2026-03-04T05:06:07",
        "2026-03-04T24:00Z",
        "2026-03-04T05:06:07.12345678Z",
        "2026-03-04T05:06:07+24:00",
        "2026-03-04T05:06:07+01:60",
        "2026-03-04 05:06:07Z",
        "0000-01-01",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "Thu, 04 Mar 2026 05:06:07 GMT",
        "Wed, 04 Mrz 2026 05:06:07 GMT",
        "Wed, 04 Mar 2026 05:06:07 CET",
        "٢٠٢٦",  # digits, but not ASCII's
    ],
)
def test_a_time_in_another_format_is_an_error(text: str):
    assert error(f'x = time("{text}")').detail == (f"Line 1, Col 9: Not a W3C-DTF or RFC 1123 time: {text}")


def test_a_timestamp_has_members():
    members = ["year", "month", "day", "weekday", "hour", "minute", "second"]
    shown = [value(f'time("2026-03-04T05:06:07.9Z").{member}') for member in members]
    assert shown == ["2026", "3", "4", "3", "5", "6", "7"]
    assert value('time("2026-03-08").weekday') == "0"
    assert error("x = time().millisecond").detail == "Line 1, Col 12: timestamp has no member millisecond"
    assert error("x = 1; y = x.hour").detail == "Line 1, Col 14: double has no member hour"
