"""Exit conditions: what a task's end means for its job and for the tasks that depend on it."""

from __future__ import annotations

from azure.batch.models import ExitConditions, ExitOptions

from emulator.task import Task

UPLOAD_CODES = "FileUpload"  # how the failure codes of output files begin


def _option(task: Task) -> ExitOptions | None:
    """The exit options that apply: exit codes over ranges over errors before and after over the default."""
    conditions: ExitConditions | None = task.model.exit_conditions
    if conditions is None:
        return None
    exit_code = task.execution.exit_code
    failure = task.execution.failure_info
    if exit_code is not None:
        for mapping in conditions.exit_codes or ():
            if mapping.code == exit_code:
                return mapping.exit_options
        for span in conditions.exit_code_ranges or ():
            if span.start <= exit_code <= span.end:
                return span.exit_options
    if failure is not None:
        if (failure.code or "").startswith(UPLOAD_CODES):
            return conditions.file_upload_error or conditions.default
        if exit_code is None and failure.code != "TaskEnded":
            return conditions.pre_processing_error or conditions.default
    # The default is for exits that no other condition covers; an exit code of 0 must be listed.
    return conditions.default if failure is not None else None


def satisfies_dependents(task: Task) -> bool:
    """Whether tasks that depend on this completed one may run."""
    option = _option(task)
    if option is not None and "dependencyAction" in option:
        return option["dependencyAction"] == "satisfy"
    return task.execution["result"] == "success"


def job_action(task: Task) -> str:
    """What becomes of the job now: none, disable or terminate; only for a job that asked for it."""
    option = _option(task)
    if option is not None and "jobAction" in option:
        return option["jobAction"]
    return "none" if task.execution["result"] == "success" else "terminate"
