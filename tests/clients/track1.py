"""The tutorial's steps with azure-batch 14, 4 or 1, as their documentation shows them: URL, ACCOUNT, KEY."""

import io
import sys
import time

import azure.batch
from azure.batch import models
from azure.batch.batch_auth import SharedKeyCredentials

url, account, key = sys.argv[1:]
credentials = SharedKeyCredentials(account, key)
try:
    client = azure.batch.BatchServiceClient(credentials, batch_url=url)
except TypeError:  # before version 5
    client = azure.batch.BatchServiceClient(credentials, base_url=url)
# Version 1 has one kind of nodes only.
names = models.PoolAddParameter(id="", vm_size="").__dict__
nodes = "target_dedicated_nodes" if "target_dedicated_nodes" in names else "target_dedicated"
if hasattr(client.account, "list_supported_images"):
    agents = [image.node_agent_sku_id for image in client.account.list_supported_images()]
else:
    agents = [agent.id for agent in client.account.list_node_agent_skus()]
assert "batch.node.ubuntu 24.04" in agents, agents
assert list(client.certificate.list()) == []
slots = "task_slots_per_node" if "task_slots_per_node" in names else "max_tasks_per_node"
client.pool.add(
    models.PoolAddParameter(
        id="pool",
        vm_size="STANDARD_D2_V3",
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=models.ImageReference(
                publisher="canonical", offer="ubuntu-24_04-lts", sku="server", version="latest"
            ),
            node_agent_sku_id="batch.node.ubuntu 24.04",
        ),
        **{nodes: 1, slots: 2},
    )
)
pool = client.pool.get("pool")
assert (getattr(pool, nodes), getattr(pool, slots)) == (1, 2), pool
client.job.add(models.JobAddParameter(id="job", pool_info=models.PoolInformation(pool_id="pool")))
tasks = [
    models.TaskAddParameter(id="task%d" % number, command_line="/bin/bash -c 'echo said by %d'" % number)
    for number in range(3)
]
# Before version 2 a task was elevated; since, it has a user.
if "run_elevated" in models.TaskAddParameter(id="", command_line="").__dict__:
    tasks.append(models.TaskAddParameter(id="absent", command_line="/no/such/program", run_elevated=True))
else:
    admin = models.AutoUserSpecification(elevation_level="admin")
    user = models.UserIdentity(auto_user=admin)
    tasks.append(models.TaskAddParameter(id="absent", command_line="/no/such/program", user_identity=user))
added = client.task.add_collection("job", tasks)
assert [str(getattr(each.status, "value", each.status)).lower() for each in added.value] == ["success"] * 4, added.value
deadline = time.time() + 120
while any(task.state != models.TaskState.completed for task in client.task.list("job")):
    assert time.time() < deadline, "the tasks do not complete"
    time.sleep(0.3)
for number in range(3):
    assert client.task.get("job", "task%d" % number).execution_info.exit_code == 0
    stream = io.BytesIO()
    for data in client.file.get_from_task("job", "task%d" % number, "stdout.txt"):
        stream.write(data)
    assert stream.getvalue().decode() == "said by %d\n" % number
absent = client.task.get("job", "absent")
if hasattr(absent, "run_elevated"):
    assert absent.run_elevated is True
else:
    assert absent.user_identity.auto_user.elevation_level == models.ElevationLevel.admin
execution = absent.execution_info
# Before version 3 a failure was a scheduling error.
failure = execution.failure_info if hasattr(execution, "failure_info") else execution.scheduling_error
assert failure.code == "CommandProgramNotFound", failure
if hasattr(client.job, "get_task_counts"):
    counts = client.job.get_task_counts("job")
    counts = getattr(counts, "task_counts", counts)  # with those of slots, since version 10
    assert (counts.completed, counts.succeeded, counts.failed) == (4, 3, 1), counts
# Version 14 and newer have no statistics of all jobs.
for name in ("get_all_lifetime_statistics", "get_all_jobs_lifetime_statistics"):
    if hasattr(client.job, name):
        statistics = getattr(client.job, name)()
        assert (statistics.num_succeeded_tasks, statistics.num_failed_tasks) == (3, 1), statistics
for name in ("get_all_lifetime_statistics", "get_all_pools_lifetime_statistics"):
    if hasattr(client.pool, name):
        assert getattr(client.pool, name)().usage_stats.dedicated_core_time.total_seconds() > 0
client.job.delete("job")
client.pool.delete("pool")
while any(True for _ in client.pool.list()):
    assert time.time() < deadline, "the pool is not deleted"
    time.sleep(0.3)
sys.stdout.write("done\n")
