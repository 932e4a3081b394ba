"""The variables of autoscale formulas: the service's own, and those of the formula."""

from datetime import datetime, timedelta

import pytest
from azure.batch.models import BatchNodeDeallocationOption

from emulator.autoscale import Context, Samples, parse
from tests.emulator.autoscale.pool import NOON, error, evaluated, pool, value


def test_what_a_formula_does_not_set_is_none_and_shown_as_it_is():
    evaluation = evaluated("x = 1", target_dedicated_nodes=2, target_low_priority_nodes=3)
    assert evaluation.target_dedicated_nodes is None
    assert evaluation.target_low_priority_nodes is None
    assert evaluation.node_deallocation_option is None
    assert evaluation.results == (
        "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=3;$NodeDeallocationOption=requeue;x=1"
    )


def test_both_targets_can_be_set():
    evaluation = evaluated("$TargetDedicatedNodes=3;$TargetLowPriorityNodes=$TargetDedicatedNodes*2")
    assert (evaluation.target_dedicated_nodes, evaluation.target_low_priority_nodes) == (3, 6)
    assert evaluation.results == ("$TargetDedicatedNodes=3;$TargetLowPriorityNodes=6;$NodeDeallocationOption=requeue")


def test_the_current_targets_can_be_read():
    assert value("$TargetDedicatedNodes + $TargetLowPriority", target_dedicated_nodes=4) == "4"


@pytest.mark.parametrize("formula", ["{alias} = 1; {full} = 2;", "{full} = 2; {alias} = 1;"])
@pytest.mark.parametrize("full", ["$TargetDedicatedNodes", "$TargetLowPriorityNodes"])
def test_the_full_name_of_a_target_takes_precedence_over_its_alias(formula: str, full: str):
    evaluation = evaluated(formula.format(full=full, alias=full.removesuffix("Nodes")))
    assert f"{full}=2" in evaluation.results


def test_an_alias_alone_sets_the_target():
    evaluation = evaluated("$TargetDedicated = 5; $TargetLowPriority = 6; $TargetDedicated = 7;")
    assert (evaluation.target_dedicated_nodes, evaluation.target_low_priority_nodes) == (7, 6)


@pytest.mark.parametrize("option", [option.value for option in BatchNodeDeallocationOption])
def test_nodes_can_be_deallocated_in_each_way_of_the_service(option: str):
    evaluation = evaluated(f"$NodeDeallocationOption = {option};")
    assert evaluation.node_deallocation_option == option
    assert f"$NodeDeallocationOption={option}" in evaluation.results


def test_user_variables_need_no_dollar_and_are_sorted_in_the_results():
    results = evaluated("b=2; $c=3; a=1; B=4").results
    assert results.endswith("$NodeDeallocationOption=requeue;$c=3;B=4;a=1;b=2")


def test_a_variable_can_change_its_value_and_its_type():
    assert value("1; x = x + 1; x = x * TimeInterval_Minute") == "00:02:00"


def test_decimals_of_a_target_are_cut_off():
    evaluation = evaluated("$TargetDedicatedNodes = 3.99; $TargetLowPriorityNodes = -0.5;")
    assert (evaluation.target_dedicated_nodes, evaluation.target_low_priority_nodes) == (3, 0)
    assert evaluation.results.startswith("$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;")


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("$CurrentDedicatedNodes", "current_dedicated_nodes"),
        ("$CurrentDedicated", "current_dedicated_nodes"),
        ("$CurrentLowPriorityNodes", "current_low_priority_nodes"),
        ("$PreemptedNodeCount", "preempted_nodes"),
        ("$UsableNodeCount", "usable_nodes"),
        ("$TaskSlotsPerNode", "task_slots_per_node"),
    ],
)
def test_facts_of_the_pool_are_read_as_numbers(name: str, fact: str):
    assert value(f"{name} * 2", **{fact: 21}) == "42"


@pytest.mark.parametrize(
    "name",
    [
        "$CPUPercent",
        "$WallClockSeconds",
        "$MemoryBytes",
        "$DiskBytes",
        "$DiskReadBytes",
        "$DiskWriteBytes",
        "$DiskReadOps",
        "$DiskWriteOps",
        "$NetworkInBytes",
        "$NetworkOutBytes",
        "$SampleNodeCount",
        "$ActiveTasks",
        "$RunningTasks",
        "$PendingTasks",
        "$SucceededTasks",
        "$FailedTasks",
    ],
)
def test_each_sampled_metric_of_the_service_has_a_history(name: str):
    samples = Samples(delay=timedelta(0))
    samples.record(NOON, 42)
    assert value(f"{name}.GetSample(1)", metrics={name: samples}) == "[42]"
    assert value(name, metrics={name: samples}) == "42"


@pytest.mark.parametrize("name", ["$PendingTasks", "$CurrentDedicatedNodes", "TimeInterval_Day", "requeue"])
def test_read_only_names_cannot_be_set(name: str):
    assert error(f"{name} = 1").detail == f"Line 1, Col 1: Read-only symbol cannot be set: {name}"


@pytest.mark.parametrize("nodes", ["-1", "3000000000", "1e15", "1e300", "time()", '"3"', "$PendingTasks.GetSample(1)"])
def test_a_target_is_a_number_of_nodes(nodes: str):
    assert error(f"$TargetDedicatedNodes = {nodes}").code == "AutoScalingFormulaEvaluationError"


@pytest.mark.parametrize("option", ["1", '"requeue"', "time()"])
def test_a_deallocation_option_is_one_of_the_four_names(option: str):
    assert "takes a deallocation option" in error(f"$NodeDeallocationOption = {option}").detail


def test_a_target_below_zero_may_be_mended_by_a_later_statement():
    evaluation = evaluated("$TargetDedicatedNodes = -3; $TargetDedicatedNodes = max(0, $TargetDedicatedNodes);")
    assert evaluation.target_dedicated_nodes == 0


def test_a_context_refuses_what_formulas_do_not_know():
    with pytest.raises(ValueError, match="must have a zone"):
        Context(now=datetime(2026, 1, 1))  # that is the mistake
    with pytest.raises(ValueError, match="no metric PendingTasks"):
        Context(now=NOON, metrics={"PendingTasks": Samples()})
    with pytest.raises(ValueError, match="drain"):
        Context(now=NOON, node_deallocation_option="drain")


def test_a_formula_can_be_evaluated_again_and_again():
    formula = parse("$TargetDedicatedNodes = $TargetDedicatedNodes + 1; seen = $TargetDedicatedNodes;")
    for nodes in (1, 2, 3):
        assert formula.evaluate(pool(target_dedicated_nodes=nodes)).target_dedicated_nodes == nodes + 1
