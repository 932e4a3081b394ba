"""The grammar of autoscale formulas, and the tree that parsing a formula gives.

Parsing is LALR with the tree built bottom-up, so that no nesting, however deep, exhausts the stack.
"""

from dataclasses import dataclass

from lark import Lark, Token, Transformer, v_args

from emulator.autoscale.errors import Position

_GRAMMAR = r"""
    start: _statements SEMICOLON?
    _statements: statement
               | _statements SEMICOLON statement

    ?statement: NAME ASSIGN expression                             -> assignment
              | expression

    ?expression: disjunction
               | disjunction QUESTION expression COLON expression  -> choice
    ?disjunction: conjunction | disjunction OR conjunction         -> binary
    ?conjunction: equality | conjunction AND equality              -> binary
    ?equality: comparison | equality EQUALITY comparison           -> binary
    ?comparison: total | comparison COMPARISON total               -> binary
    ?total: product | total (PLUS | MINUS) product                 -> binary
    ?product: signed | product (TIMES | OVER) signed               -> binary
    ?signed: operand | (MINUS | NOT) signed                        -> unary

    ?operand: NUMBER                                               -> number
            | STRING                                               -> string
            | NAME                                                 -> variable
            | NAME OPEN arguments _CLOSE                           -> call
            | operand _DOT NAME                                    -> member
            | operand _DOT NAME OPEN arguments _CLOSE              -> method
            | OPEN expression _CLOSE                               -> group
    arguments: [expression (_COMMA expression)*]

    NUMBER: /(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?/
    STRING: /"[^"\r\n\ud800-\udfff]*"/
    NAME: /\$?[A-Za-z_][A-Za-z0-9_]*/
    ASSIGN: "="
    QUESTION: "?"
    COLON: ":"
    OR: "||"
    AND: "&&"
    EQUALITY: "==" | "!="
    COMPARISON: "<=" | ">=" | "<" | ">"
    PLUS: "+"
    MINUS: "-"
    TIMES: "*"
    OVER: "/"
    NOT: "!"
    OPEN: "("
    _CLOSE: ")"
    _DOT: "."
    _COMMA: ","
    SEMICOLON: ";"

    COMMENT.2: /\/\/[^\r\n]*|\/\*[^*]*\*+([^\/*][^*]*\*+)*\//
    BLANK: /[ \t\r\n\f]+/
    %ignore COMMENT
    %ignore BLANK
"""


# Trees are as deep as formulas are nested: comparing or printing one would recurse, so neither is generated.
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Number:
    """A number written in the formula."""

    value: float
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class String:
    """A text in double quotes."""

    value: str
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Variable:
    """A name that is read."""

    name: str
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unary:
    """`-operand` or `!operand`."""

    sign: str
    operand: "Expression"
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Binary:
    """`left sign right`."""

    sign: str
    left: "Expression"
    right: "Expression"
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Choice:
    """`condition ? then : otherwise`."""

    condition: "Expression"
    then: "Expression"
    otherwise: "Expression"
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Call:
    """`function(arguments)`; the position is that of the parenthesis, where Batch reports calls."""

    function: str
    arguments: "tuple[Expression, ...]"
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Method:
    """`target.name(arguments)`; the position is that of the parenthesis, where Batch reports calls."""

    target: "Expression"
    name: str
    arguments: "tuple[Expression, ...]"
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Member:
    """`target.name`."""

    target: "Expression"
    name: str
    position: Position


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Assignment:
    """`name = value`."""

    name: str
    value: "Expression"
    position: Position


Expression = Number | String | Variable | Unary | Binary | Choice | Call | Method | Member
Statement = Assignment | Expression


def _at(token: Token) -> Position:
    return Position(token.line or 1, token.column or 1)


@v_args(inline=True)
class _Tree(Transformer[Token, tuple[Statement, ...]]):
    """Called by the parser for each rule, innermost first."""

    def start(self, *parts: Statement | Token) -> tuple[Statement, ...]:
        return tuple(part for part in parts if not isinstance(part, Token))

    def assignment(self, name: Token, _: Token, value: Expression) -> Assignment:
        return Assignment(str(name), value, _at(name))

    def choice(self, condition: Expression, mark: Token, then: Expression, _: Token, otherwise: Expression) -> Choice:
        return Choice(condition, then, otherwise, _at(mark))

    def binary(self, left: Expression, sign: Token, right: Expression) -> Binary:
        return Binary(str(sign), left, right, _at(sign))

    def unary(self, sign: Token, operand: Expression) -> Unary:
        return Unary(str(sign), operand, _at(sign))

    def number(self, digits: Token) -> Number:
        return Number(float(digits), _at(digits))

    def string(self, quoted: Token) -> String:
        return String(quoted[1:-1], _at(quoted))

    def variable(self, name: Token) -> Variable:
        return Variable(str(name), _at(name))

    def call(self, function: Token, parenthesis: Token, arguments: tuple[Expression, ...]) -> Call:
        return Call(str(function), arguments, _at(parenthesis))

    def member(self, target: Expression, name: Token) -> Member:
        return Member(target, str(name), _at(name))

    def method(self, target: Expression, name: Token, parenthesis: Token, arguments: tuple[Expression, ...]) -> Method:
        return Method(target, str(name), arguments, _at(parenthesis))

    def group(self, _: Token, inner: Expression) -> Expression:
        return inner

    def arguments(self, *expressions: Expression | None) -> tuple[Expression, ...]:
        return tuple(expression for expression in expressions if expression is not None)


PARSER = Lark(_GRAMMAR, parser="lalr", transformer=_Tree())
"""Parses a formula to its statements; raises lark's UnexpectedInput."""
