"""Apache Airflow's operator for Azure Batch, as its documentation shows it: WRITTEN, a file that a task is to write.

The connection comes from AIRFLOW_CONN_AZURE_BATCH_DEFAULT. Operators are executed as a worker of Airflow does it.
"""

import asyncio
import sys
from typing import Any

from airflow.providers.microsoft.azure.operators.batch import AzureBatchOperator
from airflow.sdk.exceptions import TaskDeferred
from azure.core.exceptions import ResourceNotFoundError

(written,) = sys.argv[1:]


def operator(task_id: str, command_line: str, **more: Any) -> AzureBatchOperator:
    """An operator that runs one task in the one job of the one pool, and makes these if they are not there."""
    return AzureBatchOperator(
        task_id=f"run-{task_id}",
        batch_pool_id="pool",
        batch_pool_vm_size="STANDARD_D2_V3",
        batch_job_id="job",
        batch_task_id=task_id,
        batch_task_command_line=command_line,
        target_dedicated_nodes=1,
        vm_publisher="canonical",
        vm_offer="ubuntu-24_04-lts",
        vm_sku="server",
        vm_node_agent_sku_id="batch.node.ubuntu 24.04",
        **more,
    )


first = operator("first", "/bin/bash -c 'echo said by the first'", vm_version="latest")
first.execute({})
client = first.hook.connection
task = client.get_task("job", "first")
assert (task.state, task.execution_info.exit_code) == ("completed", 0), task
assert b"".join(client.download_task_file("job", "first", "stdout.txt")) == b"said by the first\n"

# The same pool and job once more, and an image that is looked for among those that the service lists. The operator
# leaves the waiting to its trigger, as one does that is not to hold a worker meanwhile; its task fails, and it deletes
# all.
failing = operator(
    "failing",
    f"/bin/bash -c 'echo said by $AZ_BATCH_TASK_ID > {written}; exit 3'",
    use_latest_verified_vm_image_and_sku=True,
    sku_starts_with="server",
    should_delete_job=True,
    should_delete_pool=True,
    deferrable=True,
    poll_interval=1,
)
try:
    failing.execute({})
except TaskDeferred as deferred:
    trigger = deferred.trigger
else:
    raise AssertionError("the operator did not defer")


async def fired() -> Any:
    """What the trigger has to say."""
    return await anext(trigger.run())


try:
    failing.execute_complete({}, asyncio.run(fired()).payload)
except RuntimeError as error:
    assert "failing" in str(error), error
else:
    raise AssertionError("the operator did not see that its task failed")
for look in (lambda: client.get_job("job"), lambda: client.get_pool("pool")):
    try:
        raise AssertionError(f"it is there still: {look()}")
    except ResourceNotFoundError:
        pass
sys.stdout.write("done\n")
