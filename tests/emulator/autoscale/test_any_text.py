"""Whatever the text: a formula, or a formula's error; never another exception, never without end."""

import math
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from emulator.autoscale import (
    Context,
    Evaluation,
    FormulaEvaluationError,
    FormulaSyntaxError,
    Samples,
    parse,
)
from emulator.autoscale.functions import NUMERIC
from emulator.autoscale.variables import CONSTANTS, CURRENT, DEALLOCATION, DEDICATED, LOW_PRIORITY, SAMPLED

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def context() -> Context:
    samples = Samples(delay=timedelta(0))
    for age in range(60, -1, -1):
        samples.record(NOW - age * timedelta(seconds=30), age % 7)
    return Context(now=NOW, metrics={"$PendingTasks": samples, "$CurrentDedicatedNodes": samples})


CONTEXT = context()


def outcome(text: str) -> Evaluation | FormulaEvaluationError | FormulaSyntaxError:
    """What became of the text; any other exception is the test's failure."""
    try:
        evaluation = parse(text).evaluate(CONTEXT)
    except FormulaSyntaxError as error:
        assert error.detail.encode()  # what is said of any text can be sent
        lines = text.split("\n")
        assert 1 <= error.line <= len(lines)
        assert 1 <= error.column <= len(lines[error.line - 1]) + 1
        return error
    except FormulaEvaluationError as error:
        assert error.results.startswith("$TargetDedicatedNodes=")
        assert error.line <= text.count("\n") + 1
        return error
    assert evaluation.results.startswith("$TargetDedicatedNodes=")
    for nodes in (evaluation.target_dedicated_nodes, evaluation.target_low_priority_nodes):
        assert nodes is None or nodes >= 0
    for value in evaluation.variables.values():
        assert not isinstance(value, float) or math.isfinite(value)
    return evaluation


@given(st.text(st.characters() | st.characters(categories=["Cs"])))
def test_any_text_is_a_formula_or_an_error(text: str):
    outcome(text)


SYMBOLS = [
    *'+-*/!?:;=()<>.,&|"$# \n',
    *["&&", "||", "==", "!=", "<=", ">=", "//", "/*", "*/", "0", "1", "2.5", "1e308", ".5"],
    *["x", "$y", ".hour", ".GetSample(", ".GetSamplePercent(", ".Count()", ".HistoryBeginTime()"],
    *['"2026-01-01"', '""', "time(", "rand()", "stop()", "time()"],
    *(f"{function}(" for function in sorted(NUMERIC)),
    *sorted(CONSTANTS.keys() | SAMPLED | CURRENT),
    *[DEDICATED, LOW_PRIORITY, DEALLOCATION],
    "$TargetDedicated",
]


@given(st.lists(st.sampled_from(SYMBOLS), max_size=40))
def test_any_sequence_of_symbols_is_a_formula_or_an_error(symbols: list[str]):
    outcome("".join(symbols))


def call(functions: st.SearchStrategy[str], arguments: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.lists(arguments, max_size=3).map(", ".join)
    return st.builds("{}({})".format, functions, joined)


NUMBERS = st.floats(min_value=0, allow_nan=False, allow_infinity=False).map(repr) | st.integers(0, 99).map(str)
TIMES = st.datetimes().map(lambda time: f'"{time.isoformat()}Z"')
METRICS = st.sampled_from(["$PendingTasks", "$CPUPercent", "$CurrentDedicatedNodes"])
METHODS = st.sampled_from(["GetSample", "GetSamplePercent", "GetSamplePeriod", "Count", "HistoryBeginTime"])
NAMES = st.sampled_from(["a", "$b", "a1", DEDICATED, LOW_PRIORITY, DEALLOCATION, "$TargetLowPriority"])
SIGNS = st.sampled_from(["+", "-", "*", "/", "<", "<=", "==", ">=", ">", "!=", "&&", "||"])
FUNCTIONS = st.sampled_from([*sorted(NUMERIC), "time", "rand", "stop"])

EXPRESSIONS = st.recursive(
    NUMBERS | TIMES | METRICS | NAMES | st.sampled_from(sorted(CONSTANTS)),
    lambda inner: st.one_of(
        st.builds("{} {} {}".format, inner, SIGNS, inner),
        st.builds("({})".format, inner),
        st.builds("-{}".format, inner),
        st.builds("!{}".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("time({}).hour".format, inner),
        call(FUNCTIONS, inner),
        call(st.builds("{}.{}".format, METRICS, METHODS), inner),
    ),
    max_leaves=20,
)
STATEMENTS = st.builds("{} = {}".format, NAMES, EXPRESSIONS) | EXPRESSIONS


@given(st.lists(STATEMENTS, min_size=1, max_size=8))
def test_whatever_the_grammar_generates_parses_and_ends(statements: list[str]):
    assert not isinstance(outcome(";\n".join(statements)), FormulaSyntaxError)


DOUBLES = st.recursive(
    st.integers(0, 9).map(str),
    lambda inner: st.one_of(
        st.builds("({} + {})".format, inner, inner),
        st.builds("({} - {})".format, inner, inner),
        st.builds("({} * {})".format, inner, inner),
        st.builds("({} < {})".format, inner, inner),
        st.builds("max({}, {})".format, inner, inner),
        st.builds("(-{})".format, inner),
    ),
    max_leaves=15,
)


@given(DOUBLES)
def test_sums_and_products_have_the_value_that_python_gives_them(expression: str):
    evaluation = outcome(f"x = {expression}")
    assert isinstance(evaluation, Evaluation)
    assert evaluation.variables["x"] == eval(expression)  # generated above
