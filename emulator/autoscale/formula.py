"""An autoscale formula: its text, checked and parsed, ready to be evaluated any number of times."""

from dataclasses import dataclass, field
from typing import cast

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from emulator.autoscale.errors import FormulaSyntaxError, Position
from emulator.autoscale.evaluation import Context, Evaluation, evaluate
from emulator.autoscale.grammar import PARSER, Statement

MAX_CHARACTERS = 8192
MAX_STATEMENTS = 100


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula without syntax errors; whether it can be evaluated shows only then."""

    text: str
    statements: tuple[Statement, ...] = field(repr=False, compare=False)

    def evaluate(self, context: Context) -> Evaluation:
        """What the formula asks for in this state of the pool; raises FormulaEvaluationError."""
        return evaluate(self.statements, context)


def parse(text: str) -> Formula:
    """The formula that `text` writes; raises FormulaSyntaxError for any other text."""
    if len(text) > MAX_CHARACTERS:
        raise FormulaSyntaxError(
            f"The formula has {len(text)} characters, the maximum is {MAX_CHARACTERS}",
            Position(1, 1),
            code="AutoScaleFormulaTooLong",
            message="The specified auto-scaling formula exceeds lengths limit.",
        )
    try:
        # lark's own annotation knows nothing of a transformer
        statements = cast("tuple[Statement, ...]", PARSER.parse(text))
    except UnexpectedInput as error:
        raise _syntax_error(text, error) from None
    if len(statements) > MAX_STATEMENTS:
        raise FormulaSyntaxError(
            f"The formula has {len(statements)} statements, the maximum is {MAX_STATEMENTS}",
            statements[MAX_STATEMENTS].position,
        )
    return Formula(text, statements)


def _syntax_error(text: str, error: UnexpectedInput) -> FormulaSyntaxError:
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        last_line = text[text.rfind("\n") + 1 :]
        return FormulaSyntaxError(
            "Unexpected end of the formula" if text.strip() else "The formula is empty",
            Position(text.count("\n") + 1, len(last_line) + 1),
        )
    position = Position(error.line, error.column)
    if isinstance(error, UnexpectedCharacters):
        # What cannot be seen is spelled out; half a surrogate pair could not even be sent.
        shown = error.char if error.char.isprintable() else ascii(error.char)
        return FormulaSyntaxError(f"Unexpected character: {shown}", position)
    return FormulaSyntaxError(f"Unexpected symbol: {cast('UnexpectedToken', error).token}", position)
