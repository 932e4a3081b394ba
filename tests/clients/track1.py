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
        **{nodes: 1},
    )
)
client.job.add(models.JobAddParameter(id="job", pool_info=models.PoolInformation(pool_id="pool")))
tasks = [
    models.TaskAddParameter(id="task%d" % number, command_line="/bin/bash -c 'echo said by %d'" % number)
    for number in range(3)
]
added = client.task.add_collection("job", tasks)
assert [str(getattr(each.status, "value", each.status)).lower() for each in added.value] == ["success"] * 3, added.value
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
client.job.delete("job")
client.pool.delete("pool")
while any(True for _ in client.pool.list()):
    assert time.time() < deadline, "the pool is not deleted"
    time.sleep(0.3)
sys.stdout.write("done\n")
