"""The operators of autoscale formulas: their types, their precedence, their values."""

from itertools import product

import pytest

from tests.emulator.autoscale.pool import error, value

# The documentation's table, copied a second time: a slip in operators.py must show.
DOCUMENTED = {
    "double": {"double": "+-*/", "timeinterval": "*"},
    "doubleVec": {"double": "+-*/", "doubleVec": "+-*/"},
    "timeinterval": {"double": "*/", "timeinterval": "+-", "timestamp": "+"},
    "timestamp": {"timeinterval": "+", "timestamp": "-"},
}
COMPARED = ["double", "string", "timestamp", "timeinterval"]

KINDS = {
    "double": "6",
    "doubleVec": "$PendingTasks.GetSample(3)",
    "string": '"six"',
    "timestamp": "time()",
    "timeinterval": "TimeInterval_Hour",
    "deallocation option": "requeue",
}


@pytest.mark.parametrize("sign", ["+", "-", "*", "/"])
@pytest.mark.parametrize(("left", "right"), list(product(KINDS, KINDS)))
def test_arithmetic_takes_exactly_the_documented_types(sign: str, left: str, right: str):
    expression = f"{KINDS[left]} {sign} {KINDS[right]}"
    if sign in DOCUMENTED.get(left, {}).get(right, ""):
        value(expression)
    else:
        assert f"{left} {sign} {right} is not supported" in error(f"x = {expression}").detail


@pytest.mark.parametrize("sign", ["<", "<=", "==", ">=", ">", "!="])
@pytest.mark.parametrize(("left", "right"), list(product(KINDS, KINDS)))
def test_comparisons_take_two_of_one_type(sign: str, left: str, right: str):
    expression = f"{KINDS[left]} {sign} {KINDS[right]}"
    if left == right and left in COMPARED:
        assert value(expression) == str(int("=" in sign and sign != "!="))
    else:
        assert f"{left} {sign} {right} is not supported" in error(f"x = {expression}").detail


@pytest.mark.parametrize("sign", ["&&", "||"])
@pytest.mark.parametrize("right", [kind for kind in KINDS if kind != "double"])
def test_logic_takes_doubles_only(sign: str, right: str):
    one = "1" if sign == "&&" else "0"
    assert f"{sign} takes a double" in error(f"x = {one} {sign} {KINDS[right]}").detail
    assert f"{sign} takes a double" in error(f"x = {KINDS[right]} {sign} 1").detail


@pytest.mark.parametrize(("sign", "kinds"), [("-", ["double", "timeinterval"]), ("!", ["double"])])
@pytest.mark.parametrize("operand", KINDS)
def test_signs_before_an_operand_take_exactly_the_documented_types(sign: str, kinds: list[str], operand: str):
    if operand in kinds:
        value(f"{sign}{KINDS[operand]}")
    else:
        assert f"{sign} {operand} is not supported" in error(f"x = {sign}{KINDS[operand]}").detail


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("7 / 2", "3.5"),
        ("2 + 3 * 4 - 5", "9"),
        ("(2 + 3) * 4", "20"),
        ("10 - 4 - 3", "3"),
        ("16 / 4 / 2", "2"),
        ("-3 * -2", "6"),
        ("- -3", "3"),
        ("!0", "1"),
        ("!2", "0"),
        ("!!2", "1"),
        ("!1 == 0", "1"),
        ("1 < 2 == 1", "1"),
        ("2 > 1 && 3 > 2", "1"),
        ("1 || 0 && 0", "1"),
        ("0 && 1 || 1", "1"),
        ("2 && 3", "1"),
        ("0 || 0", "0"),
        ("1 ? 2 : 3", "2"),
        ("0 ? 2 : 3", "3"),
        ("0 ? 1 : 0 ? 2 : 3", "3"),
        ("1 ? 0 ? 1 : 2 : 3", "2"),
        ("1 + 1 ? 2 + 2 : 3 + 3", "4"),
        ("-2 ? 1 : 0", "1"),
        (".5 + 5. + 1e2 + 2.5E-1", "105.75"),
        ('"abc" < "abd"', "1"),
        ('"a" == "A"', "0"),
        ("0.1 + 0.2", "0.30000000000000004"),
    ],
)
def test_expressions_have_the_value_and_the_precedence_of_c(expression: str, result: str):
    assert value(expression) == result


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("$PendingTasks.GetSample(3) + 1", "[19,20,21]"),
        ("$PendingTasks.GetSample(3) - 1", "[17,18,19]"),
        ("$PendingTasks.GetSample(3) * 2", "[36,38,40]"),
        ("$PendingTasks.GetSample(2) / 2", "[9.5,10]"),
        ("$PendingTasks.GetSample(2) * $PendingTasks.GetSample(2)", "[361,400]"),
        ("$PendingTasks.GetSample(2) - $PendingTasks.GetSample(2)", "[0,0]"),
    ],
)
def test_vectors_are_calculated_by_component(expression: str, result: str):
    assert value(expression) == result


