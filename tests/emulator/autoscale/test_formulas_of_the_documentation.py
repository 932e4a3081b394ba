"""Every formula that the documentation prints, and the ones this project's pools carry."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from emulator.autoscale import Context, FormulaEvaluationError, Samples, parse

MONDAY_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
STEP = timedelta(seconds=30)


def history(value: Callable[[int], float], *, minutes: int = 60) -> Samples:
    """A full history until now; `value` gets the age of each sample, in steps."""
    samples = Samples(delay=timedelta(0))
    for age in range(2 * minutes, -1, -1):
        samples.record(MONDAY_NOON - age * STEP, value(age))
    return samples


def steady(value: float) -> Samples:
    return history(lambda _: value)


def targets(formula: str, **facts: object) -> tuple[int | None, int | None, str | None]:
    evaluation = parse(formula).evaluate(Context(**{"now": MONDAY_NOON, **facts}))  # pyright: ignore[reportArgumentType]  # any field
    return (
        evaluation.target_dedicated_nodes,
        evaluation.target_low_priority_nodes,
        evaluation.node_deallocation_option,
    )


PENDING_TASKS = """
startingNumberOfVMs = 1;
maxNumberofVMs = 25;
pendingTaskSamplePercent = $PendingTasks.GetSamplePercent(180 * TimeInterval_Second);
pendingTaskSamples = pendingTaskSamplePercent < 70 ? startingNumberOfVMs : avg($PendingTasks.GetSample(180 * TimeInterval_Second));
$TargetDedicatedNodes=min(maxNumberofVMs, pendingTaskSamples);
$NodeDeallocationOption = taskcompletion;
"""  # noqa: E501  # as printed


@pytest.mark.parametrize(("pending", "nodes"), [(7, 7), (1000, 25), (0, 0)])
def test_pending_tasks_decide_the_size_of_the_pool(pending: int, nodes: int):
    metrics = {"$PendingTasks": steady(pending)}
    assert targets(PENDING_TASKS, metrics=metrics) == (nodes, None, "taskcompletion")


def test_a_pool_without_samples_begins_with_the_starting_number():
    assert targets(PENDING_TASKS) == (1, None, "taskcompletion")


def test_the_usual_delay_of_samples_leaves_the_pending_tasks_formula_enough_of_them():
    samples = Samples()
    for age in range(10, -1, -1):
        samples.record(MONDAY_NOON - age * STEP, 9)
    assert targets(PENDING_TASKS, metrics={"$PendingTasks": samples}) == (9, None, "taskcompletion")


PREEMPTED_NODES = """
maxNumberofVMs = 25;
$TargetDedicatedNodes = min(maxNumberofVMs, $PreemptedNodeCount.GetSample(180 * TimeInterval_Second));
$TargetLowPriorityNodes = min(maxNumberofVMs , maxNumberofVMs - $TargetDedicatedNodes);
$NodeDeallocationOption = taskcompletion;
"""


def test_preempted_nodes_are_replaced_by_dedicated_ones():
    assert targets(PREEMPTED_NODES, metrics={"$PreemptedNodeCount": steady(4)}) == (4, 21, "taskcompletion")


CPU_USAGE = """
$totalDedicatedNodes =
    (min($CPUPercent.GetSample(TimeInterval_Minute * 10)) > 0.7) ?
    ($CurrentDedicatedNodes * 1.1) : $CurrentDedicatedNodes;
$totalDedicatedNodes =
    (avg($CPUPercent.GetSample(TimeInterval_Minute * 60)) < 0.2) ?
    ($CurrentDedicatedNodes * 0.9) : $totalDedicatedNodes;
