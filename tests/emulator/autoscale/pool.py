"""Evaluating one expression or formula against a pool with a known history."""

from datetime import UTC, datetime, timedelta

import pytest

from emulator.autoscale import Context, Evaluation, FormulaEvaluationError, Samples, parse
from emulator.autoscale.values import render

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
STEP = timedelta(seconds=30)


def pool(**facts: object) -> Context:
    """A pool whose $PendingTasks were 1, 2, ... 20 in the last ten minutes."""
    pending = Samples(delay=timedelta(0))
    for number in range(1, 21):
        pending.record(NOON - (20 - number) * STEP, number)
    known = {"now": NOON, "metrics": {"$PendingTasks": pending}, **facts}
    return Context(**known)  # pyright: ignore[reportArgumentType]  # any field


def evaluated(formula: str, **facts: object) -> Evaluation:
    return parse(formula).evaluate(pool(**facts))


def value(expression: str, **facts: object) -> str:
    """The value of an expression as results show it."""
    return render(evaluated(f"x = {expression};", **facts).variables["x"])


def error(formula: str, **facts: object) -> FormulaEvaluationError:
    with pytest.raises(FormulaEvaluationError) as raised:
        evaluated(formula, **facts)
    return raised.value
