"""What Batch says of a formula that is wrong, cannot be evaluated, or goes beyond the limits."""

from datetime import UTC, datetime, timedelta

import pytest

from emulator.autoscale import (
    MAX_CHARACTERS,
    MAX_STATEMENTS,
    Context,
    FormulaEvaluationError,
    FormulaSyntaxError,
    Samples,
    parse,
)

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def evaluation_error(formula: str, context: Context | None = None) -> FormulaEvaluationError:
    with pytest.raises(FormulaEvaluationError) as raised:
        parse(formula).evaluate(context or Context(now=NOON, target_dedicated_nodes=2))
    return raised.value


def syntax_error(formula: str) -> FormulaSyntaxError:
    with pytest.raises(FormulaSyntaxError) as raised:
        parse(formula)
    return raised.value


def test_an_undefined_symbol_is_reported_as_the_service_was_recorded_doing():
    # Azure/azure-sdk-for-js, recording_should_fail_to_evaluate_invalid_autoscale_formula.json
    error = evaluation_error("$something_useless")
    assert error.code == "AutoScalingFormulaEvaluationError"
    assert error.message == "The specified auto-scaling formula has evaluation error"
    assert error.values == [("Message", "Line 1, Col 1: Undefined symbol: $something_useless")]
    assert error.results == ("$TargetDedicatedNodes=2;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue")


@pytest.mark.parametrize(
    ("formula", "detail"),
    [
        (  # Azure/azure-sdk-for-net, unit test GetPoolResizeError
            "$RunningTasks.GetSample(10 * TimeInterval_Second, 0 * TimeInterval_Second, 100);",
            "Line 1, Col 24: Insufficient data from data set: $RunningTasks wanted 100%, received 0%",
        ),
        (  # Azure/batch-shipyard#138: line 9 of its formula, and no percentage in it
            "\n" * 8 + "samplevecavg = avg($PendingTasks.GetSample(TimeInterval_Minute * 10));",
            "Line 9, Col 43: Insufficient data from data set: $PendingTasks wanted 70%, received 0%",
        ),
    ],
)
def test_missing_samples_are_reported_as_the_service_does(formula: str, detail: str):
    error = evaluation_error(formula)
    assert error.code == "InsufficientSampleData"
    assert error.message == "Autoscale evaluation failed due to insufficient sample data"
    assert error.values == [("Message", detail)]


def test_the_documented_ten_minutes_with_a_late_last_minute_fail_at_95_and_pass_at_80():
    samples = Samples(delay=timedelta(minutes=1))
    for age in range(40, -1, -1):
        samples.record(NOON - age * timedelta(seconds=30), 0.5)
    context = Context(now=NOON, metrics={"$CPUPercent": samples})
    call = "n = len($CPUPercent.GetSample(TimeInterval_Minute * 10{}));"
    assert parse(call.format(", 80")).evaluate(context).variables == {"n": 18.0}
    assert parse(call.format(", 90")).evaluate(context).variables == {"n": 18.0}
    assert parse(call.format("")).evaluate(context).variables == {"n": 18.0}
    assert "wanted 95%, received 90%" in evaluation_error(call.format(", 95"), context).detail


def test_an_evaluation_that_fails_shows_what_was_set_before():
    error = evaluation_error("$TargetDedicatedNodes = 7;\nhalf = 3.5;\nx = 1 / 0;\ny = 1;")
    assert (error.line, error.column) == (3, 7)
    assert error.detail == "Line 3, Col 7: Division by zero"
    assert error.results == (
        "$TargetDedicatedNodes=7;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;half=3.5"
    )


def test_a_negative_target_is_reported_at_its_statement():
    error = evaluation_error("$TargetDedicatedNodes = 1;\n  $TargetLowPriorityNodes = 3 - 5;")
    assert error.detail == "Line 2, Col 3: $TargetLowPriorityNodes cannot be -2"


