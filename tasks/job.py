"""Step 4: the job that holds the Batch tasks."""

from __future__ import annotations

from datetime import timedelta

from azure.batch.models import BatchJobConstraints, BatchJobCreateOptions, BatchPoolInfo
from azure.core.exceptions import ResourceExistsError
from prefect import get_run_logger, task

from tasks.clients import Clients
from tasks.errors import RunFailed, error_code
from tasks.retries import STEP
from tasks.run import Run

# The job outlives the monitoring by this: its wall clock limit is for a run that died.
JOB_MARGIN = timedelta(minutes=10)


@task(name="job", **STEP)
async def create_job(clients: Clients, run: Run, pool_id: str, max_wall_clock_time: timedelta) -> None:
    """Create the run's job on this pool; Batch ends it at its wall clock limit, whatever becomes of the client.

    Raises RunFailed when the job's id is another run's.
    """
    get_run_logger().info("Creating job [%s]...", run.job_id)
    job = BatchJobCreateOptions(
        id=run.job_id,
        pool_info=BatchPoolInfo(pool_id=pool_id),
        constraints=BatchJobConstraints(max_wall_clock_time=max_wall_clock_time),
        metadata=run.metadata,
    )
    try:
        await clients.batch.create_job(job)
    except ResourceExistsError as error:
        if error_code(error) != "JobExists":  # the client takes any 409 for this, a quota's too
            raise
        existing = await clients.batch.get_job(run.job_id)
        if not run.owns(existing.metadata):
            raise RunFailed(f"The job {run.job_id} exists already: choose another run key than {run.key}.") from None