$TargetDedicatedNodes = min(400, $totalDedicatedNodes)
"""


@pytest.mark.parametrize(
    ("usage", "nodes", "target"), [(0.9, 100, 110), (0.5, 100, 100), (0.1, 100, 90), (0.9, 390, 400)]
)
def test_cpu_usage_grows_and_shrinks_the_pool(usage: float, nodes: int, target: int):
    metrics = {"$CPUPercent": steady(usage)}
    assert targets(CPU_USAGE, metrics=metrics, current_dedicated_nodes=nodes)[0] == target


def test_the_pool_is_larger_on_mondays():
    formula = "$TargetDedicatedNodes = (time().weekday == 1 ? 5:1);"
    assert targets(formula)[0] == 5
    assert targets(formula, now=MONDAY_NOON + timedelta(days=1))[0] == 1


WORKING_HOURS = """
$curTime = time();
$workHours = $curTime.hour >= 8 && $curTime.hour < 18;
$isWeekday = $curTime.weekday >= 1 && $curTime.weekday <= 5;
$isWorkingWeekdayHour = $workHours && $isWeekday;
$TargetDedicatedNodes = $isWorkingWeekdayHour ? 20:10;
"""


@pytest.mark.parametrize(
    ("now", "nodes"),
    [
        (MONDAY_NOON, 20),
        (MONDAY_NOON.replace(hour=7, minute=59), 10),
        (MONDAY_NOON.replace(hour=18), 10),
        (MONDAY_NOON - timedelta(days=1), 10),
        (MONDAY_NOON + timedelta(days=5), 10),
    ],
)
def test_working_hours_have_more_nodes(now: datetime, nodes: int):
    assert targets(WORKING_HOURS, now=now)[0] == nodes
    older = WORKING_HOURS.replace("$TargetDedicatedNodes", "$TargetDedicated")
    assert targets(older, now=now)[0] == nodes


def test_the_results_list_the_variables_as_the_documentation_prints_them():
    now = datetime(2016, 10, 13, 19, 18, 47, 805_000, tzinfo=UTC)
    assert parse(WORKING_HOURS).evaluate(Context(now=now)).results == (
        "$TargetDedicatedNodes=10;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;"
        "$curTime=2016-10-13T19:18:47.805Z;$isWeekday=1;$isWorkingWeekdayHour=0;$workHours=0"
    )


def test_time_can_be_shifted_to_another_zone():
    formula = "$curTime = time() + (-6 * TimeInterval_Hour); $TargetDedicatedNodes = $curTime.hour;"
    assert targets(formula)[0] == 6


TASK_BASED = """
// Get pending tasks for the past 15 minutes.
$samples = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 15);
// If we have fewer than 70 percent data points, we use the last sample point,
// otherwise we use the maximum of last sample point and the history average.
$tasks = $samples < 70 ? max(0,$PendingTasks.GetSample(1)) : max( $PendingTasks.GetSample(1), avg($PendingTasks.GetSample(TimeInterval_Minute * 15)));
// If number of pending tasks is not 0, set targetVM to pending tasks, otherwise
// half of current dedicated.
$targetVMs = $tasks > 0? $tasks:max(0, $TargetDedicatedNodes/2);
// The pool size is capped at 20, if target VM value is more than that, set it
// to 20. This value should be adjusted according to your use case.
$TargetDedicatedNodes = max(0, min($targetVMs, 20));
// Set node deallocation mode - let running tasks finish before removing a node
$NodeDeallocationOption = taskcompletion;
"""  # noqa: E501  # as printed


def test_tasks_decide_and_without_tasks_the_pool_is_halved():
    assert targets(TASK_BASED, metrics={"$PendingTasks": steady(9)})[0] == 9
    assert targets(TASK_BASED, metrics={"$PendingTasks": steady(30)})[0] == 20
    assert targets(TASK_BASED, metrics={"$PendingTasks": steady(0)}, target_dedicated_nodes=7)[0] == 3
    rising = {"$PendingTasks": history(lambda age: 12 if age == 0 else 2)}
    assert targets(TASK_BASED, metrics=rising)[0] == 12
    falling = {"$PendingTasks": history(lambda age: 0 if age == 0 else 10)}
    assert targets(TASK_BASED, metrics=falling)[0] == 9


def test_with_few_samples_the_last_one_counts_and_none_count_as_no_tasks():
    few = {"$PendingTasks": history(lambda age: age + 1, minutes=5)}
    assert targets(TASK_BASED, metrics=few)[0] == 1
    assert targets(TASK_BASED, target_dedicated_nodes=8)[0] == 4


PARALLEL_TASKS = """
// Determine whether 70 percent of the samples have been recorded in the past
// 15 minutes; if not, use last sample
$samples = $ActiveTasks.GetSamplePercent(TimeInterval_Minute * 15);
$tasks = $samples < 70 ? max(0,$ActiveTasks.GetSample(1)) : max( $ActiveTasks.GetSample(1),avg($ActiveTasks.GetSample(TimeInterval_Minute * 15)));
$cores = $TargetDedicatedNodes * 4;
$extraVMs = (($tasks - $cores) + 3) / 4;
$targetVMs = ($TargetDedicatedNodes + $extraVMs);
$TargetDedicatedNodes = max(0,min($targetVMs,3));
$NodeDeallocationOption = taskcompletion;
"""  # noqa: E501  # as printed


@pytest.mark.parametrize(("active", "nodes"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (100, 3)])
def test_parallel_tasks_share_nodes(active: int, nodes: int):
    metrics = {"$ActiveTasks": steady(active)}
    assert targets(PARALLEL_TASKS, metrics=metrics, target_dedicated_nodes=2)[0] == nodes
    by_slots = PARALLEL_TASKS.replace("* 4", "* $TaskSlotsPerNode").replace("/ 4", "/ $TaskSlotsPerNode")
    assert targets(by_slots, metrics=metrics, target_dedicated_nodes=2, task_slots_per_node=4)[0] == nodes


INITIAL_SIZE = """
    $TargetDedicatedNodes = 4;
    lifespan         = time() - time("Mon, 05 Jan 2026 11:55:00 GMT");
    span             = TimeInterval_Minute * 60;
    startup          = TimeInterval_Minute * 10;
    ratio            = 50;

    $TargetDedicatedNodes = (lifespan > startup ? (max($RunningTasks.GetSample(span, ratio), $ActiveTasks.GetSample(span, ratio)) == 0 ? 0 : $TargetDedicatedNodes) : 4);
