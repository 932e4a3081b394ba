"""Step 5: one Batch task per input file."""

from __future__ import annotations

from azure.batch.models import (
    BatchTaskCreateOptions,
    OutputFile,
    OutputFileDestination,
    OutputFileUploadCondition,
    OutputFileUploadConfiguration,
)
from prefect import get_run_logger, task

from tasks.access import NodeAccess
from tasks.application import TRAVELLED, resource_file
from tasks.in_flight import Attempt, JobInFlight, attempt_id
from tasks.inputs import blob_of
from tasks.outcome import logs_of
from tasks.plan import InputFile, Plan
from tasks.pool import in_shell
from tasks.retries import STEP
from tasks.run import Run

INPUT_ON_NODE = "input.txt"  # in the task's working directory, whatever the file is called here


class BatchTasks:
    """Makes the Batch task of a file's attempt."""

    def __init__(self, access: NodeAccess, run: Run, plan: Plan, *, staged: bool, delay_seconds: float) -> None:
        """Prepare to make them.

        Args:
            access: how they reach their blobs.
            staged: the pool's start task has staged the application; else it travels with each task.
        """
        self._access, self._run, self._plan = access, run, plan
        self._staged, self._delay_seconds = staged, delay_seconds

    async def make(self, attempt: Attempt) -> BatchTaskCreateOptions:
        """The Batch task; where nodes come with SAS, these live from now on."""
        access, run, (file, number) = self._access, self._run, attempt
        application = [] if self._staged else [await resource_file(access, run)]
        return BatchTaskCreateOptions(
            id=attempt_id(file, number),
            display_name=file.name[:1024],
            command_line=command_line(run, self._plan, file, staged=self._staged, delay_seconds=self._delay_seconds),
            resource_files=[await access.blob(*blob_of(run, file), INPUT_ON_NODE), *application],
            output_files=[await self._logs(attempt_id(file, number))],
            environment_settings=await access.environment(run.output_container),
        )

    async def _logs(self, batch_task_id: str) -> OutputFile:
        """Stdout and stderr, kept beside the results however the task ends: its node may be gone when they matter."""
        container = await self._access.destination(self._run.output_container, logs_of(batch_task_id))
        return OutputFile(
            file_pattern="../std*.txt",
            destination=OutputFileDestination(container=container),
            upload_options=OutputFileUploadConfiguration(upload_condition=OutputFileUploadCondition.TASK_COMPLETION),
        )


@task(name="batch tasks", **STEP)
async def add_batch_tasks(job: JobInFlight, number: int) -> None:
    """Add one Batch task per file to the run's job, in collections of a hundred. Raises RunFailed."""
    get_run_logger().info("Adding %d tasks to job [%s]...", number, job.job_id)
    await job.add()


def command_line(run: Run, plan: Plan, file: InputFile, *, staged: bool, delay_seconds: float) -> str:
    """What Batch runs on the node: no file name and no SAS is in it, so a shell has nothing to misread."""
    folder = plan.application.staged if staged else TRAVELLED
    delay = f" --delay-seconds {delay_seconds:g}" if delay_seconds else ""
    return in_shell(
        f'set -e; python3 "{folder}/top_words.py" {INPUT_ON_NODE} {plan.counting.arguments(folder)} --key {file.key}'
        f" --output-container {run.output_container}{delay}"
    )
