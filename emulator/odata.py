"""Reads `$filter` and `$select`, the part of OData that Batch's list operations understand.

The grammar and its limits follow "Create efficient list queries" in Microsoft's documentation: names are
case-sensitive, values are not; `eq ne gt ge lt le`, `and`, `or`, `not`, parentheses, `startswith`.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import isodate
from lark import Lark, Token, Transformer, UnexpectedInput
from lark.exceptions import VisitError

from emulator.body import objects_of
from emulator.errors import InvalidQueryParameterValue

Predicate = Callable[[Mapping[str, Any]], bool]
Properties = Callable[[type], Mapping[str, type | None]]
"""The properties that a model has for a client: each with the model of the object that it is, if it is one."""

_GRAMMAR = Lark(
    r"""
    ?start: either
    ?either: both ("or" both)*
    ?both: negation ("and" negation)*
    ?negation: "not" negation -> negated
        | comparison
        | "startswith" "(" path "," text ")" -> startswith
        | path -> truth
        | "(" either ")"
    comparison: path OPERATOR value
    path: NAME ("/" NAME)*
    ?value: text | date | number | BOOLEAN -> boolean | "null" -> null
    text: STRING
    date: "DateTime"i STRING
    number: NUMBER
    OPERATOR.2: /(eq|ne|gt|ge|lt|le)\b/
    BOOLEAN.2: /(true|false)\b/
    NAME: /(?!(?:and|or|not|null|true|false)\b)[A-Za-z_][A-Za-z0-9_]*/
    NUMBER: /-?\d+(\.\d+)?/
    STRING: /'(?:[^']|'')*'/
    %ignore /\s+/
    """,
    parser="lalr",
    maybe_placeholders=False,
)
_LONGEST = 4000  # characters
_MOST_NEGATIONS = 50  # each nests the others one level deeper
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    name: getattr(operator, name) for name in ("eq", "ne", "gt", "ge", "lt", "le")
}


@functools.lru_cache(maxsize=256)
def filtered(text: str, model: type, properties: Properties = objects_of) -> Predicate:
    """The predicate that a `$filter` stands for, over bodies of a model.

    Raises:
        InvalidQueryParameterValue: when it is not a filter, or names what the model or an object in it has not.
    """
    if len(text) > _LONGEST or text.count("not") > _MOST_NEGATIONS:
        raise InvalidQueryParameterValue(QueryParameterName="$filter", Reason="The filter is too long.")
    try:
        return _Predicates(model, properties).transform(_GRAMMAR.parse(text))
    except UnexpectedInput as error:
        reason = f"The filter cannot be read from position {error.pos_in_stream}."
    except VisitError as error:
        reason = str(error.orig_exc)
    raise InvalidQueryParameterValue(QueryParameterName="$filter", QueryParameterValue=text[:200], Reason=reason)


def selected(text: str, model: type, properties: Properties = objects_of) -> list[str]:
    """The properties that a `$select` names; those of objects are not selected one by one.

    Raises:
        InvalidQueryParameterValue: when the model has no such property.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in properties(model):
            raise InvalidQueryParameterValue(
                QueryParameterName="$select", QueryParameterValue=name, Reason="There is no such property."
            )
    return names


class _Predicates(Transformer):
    """Turns a parsed filter into one function over a body."""

    def __init__(self, model: type, properties: Properties) -> None:
        super().__init__()
        self._model = model
        self._properties = properties

    def either(self, parts: list[Predicate]) -> Predicate:
        return lambda body: any(part(body) for part in parts)

    def both(self, parts: list[Predicate]) -> Predicate:
        return lambda body: all(part(body) for part in parts)

    def negated(self, parts: list[Predicate]) -> Predicate:
        return lambda body: not parts[0](body)

    def path(self, names: list[Token]) -> list[str]:
        model: type | None = self._model
        for name in names:
            known = {} if model is None else self._properties(model)
            if str(name) not in known:
                raise ValueError(f"There is no property {'/'.join(names)}.")
            model = known[str(name)]
        return [str(name) for name in names]

    def text(self, tokens: list[Token]) -> str:
        return str(tokens[0])[1:-1].replace("''", "'").lower()

    def date(self, tokens: list[Token]) -> datetime:
        return isodate.parse_datetime(str(tokens[0])[1:-1])

    def number(self, tokens: list[Token]) -> float:
        return float(tokens[0])

    def boolean(self, tokens: list[Token]) -> bool:
        return str(tokens[0]) == "true"

    def null(self, _tokens: list[Token]) -> None:
        return None

    def truth(self, parts: list[list[str]]) -> Predicate:
        return lambda body: _found(body, parts[0]) is True

    def startswith(self, parts: list[Any]) -> Predicate:
        path, prefix = parts
        return lambda body: str(_found(body, path) or "").lower().startswith(prefix)

    def comparison(self, parts: list[Any]) -> Predicate:
        path, name, wanted = parts
        compare = _OPERATORS[str(name)]
        if wanted is None:
            if compare not in (operator.eq, operator.ne):
                raise ValueError("Only eq and ne compare with null.")
            return lambda body: compare(_found(body, path), None)
        return lambda body: _compared(compare, _found(body, path), wanted)


def _found(body: Mapping[str, Any], path: list[str]) -> Any:
    value: Any = body
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _compared(compare: Callable[[Any, Any], bool], value: Any, wanted: Any) -> bool:
    if value is None:
        return compare is operator.ne
    if isinstance(wanted, datetime):
        value = isodate.parse_datetime(value) if isinstance(value, str) else value
    elif isinstance(value, str):
        value = value.lower()
    if type(value) is not type(wanted) and not (isinstance(value, int) and isinstance(wanted, float)):
        return compare is operator.ne
    return compare(value, wanted)