"""  # noqa: E501  # as printed


def test_a_pool_keeps_its_initial_size_for_ten_minutes_without_any_sample():
    assert targets(INITIAL_SIZE)[0] == 4


def test_after_ten_minutes_an_idle_hour_empties_the_pool():
    older = INITIAL_SIZE.replace("11:55", "11:45")
    idle = {"$RunningTasks": steady(0), "$ActiveTasks": steady(0)}
    assert targets(older, metrics=idle)[0] == 0
    busy = {"$RunningTasks": history(lambda age: age == 100), "$ActiveTasks": steady(0)}
    assert targets(older, metrics=busy)[0] == 4
    with pytest.raises(FormulaEvaluationError) as error:
        targets(older)
    assert error.value.code == "InsufficientSampleData"


def test_samples_of_a_range_make_a_vector():
    formula = "$runningTasksSample = $RunningTasks.GetSample(1 * TimeInterval_Minute, 6 * TimeInterval_Minute);"
    evaluation = parse(formula).evaluate(Context(now=MONDAY_NOON, metrics={"$RunningTasks": steady(1)}))
    assert evaluation.results.endswith("requeue;$runningTasksSample=[1,1,1,1,1,1,1,1,1,1]")


def test_the_formula_of_the_rest_reference_evaluates():
    formula = (
        "totalNodes=($CPUPercent.GetSamplePercent(TimeInterval_Minute*0,TimeInterval_Minute*10)<0.7?5:"
        "(min($CPUPercent.GetSample(TimeInterval_Minute*0, TimeInterval_Minute*10))>0.8?"
        "($CurrentDedicated*1.1):$CurrentDedicated));$TargetDedicated=min(100,totalNodes);"
    )
    assert targets(formula)[0] == 5
    busy = {"$CPUPercent": steady(0.9)}
    assert targets(formula, metrics=busy, current_dedicated_nodes=10)[0] == 11


LEASE = """
$TargetDedicatedNodes = time() < time("2026-01-05T12:00:00Z") ? 4 : 0;
$TargetLowPriorityNodes = time() < time("2026-01-05T12:00:00Z") ? 16 : 0;
$NodeDeallocationOption = requeue;
"""


def test_a_lease_holds_its_nodes_until_its_end():
    assert targets(LEASE, now=MONDAY_NOON - timedelta(microseconds=1)) == (4, 16, "requeue")


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(days=400)])
def test_a_lease_that_has_ended_holds_no_nodes(late: timedelta):
    assert targets(LEASE, now=MONDAY_NOON + late) == (0, 0, "requeue")