@pytest.mark.parametrize(
    ("formula", "detail"),
    [
        ("", "Line 1, Col 1: The formula is empty"),
        (" \n ", "Line 2, Col 2: The formula is empty"),
        ("a = 1;\nb = (2 +\n", "Line 3, Col 1: Unexpected end of the formula"),
        ("// only a comment", "Line 1, Col 18: Unexpected end of the formula"),
        ("a b", "Line 1, Col 3: Unexpected symbol: b"),
        ("a = 1\nb = 2", "Line 2, Col 1: Unexpected symbol: b"),
        ("a = 1;; b = 2", "Line 1, Col 7: Unexpected symbol: ;"),
        (";", "Line 1, Col 1: Unexpected symbol: ;"),
        ("a = 1 +* 2", "Line 1, Col 8: Unexpected symbol: *"),
        ("a = b = 1", "Line 1, Col 7: Unexpected symbol: ="),
        ("1 = a", "Line 1, Col 3: Unexpected symbol: ="),
        ("a = [1, 2]", "Line 1, Col 5: Unexpected character: ["),
        ("a = 'text'", "Line 1, Col 5: Unexpected character: '"),
        ('a = "open', 'Line 1, Col 5: Unexpected character: "'),
        ("a = 7 % 2", "Line 1, Col 7: Unexpected character: %"),
        ("a = 1 & 2", "Line 1, Col 7: Unexpected character: &"),
        ("$ = 1", "Line 1, Col 1: Unexpected character: $"),
        ("a = 1 ? 2", "Line 1, Col 10: Unexpected end of the formula"),
        ("a = max(1,)", "Line 1, Col 11: Unexpected symbol: )"),
        ("a = 1 /* open", "Line 1, Col 8: Unexpected symbol: *"),
        ("größe = 1", "Line 1, Col 3: Unexpected character: ö"),
        ("a = 1\u00a0", "Line 1, Col 6: Unexpected character: '\\xa0'"),
        ("a = 1.2.3", "Line 1, Col 9: Unexpected symbol: 3"),
        ('a = "\ud800"', 'Line 1, Col 5: Unexpected character: "'),
        ("\udfff", "Line 1, Col 1: Unexpected character: '\\udfff'"),
    ],
)
def test_a_syntax_error_names_its_place(formula: str, detail: str):
    error = syntax_error(formula)
    assert error.code == "AutoScalingFormulaSyntaxError"
    assert error.message == "The specified auto-scaling formula has a syntax error."
    assert error.values == [("Message", detail)]
    assert detail.startswith(f"Line {error.line}, Col {error.column}:")
    assert str(error) == f"The specified auto-scaling formula has a syntax error: {detail}"


@pytest.mark.parametrize(
    "formula",
    [
        "a = 1 // end",
        "/* before */ a /**/ = /* * / ** */ 1; // after ;",
        "a\r\n=\t1 /* two\nlines */;",
        "a = 1; /***/",
        "// first\na = 1",
    ],
)
def test_comments_and_line_breaks_may_stand_anywhere(formula: str):
    assert parse(formula).evaluate(Context(now=NOON)).variables == {"a": 1.0}


def test_a_double_slash_begins_a_comment_but_not_within_a_string():
    assert parse('a = 4 // / 2\n;b = "//";').evaluate(Context(now=NOON)).variables == {"a": 4.0, "b": "//"}


def test_a_formula_has_at_most_8192_characters():
    longest = "a = 1" + " " * (MAX_CHARACTERS - 5)
    assert parse(longest).evaluate(Context(now=NOON)).variables == {"a": 1.0}
    error = syntax_error(longest + " ")
    assert error.code == "AutoScaleFormulaTooLong"
    assert "8193 characters, the maximum is 8192" in error.detail


def test_a_formula_has_at_most_a_hundred_statements():
    longest = "a = 1;\n" * MAX_STATEMENTS
    assert parse(longest).evaluate(Context(now=NOON)).variables == {"a": 1.0}
    error = syntax_error(longest + "a = 2")
    assert error.detail == "Line 101, Col 1: The formula has 101 statements, the maximum is 100"


def test_a_formula_cannot_grow_a_vector_without_end():
    error = evaluation_error("a = 1;" + "a = ceil(a, a, a, a);" * (MAX_STATEMENTS - 1))
    assert "too many numbers" in error.detail
    error = evaluation_error("a = ceil(" + ",".join("1" * 500) + ");" + "b = max(" + "a," * 500 + "a);")
    assert "too many numbers" in error.detail


@pytest.mark.parametrize(
    ("formula", "result"),
    [
        ("a = " + "(" * 4000 + "1" + ")" * 4000, 1.0),
        ("a = " + "-" * 8000 + "1", 1.0),
        ("a = " + "1+" * 4000 + "1", 4001.0),
        ("a = " + "1?" * 2000 + "7" + ":1" * 2000, 7.0),
        ("a = " + "0?1:" * 2000 + "7", 7.0),
        ("a = " + "max(" * 1500 + "1" + ")" * 1500, 1.0),
        ("a = " + "1&&(" * 1300 + "2" + ")" * 1300, 1.0),
    ],
)
def test_a_formula_may_nest_as_deep_as_its_length_allows(formula: str, result: float):
    assert parse(formula).evaluate(Context(now=NOON)).variables == {"a": result}


@pytest.mark.parametrize(
    "formula",
    [
        "(" * 8192,
        "a" + ".b" * 4095,
        "/*" * 4096,
        '"' * 8191,
        "/" + "*" * 8000 + "x",
        "/*" + "*a" * 4000,
        "9" * 8192,
        "a=" + "!" * 8190,
        "a=time" + "()" * 4000,
        "1e" + "9" * 8000,
    ],
)
def test_hostile_texts_are_refused(formula: str):
    with pytest.raises((FormulaSyntaxError, FormulaEvaluationError)):
        parse(formula).evaluate(Context(now=NOON))
