"""What can go wrong in a run, as sentences that a user can act on.

TopnError            exit status
+- BadInput               2    the user's: refused before anything is created
+- RunFailed              1    the run's
   +- TryAgain            1    may pass by itself: a step's retries repeat it
   +- TimedOut            1    not all files were counted in time; all results are kept
   +- FilesFailed         1    some files were not counted; all other results are kept
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.core.exceptions import AzureError, HttpResponseError

if TYPE_CHECKING:
    from tasks.results import Results


class TopnError(Exception):
    """An error whose text is one sentence for the user; rendered once, at the edge."""

    exit_status = 1


class BadInput(TopnError):
    """Inputs, parameters, settings or endpoints with which no run can start."""

    exit_status = 2


class RunFailed(TopnError):
    """The run cannot go on; `results` has what was counted until then, if it came that far."""

    results: Results | None = None


class TryAgain(RunFailed):
    """The service could not do it now."""


class TimedOut(RunFailed):
    """Not all files were counted within the run's timeout."""


class FilesFailed(RunFailed):
    """Some files were not counted; `results` has all that were, and why the others were not."""

    def __init__(self, results: Results) -> None:
        self.results: Results | None = results
        first, total = results.failed[0], len(results.failed) + len(results.files)
        more = f", and {len(results.failed) - 1} more" if len(results.failed) > 1 else ""
        super().__init__(f"{len(results.failed)} of {total} files failed: {first.sentence}{more}.")


def brief(error: AzureError | TimeoutError) -> str:
    """An error of Azure's clients on one line: status, code and details, or what became of the connection."""
    if isinstance(error, HttpResponseError) and error.status_code is not None:
        # Batch names the property at fault in a list of key and value.
        values = getattr(error.error, "values_property", None) or ()
        details = ", ".join(f"{pair.key}: {pair.value}" for pair in values)
        return f"{error.status_code} {error_code(error) or error.reason}{f' ({details})' if details else ''}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error.message).splitlines()[0]


def error_code(error: HttpResponseError) -> str | None:
    """The service's own code, such as "PoolExists": Batch and Blob Storage keep it in different places."""
    code = getattr(error, "error_code", None) or getattr(error.error, "code", None)
    return getattr(code, "value", code)  # Blob Storage's is an enumeration, whose text names the class
