"""Step 5: one Batch task per input file."""

from __future__ import annotations

from datetime import timedelta

from azure.batch.models import (
    BatchTaskCreateOptions,
    EnvironmentSetting,
    OutputFile,
    OutputFileBlobContainerDestination,
    OutputFileDestination,
    OutputFileUploadCondition,
    OutputFileUploadConfiguration,
    ResourceFile,
)
from prefect import get_run_logger, task

from tasks.application import TRAVELLED, resource_file
from tasks.clients import Clients
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

    def __init__(
        self, clients: Clients, run: Run, plan: Plan, *, staged: bool, delay_seconds: float, lifetime: timedelta
    ) -> None:
        """Prepare to make them.

        Args:
            staged: the pool's start task has staged the application; else it travels with each task.
            lifetime: of the SAS that the tasks get; they may wait and run as long.
        """
        self._clients, self._run, self._plan, self._lifetime = clients, run, plan, lifetime
        self._staged, self._delay_seconds = staged, delay_seconds

    async def make(self, attempt: Attempt) -> BatchTaskCreateOptions:
        """The Batch task, with SAS that live from now on."""
        clients, run, (file, number) = self._clients, self._run, attempt
        url = await clients.blob_read_url(*blob_of(run, file), self._lifetime)
        output_sas = await clients.container_write_sas(run.output_container, self._lifetime)
        container = clients.blobs.get_container_client(run.output_container).url
        application = [] if self._staged else [await resource_file(clients, run, self._lifetime)]
        return BatchTaskCreateOptions(
            id=attempt_id(file, number),
            display_name=file.name[:1024],
            command_line=command_line(run, self._plan, file, staged=self._staged, delay_seconds=self._delay_seconds),
            resource_files=[ResourceFile(http_url=url, file_path=INPUT_ON_NODE), *application],
            output_files=[_logs(f"{container}?{output_sas}", attempt_id(file, number))],
            environment_settings=[
                EnvironmentSetting(name="TOPN_BLOB_ENDPOINT", value=clients.settings.blob_endpoint),
                EnvironmentSetting(name="TOPN_OUTPUT_SAS", value=output_sas),
            ],
        )


def _logs(container_url: str, batch_task_id: str) -> OutputFile:
    """Stdout and stderr, kept beside the results however the task ends: its node may be gone when they matter."""
    return OutputFile(
        file_pattern="../std*.txt",
        destination=OutputFileDestination(
            container=OutputFileBlobContainerDestination(container_url=container_url, path=logs_of(batch_task_id))
        ),
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
