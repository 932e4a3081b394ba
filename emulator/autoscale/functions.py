"""The functions of autoscale formulas on numbers, as in the documentation's table "Functions"."""

import math
from collections.abc import Callable, Sequence

from emulator.autoscale.values import DoubleVec, Value, kind


class ArgumentError(Exception):
    """A function cannot take these arguments; the message says why."""


def flatten(function: str, arguments: Sequence[Value]) -> DoubleVec:
    """A doubleVecList as one vector: doubles and vectors in any order, joined.

    Raises ArgumentError for an argument that is neither.
    """
    joined: list[float] = []
    for argument in arguments:
        if isinstance(argument, float):
            joined.append(argument)
        elif isinstance(argument, tuple):
            joined.extend(argument)
        else:
            raise ArgumentError(f"{function} takes doubles and doubleVecs, not a {kind(argument)}")
    return tuple(joined)


def _avg(values: DoubleVec) -> float:
    return sum(values) / len(values)


def _std(values: DoubleVec) -> float:
    mean = _avg(values)
    return math.sqrt(sum((value - mean) * (value - mean) for value in values) / (len(values) - 1))


def _round(value: float) -> float:
    """The nearest whole number; halves go away from zero."""
    return math.copysign(float(math.floor(abs(value) + 0.5)), value)


def _logarithm(function: Callable[[float], float], name: str) -> Callable[[float], float]:
    def logarithm(value: float) -> float:
        if value <= 0:
            raise ArgumentError(f"{name} takes numbers above zero, not {value:.15g}")
        return function(value)

    return logarithm


# function: (the fewest numbers it can do with, what it does with the whole list)
_AGGREGATES: dict[str, tuple[int, Callable[[DoubleVec], float]]] = {
    "avg": (1, _avg),
    "len": (0, lambda values: float(len(values))),
    "max": (1, max),
    "min": (1, min),
    "norm": (0, lambda values: math.hypot(*values)),
    "range": (1, lambda values: max(values) - min(values)),
    "std": (2, _std),
    "sum": (0, lambda values: float(sum(values))),
}

# One double gives a double, anything else is joined to a vector and gives a vector.
_BY_COMPONENT: dict[str, Callable[[float], float]] = {
    "ceil": lambda value: float(math.ceil(value)),
    "floor": lambda value: float(math.floor(value)),
    "lg": _logarithm(math.log2, "lg"),
    "ln": _logarithm(math.log, "ln"),
    "log": _logarithm(math.log10, "log"),
    "round": _round,
}


def _of_vector(function: str, arguments: Sequence[Value]) -> tuple[DoubleVec, float]:
    match arguments:
        case [tuple() | float() as vector, float() as number]:
            return flatten(function, [vector]), number
        case _:
            kinds = ", ".join(map(kind, arguments))
            raise ArgumentError(f"{function} takes a doubleVec and a double, not ({kinds})")


def _percentile(arguments: Sequence[Value]) -> float:
    vector, percent = _of_vector("percentile", arguments)
    if not vector or not 0 <= percent <= 100:
        raise ArgumentError(f"percentile {percent:.15g} of {len(vector)} values does not exist")
    return sorted(vector)[max(0, math.ceil(percent / 100 * len(vector)) - 1)]


def _val(arguments: Sequence[Value]) -> float:
    vector, index = _of_vector("val", arguments)
    if not 0 <= index < len(vector):
        raise ArgumentError(f"val has no element {index:.15g} in {len(vector)} values")
    return vector[int(index)]


_OF_VECTOR: dict[str, Callable[[Sequence[Value]], float]] = {"percentile": _percentile, "val": _val}

NUMERIC = _AGGREGATES.keys() | _BY_COMPONENT.keys() | _OF_VECTOR.keys()
"""The functions that `call` knows; rand, stop and time look outside the formula: evaluation.py."""


def call(function: str, arguments: Sequence[Value]) -> Value:
    """The value of a function in NUMERIC; raises ArgumentError when it does not take these arguments."""
    if function in _OF_VECTOR:
        return _OF_VECTOR[function](arguments)
    values = flatten(function, arguments)
    if function in _BY_COMPONENT:
        apply = _BY_COMPONENT[function]
        if not arguments:
            raise ArgumentError(f"{function} takes at least one argument")
        return apply(values[0]) if kind(arguments[0]) == "double" and len(arguments) == 1 else tuple(map(apply, values))
    fewest, aggregate = _AGGREGATES[function]
    if len(values) < fewest:
        raise ArgumentError(f"{function} takes at least {fewest} numbers, not {len(values)}")
    return aggregate(values)
