"""Evaluating a parsed autoscale formula against the state and the metrics of a pool."""

import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from emulator.autoscale import functions, operators
from emulator.autoscale.errors import FormulaEvaluationError, Position
from emulator.autoscale.grammar import (
    Assignment,
    Binary,
    Call,
    Choice,
    Expression,
    Member,
    Method,
    Number,
    Statement,
    String,
    Unary,
    Variable,
)
from emulator.autoscale.metrics import Metric
from emulator.autoscale.samples import Samples
from emulator.autoscale.values import DeallocationOption, Timestamp, Value, kind, parse_time, render
from emulator.autoscale.variables import (
    CONSTANTS,
    CURRENT,
    CURRENT_ALIASES,
    DEALLOCATION,
    DEDICATED,
    LOW_PRIORITY,
    READ_ONLY,
    SAMPLED,
    TARGET_ALIASES,
)

# An 8 KB formula can double a vector a hundred times; a day of samples is 2,880 numbers.
MAX_ELEMENTS = 200_000
MAX_NODES = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a formula can know of the pool; `metrics` maps names with their `$` to their history.

    A metric that is not in `metrics` has no samples. Raises ValueError for a `now` without a zone, for a
    metric or a deallocation option that does not exist.
    """

    now: datetime
    target_dedicated_nodes: int = 0
    target_low_priority_nodes: int = 0
    node_deallocation_option: str = "requeue"
    current_dedicated_nodes: int = 0
    current_low_priority_nodes: int = 0  # with the pre-empted ones
    preempted_nodes: int = 0
    usable_nodes: int = 0
    task_slots_per_node: int = 1
    metrics: Mapping[str, Samples] = field(default_factory=dict)
    rand: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise ValueError(f"The time of an evaluation must have a zone: {self.now}.")
        DeallocationOption(self.node_deallocation_option)
        if unknown := self.metrics.keys() - SAMPLED - CURRENT:
            raise ValueError(f"Formulas know no metric {', '.join(sorted(unknown))}.")

    def current(self, name: str) -> float | None:
        """The pool's own number of that name; None for a metric that only has samples."""
        facts = {
            "$CurrentDedicatedNodes": self.current_dedicated_nodes,
            "$CurrentLowPriorityNodes": self.current_low_priority_nodes,
            "$PreemptedNodeCount": self.preempted_nodes,
            "$UsableNodeCount": self.usable_nodes,
            "$TaskSlotsPerNode": self.task_slots_per_node,
        }
        return float(facts[name]) if name in facts else None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a formula asks for: None is what it does not set; `results` is Batch's text of all variables."""

    target_dedicated_nodes: int | None
    target_low_priority_nodes: int | None
    node_deallocation_option: str | None
    results: str
    variables: Mapping[str, Value]  # those that the formula defined itself


class _Stop(Exception):
    """stop() was called."""


# A visit of one expression: it yields the expressions whose values it needs, and returns its own value.
_Visit = Generator[Expression, Value | Metric | None, Value | Metric]


def evaluate(statements: Sequence[Statement], context: Context) -> Evaluation:
    """Evaluate the statements in order, until the last or stop(); raises FormulaEvaluationError."""
    evaluator = _Evaluator(context)
    try:
        with suppress(_Stop):
            for statement in statements:
                evaluator.execute(statement)
        return evaluator.outcome()
    except FormulaEvaluationError as error:
        error.results = evaluator.results()
        raise