def test_vectors_of_different_lengths_do_not_fit():
    detail = error("x = $PendingTasks.GetSample(2) + $PendingTasks.GetSample(3)").detail
    assert detail == "Line 1, Col 32: doubleVec + doubleVec needs equal lengths, not 2 and 3"


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("TimeInterval_Zero", "00:00:00"),
        ("TimeInterval_100ns", "00:00:00.0000001"),
        ("TimeInterval_Microsecond", "00:00:00.0000010"),
        ("TimeInterval_Millisecond", "00:00:00.0010000"),
        ("TimeInterval_Second", "00:00:01"),
        ("TimeInterval_Minute", "00:01:00"),
        ("TimeInterval_Hour", "01:00:00"),
        ("TimeInterval_Day", "1.00:00:00"),
        ("TimeInterval_Week", "7.00:00:00"),
        ("TimeInterval_Year", "365.00:00:00"),
        ("-TimeInterval_Hour * 1.5", "-01:30:00"),
        ("90 * TimeInterval_Minute", "01:30:00"),
        ("TimeInterval_Hour / 3", "00:20:00"),
        ("TimeInterval_Hour + TimeInterval_Minute", "01:01:00"),
        ("TimeInterval_Hour - TimeInterval_Minute", "00:59:00"),
        ("TimeInterval_Hour > TimeInterval_Minute * 59", "1"),
        ("TimeInterval_Day + time()", "2026-01-06T12:00:00.000Z"),
        ("time() + TimeInterval_Day", "2026-01-06T12:00:00.000Z"),
        ("time() + -TimeInterval_Day", "2026-01-04T12:00:00.000Z"),
        ('time() - time("2026-01-05")', "12:00:00"),
        ('time("2026-01-05") - time()', "-12:00:00"),
    ],
)
def test_times_and_intervals_are_calculated(expression: str, result: str):
    assert value(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "TimeInterval_Hour / 0",
        "1e308 * 10",
        "1e999",
        "$PendingTasks.GetSample(2) / 0",
        "$PendingTasks.GetSample(2) * 1e308",
        "TimeInterval_Year * 1e9",
        "TimeInterval_Year * 20000 + TimeInterval_Year * 20000",
        "time() + TimeInterval_Year * 9000",
        "time() + TimeInterval_Year * -3000",
        "$PendingTasks.GetSample(TimeInterval_Year * 3000)",
        "sum(1e308, 1e308)",
        "norm(1.7e308, 1.7e308)",
    ],
)
def test_what_has_no_number_is_an_error_and_not_infinity(expression: str):
    assert error(f"x = {expression}").code == "AutoScalingFormulaEvaluationError"


def test_the_branch_not_taken_is_not_evaluated():
    assert value("1 ? 2 : $undefined") == "2"
    assert value("0 ? $CPUPercent.GetSample(TimeInterval_Hour) : 3") == "3"
    assert value("0 && $undefined") == "0"
    assert value("1 || $undefined") == "1"
    assert "Undefined symbol" in error("x = 1 && $undefined").detail


def test_a_condition_is_a_double():
    assert error("x = time() ? 1 : 2").detail == "Line 1, Col 12: ? takes a double, not a timestamp"
