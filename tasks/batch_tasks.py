"""Step 5: one Batch task per input file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from azure.batch.models import BatchTaskCreateOptions, BatchTaskGroup, EnvironmentSetting, ResourceFile
from prefect import get_run_logger, task

from tasks.application import TRAVELLED, resource_file
from tasks.clients import Clients
from tasks.errors import RunFailed, TryAgain
from tasks.inputs import blob_of
from tasks.plan import InputFile, Plan
from tasks.pool import in_shell
from tasks.retries import STEP
from tasks.run import Run

COLLECTION = 100  # tasks; Batch takes no more in one call
INPUT_ON_NODE = "input.txt"  # in the task's working directory, whatever the file is called here


@task(name="batch tasks", **STEP)
async def add_batch_tasks(
    clients: Clients, run: Run, plan: Plan, *, staged: bool, delay_seconds: float, lifetime: timedelta
) -> None:
    """Add one Batch task per file to the run's job, in collections of a hundred.

    Args:
        staged: the pool's start task has staged the application; else it travels with each task.
        lifetime: of the SAS that the tasks get; they may wait and run as long.

    Raises RunFailed when Batch takes a task for wrong.
    """
    get_run_logger().info("Adding %d tasks to job [%s]...", len(plan.files), run.job_id)
    output_sas = await clients.container_write_sas(run.output_container, lifetime)
    environment = [
        EnvironmentSetting(name="TOPN_BLOB_ENDPOINT", value=clients.settings.blob_endpoint),
        EnvironmentSetting(name="TOPN_OUTPUT_SAS", value=output_sas),
    ]
    application = [] if staged else [await resource_file(clients, run, lifetime)]
    for start in range(0, len(plan.files), COLLECTION):
        batch_tasks = [
            BatchTaskCreateOptions(
                id=file.batch_task_id,
                display_name=file.name[:1024],
                command_line=command_line(run, plan, file, staged=staged, delay_seconds=delay_seconds),
                resource_files=[
                    ResourceFile(
                        http_url=await clients.blob_read_url(*blob_of(run, file), lifetime), file_path=INPUT_ON_NODE
                    ),
                    *application,
                ],
                environment_settings=environment,
            )
            for file in plan.files[start : start + COLLECTION]
        ]
        await _add(clients, run.job_id, batch_tasks)


def command_line(run: Run, plan: Plan, file: InputFile, *, staged: bool, delay_seconds: float) -> str:
    """What Batch runs on the node: no file name and no SAS is in it, so a shell has nothing to misread."""
    folder = plan.application.staged if staged else TRAVELLED
    delay = f" --delay-seconds {delay_seconds:g}" if delay_seconds else ""
    return in_shell(
        f'set -e; python3 "{folder}/top_words.py" {INPUT_ON_NODE} --words {plan.num_words} --key {file.key}'
        f" --output-container {run.output_container}{delay}"
    )


async def _add(clients: Clients, job_id: str, batch_tasks: Sequence[BatchTaskCreateOptions]) -> None:
    answer = await clients.batch.create_task_collection(job_id, BatchTaskGroup(task_values=list(batch_tasks)))
    for result in answer.result_values or []:
        code = result.error.code if result.error else None
        # The service writes "Success" and "ClientError", the SDK's enumeration has "success" and "clienterror".
        status = str(getattr(result.status, "value", result.status)).lower()
        if status == "success" or code == "TaskExists":
            continue
        sentence = f"Batch does not take the task {result.task_id} of job {job_id}: {code}."
        raise TryAgain(sentence) if status == "servererror" else RunFailed(sentence)
