// The tutorial's steps with @azure/batch, as its documentation shows them: URL, ACCOUNT, KEY.
const assert = require("assert");
const { BatchServiceClient, BatchSharedKeyCredentials } = require("@azure/batch");

const [url, account, key] = process.argv.slice(2);
const client = new BatchServiceClient(new BatchSharedKeyCredentials(account, key), url);
const pause = () => new Promise(resolve => setTimeout(resolve, 300));

async function main() {
  await client.pool.add({
    id: "pool", vmSize: "STANDARD_D2_V3", targetDedicatedNodes: 1,
    virtualMachineConfiguration: {
      imageReference: { publisher: "canonical", offer: "ubuntu-24_04-lts", sku: "server", version: "latest" },
      nodeAgentSKUId: "batch.node.ubuntu 24.04",
    },
  });
  await client.job.add({ id: "job", poolInfo: { poolId: "pool" } });
  const numbers = [0, 1, 2];
  const tasks = numbers.map(number => ({ id: `task${number}`, commandLine: `/bin/bash -c 'echo said by ${number}'` }));
  const added = await client.task.addCollection("job", tasks);
  assert.deepStrictEqual(added.value.map(each => each.status.toLowerCase()), ["success", "success", "success"]);
  const deadline = Date.now() + 120000;
  while (!(await client.task.list("job")).every(task => task.state === "completed")) {
    assert(Date.now() < deadline, "the tasks do not complete");
    await pause();
  }
  for (const number of numbers) {
    assert.strictEqual((await client.task.get("job", `task${number}`)).executionInfo.exitCode, 0);
    const file = await client.file.getFromTask("job", `task${number}`, "stdout.txt");
    let text = "";
    for await (const chunk of file.readableStreamBody) text += chunk;
    assert.strictEqual(text, `said by ${number}\n`);
  }
  assert.equal((await client.job.getAllLifetimeStatistics()).numSucceededTasks, 3);
  assert.notEqual((await client.pool.getAllLifetimeStatistics()).usageStats.dedicatedCoreTime, "PT0S");
  await client.job.deleteMethod("job");
  await client.pool.deleteMethod("pool");
  while ((await client.pool.list()).length) {
    assert(Date.now() < deadline, "the pool is not deleted");
    await pause();
  }
  console.log("done");
}

main().catch(error => { console.error(error); process.exit(1); });
