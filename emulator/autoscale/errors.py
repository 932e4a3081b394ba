"""What goes wrong with an autoscale formula, with the codes and sentences of the Batch service."""

from typing import NamedTuple


class Position(NamedTuple):
    """A place in a formula; lines and columns count from 1, as in the service's own messages."""

    line: int
    column: int


class FormulaError(Exception):
    """A formula cannot be used: `code` and `message` are Batch's, `detail` names the place and the cause.

    Batch answers with the same detail as the one entry ("Message", detail) of the error's values.
    """

    def __init__(self, code: str, message: str, detail: str, position: Position) -> None:
        self.code = code
        self.message = message
        self.position = position
        self.detail = f"Line {position.line}, Col {position.column}: {detail}"
        super().__init__(f"{message.rstrip('.')}: {self.detail}")

    @property
    def line(self) -> int:
        """The line at fault, from 1."""
        return self.position.line

    @property
    def column(self) -> int:
        """The column at fault, from 1."""
        return self.position.column

    @property
    def values(self) -> list[tuple[str, str]]:
        """The (name, value) pairs of the error body."""
        return [("Message", self.detail)]


class FormulaSyntaxError(FormulaError):
    """The text is not a formula; Batch refuses the request with 400."""

    def __init__(
        self,
        detail: str,
        position: Position,
        *,
        code: str = "AutoScalingFormulaSyntaxError",
        message: str = "The specified auto-scaling formula has a syntax error.",
    ) -> None:
        super().__init__(code, message, detail, position)


class FormulaEvaluationError(FormulaError):
    """The formula has no outcome now; Batch answers 200 with an autoScaleRun that carries this error.

    `results` is what the variables held when the evaluation ended: the pool must not be resized by it.
    """

    def __init__(
        self,
        detail: str,
        position: Position,
        *,
        code: str = "AutoScalingFormulaEvaluationError",
        message: str = "The specified auto-scaling formula has evaluation error",
    ) -> None:
        super().__init__(code, message, detail, position)
        self.results = ""


def insufficient_sample_data(
    variable: str, wanted_percent: float, received_percent: float, position: Position
) -> FormulaEvaluationError:
    """The error for a metric of which fewer samples are there than asked for, in the service's own words."""
    wanted, received = f"{wanted_percent:.15g}%", f"{int(received_percent)}%"
    return FormulaEvaluationError(
        f"Insufficient data from data set: {variable} wanted {wanted}, received {received}",
        position,
        code="InsufficientSampleData",
        message="Autoscale evaluation failed due to insufficient sample data",
    )