class _Evaluator:
    """One evaluation: its variables, and the visits of its expressions.

    Visits are generators on a stack of our own: formulas nest as deep as 8 KB allow, Python's stack does not.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.targets = {
            DEDICATED: float(context.target_dedicated_nodes),
            LOW_PRIORITY: float(context.target_low_priority_nodes),
        }
        self.option = DeallocationOption(context.node_deallocation_option)
        self.set_at: dict[str, Position] = {}
        self.set_by_full_name: set[str] = set()
        self.user: dict[str, Value] = {}
        self.elements = 0

    def execute(self, statement: Statement) -> None:
        """Evaluate one statement and keep what it assigns."""
        if isinstance(statement, Assignment):
            value = self._plain(self._value(statement.value), statement.position)
            self._assign(statement.name, value, statement.position)
        else:
            self._value(statement)

    def outcome(self) -> Evaluation:
        """What the variables ask for, once the statements are through."""
        return Evaluation(
            target_dedicated_nodes=self._target(DEDICATED),
            target_low_priority_nodes=self._target(LOW_PRIORITY),
            node_deallocation_option=self.option.value if DEALLOCATION in self.set_at else None,
            results=self.results(),
            variables=self.user,
        )

    def results(self) -> str:
        """All variables as Batch shows them: the service's own first, then the formula's by name."""
        targets = [f"{name}={math.trunc(nodes)}" for name, nodes in self.targets.items()]
        user = [f"{name}={render(value)}" for name, value in sorted(self.user.items())]
        return ";".join([*targets, f"{DEALLOCATION}={self.option.value}", *user])

    def _target(self, name: str) -> int | None:
        if name not in self.set_at:
            return None
        nodes = math.trunc(self.targets[name])
        if not 0 <= nodes <= MAX_NODES:
            raise FormulaEvaluationError(f"{name} cannot be {nodes}", self.set_at[name])
        return nodes

    def _assign(self, name: str, value: Value, position: Position) -> None:
        if name in READ_ONLY:
            raise FormulaEvaluationError(f"Read-only symbol cannot be set: {name}", position)
        full_name = TARGET_ALIASES.get(name, name)
        if full_name in self.targets:
            if not isinstance(value, float):
                raise FormulaEvaluationError(f"{name} takes a double, not a {kind(value)}", position)
            if name == full_name:
                self.set_by_full_name.add(name)
            if name == full_name or full_name not in self.set_by_full_name:
                self.targets[full_name] = value
                self.set_at[full_name] = position
        elif name == DEALLOCATION:
            if not isinstance(value, DeallocationOption):
                raise FormulaEvaluationError(f"{name} takes a deallocation option, not a {kind(value)}", position)
            self.option = value
            self.set_at[name] = position
        else:
            self.user[name] = self._checked(value, position)

    def _value(self, expression: Expression) -> Value | Metric:
        """The value of an expression, by visiting it and all that it needs."""
        visits = [self._visit(expression)]
        sent: Value | Metric | None = None
        while True:
            try:
                needed = visits[-1].send(sent)
            except StopIteration as returned:
                visits.pop()
                if not visits:
                    return returned.value
                sent = returned.value
            else:
                visits.append(self._visit(needed))
                sent = None

    def _visit(self, expression: Expression) -> _Visit:
        match expression:
            case Number() | String():
                return self._checked(expression.value, expression.position)
            case Variable():
                return self._read(expression)
            case Unary():
                operand = yield from self._need(expression.operand)
                return self._apply(expression.position, operators.unary, expression.sign, operand)
            case Binary():
                return (yield from self._binary(expression))
            case Choice():
                condition = yield from self._need(expression.condition)
                chosen = expression.then if self._truth(condition, "?", expression.position) else expression.otherwise
                return (yield from self._need(chosen))
            case Call():
                arguments = yield from self._arguments(expression.arguments)
                return self._call(expression, arguments)
            case Method():
                return (yield from self._method(expression))
            case Member():
                target = yield from self._need(expression.target)
                value = target.member(expression.name) if isinstance(target, Timestamp) else None
                if value is None:
                    raise FormulaEvaluationError(f"{kind(target)} has no member {expression.name}", expression.position)
                return value

    def _ask(self, expression: Expression) -> _Visit:
        """Ask for the value of a part."""
        value = yield expression
        assert value is not None  # `_value` sends None only to start a visit
        return value

    def _need(self, expression: Expression) -> Generator[Expression, Value | Metric | None, Value]:
        """Ask for the value of a part, as a plain value: a metric counts as its number."""
        value = yield from self._ask(expression)
        return self._plain(value, expression.position)

    def _arguments(
        self, expressions: Sequence[Expression]
    ) -> Generator[Expression, Value | Metric | None, list[Value]]:
        values: list[Value] = []
        for expression in expressions:
            values.append(self._checked((yield from self._need(expression)), expression.position))
        return values

    def _binary(self, expression: Binary) -> _Visit:
        left = yield from self._need(expression.left)
        sign, position = expression.sign, expression.position
        if sign not in {"&&", "||"}:
            right = yield from self._need(expression.right)
            return self._apply(position, operators.binary, sign, left, right)
        # Like the branches of ?:, the right side is left alone when the left one decides.
        if self._truth(left, sign, position) == (sign == "||"):
            return float(sign == "||")
        right = yield from self._need(expression.right)
        return float(self._truth(right, sign, position))

    def _method(self, expression: Method) -> _Visit:
        target = yield from self._ask(expression.target)
        arguments = yield from self._arguments(expression.arguments)
        if not isinstance(target, Metric):
            raise FormulaEvaluationError(
                f"Only the service's metrics have methods, not a {kind(target)}: {expression.name}",
                expression.position,
            )
        position = expression.position
        return self._apply(position, target.call, expression.name, arguments, position)

    def _call(self, expression: Call, arguments: list[Value]) -> Value:
        position = expression.position
        match expression.function, arguments:
            case "stop", []:
                raise _Stop
            case "rand", []:
                return self.context.rand()
            case "time", [] | [""]:
                return Timestamp.of(self.context.now)
            case "time", [str() as text]:
                time = parse_time(text)
                if time is None:
                    raise FormulaEvaluationError(f"Not a W3C-DTF or RFC 1123 time: {text}", position)
                return time
            case ("stop" | "rand" | "time") as function, _:
                kinds = ", ".join(map(kind, arguments))
                raise FormulaEvaluationError(f"{function} does not take ({kinds})", position)
            case function, _ if function in functions.NUMERIC:
                return self._apply(position, functions.call, function, arguments)
            case function, _:
                raise FormulaEvaluationError(f"Undefined function: {function}", position)

    def _read(self, variable: Variable) -> Value | Metric:
        name = TARGET_ALIASES.get(variable.name, CURRENT_ALIASES.get(variable.name, variable.name))
        if name in SAMPLED or name in CURRENT:
            samples = self.context.metrics.get(name) or Samples()
            return Metric(name, samples, self.context.current(name), self.context.now)
        if name == DEALLOCATION:
            return self.option
        for known in (self.targets, CONSTANTS, self.user):
            if name in known:
                return known[name]
        raise FormulaEvaluationError(f"Undefined symbol: {variable.name}", variable.position)

    def _plain(self, value: Value | Metric, position: Position) -> Value:
        return value.number(position) if isinstance(value, Metric) else value

    def _truth(self, value: Value, sign: str, position: Position) -> bool:
        if not isinstance(value, float):
            raise FormulaEvaluationError(f"{sign} takes a double, not a {kind(value)}", position)
        return value != 0

    def _apply(self, position: Position, function: Callable[..., Value], *arguments: object) -> Value:
        """Call an operator or a function; what it raises becomes an error at `position`."""
        try:
            return self._checked(function(*arguments), position)
        except (operators.OperatorError, functions.ArgumentError) as error:
            raise FormulaEvaluationError(str(error), position) from None
        except ZeroDivisionError:
            raise FormulaEvaluationError("Division by zero", position) from None
        except OverflowError:
            raise FormulaEvaluationError("The result is out of range", position) from None

    def _checked(self, value: Value, position: Position) -> Value:
        """The value, if its numbers are finite and the evaluation has not handled too many of them."""
        numbers = (value,) if isinstance(value, float) else value if isinstance(value, tuple) else ()
        self.elements += len(numbers)
        if self.elements > MAX_ELEMENTS:
            raise FormulaEvaluationError("The formula handles too many numbers", position)
        if not all(map(math.isfinite, numbers)):
            raise FormulaEvaluationError("The result is out of range", position)
        return value
