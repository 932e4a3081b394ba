"""Azure Batch's autoscale formulas: parsing, evaluation, and the history of the metrics they read.

    formula = parse("$TargetDedicatedNodes = time() < time(\"2026-01-01T00:00:00Z\") ? 4 : 0;")
    evaluation = formula.evaluate(Context(now=datetime.now(UTC), metrics={"$PendingTasks": samples}))
    evaluation.target_dedicated_nodes   # 4, or 0, or None when the formula does not set it
    evaluation.results                  # "$TargetDedicatedNodes=4;$TargetLowPriorityNodes=0;..."

- `parse(text)` gives a `Formula` or raises `FormulaSyntaxError`, on any text, and nothing else.
- `Formula.evaluate(context)` gives an `Evaluation` or raises `FormulaEvaluationError`, and nothing else;
  a formula is never changed by it.
- Both errors are `FormulaError`s: `code`, `message` and `values` are what Batch puts on the wire, `line`
  and `column` (from 1) name the place. A `FormulaEvaluationError` has `results` too.
- `Context` is what a formula knows of its pool; `Samples` is the history of one metric, which its owner
  feeds: `if samples.is_due(now): samples.record(now, value)`.

Everything here is pure: no clock, no input or output, no state beyond a `Samples`. The language is that of
learn.microsoft.com/azure/batch/batch-automatic-scaling; what that page leaves open: docs/autoscale-notes.md.
"""

from emulator.autoscale.errors import FormulaError, FormulaEvaluationError, FormulaSyntaxError, Position
from emulator.autoscale.evaluation import Context, Evaluation
from emulator.autoscale.formula import MAX_CHARACTERS, MAX_STATEMENTS, Formula, parse
from emulator.autoscale.samples import Samples

__all__ = [
    "MAX_CHARACTERS",
    "MAX_STATEMENTS",
    "Context",
    "Evaluation",
    "Formula",
    "FormulaError",
    "FormulaEvaluationError",
    "FormulaSyntaxError",
    "Position",
    "Samples",
    "parse",
]
