"""The operators of autoscale formulas: which types they take, and what comes out."""

import operator
from collections.abc import Callable
from typing import Any

from emulator.autoscale.values import DoubleVec, TimeInterval, Timestamp, Value, kind

# As in the documentation's table "Operations": what is not there, the language does not have
# (`timestamp - timeinterval` and `double - doubleVec`, for instance).
ARITHMETIC: dict[tuple[str, str], str] = {
    ("double", "double"): "+-*/",
    ("double", "timeinterval"): "*",
    ("doubleVec", "double"): "+-*/",
    ("doubleVec", "doubleVec"): "+-*/",
    ("timeinterval", "double"): "*/",
    ("timeinterval", "timeinterval"): "+-",
    ("timeinterval", "timestamp"): "+",
    ("timestamp", "timeinterval"): "+",
    ("timestamp", "timestamp"): "-",
}
COMPARED = frozenset({"double", "string", "timestamp", "timeinterval"})

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
    "!=": operator.ne,
}
_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


class OperatorError(Exception):
    """An operator cannot be applied to these values; the message says why."""


def binary(sign: str, left: Value, right: Value) -> Value:
    """`left sign right`; raises OperatorError, ZeroDivisionError or OverflowError if there is no result."""
    kinds = (kind(left), kind(right))
    if sign in _COMPARISONS:
        if kinds[0] != kinds[1] or kinds[0] not in COMPARED:
            raise OperatorError(f"{kinds[0]} {sign} {kinds[1]} is not supported")
        return float(_COMPARISONS[sign](left, right))
    if sign not in ARITHMETIC.get(kinds, ""):
        raise OperatorError(f"{kinds[0]} {sign} {kinds[1]} is not supported")
    match left, right:
        case float(), float():
            return _ARITHMETIC[sign](left, right)
        case tuple(), float():
            return tuple(_ARITHMETIC[sign](value, right) for value in left)
        case tuple(), tuple():
            return _by_component(sign, left, right)
        case float(), TimeInterval():
            return TimeInterval.of_ticks(left * right.ticks)
        case TimeInterval(), float():
            return TimeInterval.of_ticks(_ARITHMETIC[sign](left.ticks, right))
        case TimeInterval(), TimeInterval():
            return TimeInterval(left.ticks + right.ticks if sign == "+" else left.ticks - right.ticks)
        case Timestamp(), Timestamp():
            return TimeInterval(left.ticks - right.ticks)
        case ((Timestamp() | TimeInterval()), (Timestamp() | TimeInterval())):
            return Timestamp(left.ticks + right.ticks)
        case _:
            raise OperatorError(f"{kinds[0]} {sign} {kinds[1]} is not supported")


def _by_component(sign: str, left: DoubleVec, right: DoubleVec) -> DoubleVec:
    if len(left) != len(right):
        raise OperatorError(f"doubleVec {sign} doubleVec needs equal lengths, not {len(left)} and {len(right)}")
    return tuple(_ARITHMETIC[sign](*pair) for pair in zip(left, right, strict=True))


def unary(sign: str, operand: Value) -> Value:
    """`-operand` or `!operand`; raises OperatorError for a type that has no such operator."""
    if sign == "!" and isinstance(operand, float):
        return float(operand == 0)
    if sign == "-" and isinstance(operand, float):
        return -operand
    if sign == "-" and isinstance(operand, TimeInterval):
        return TimeInterval(-operand.ticks)
    raise OperatorError(f"{sign} {kind(operand)} is not supported")
