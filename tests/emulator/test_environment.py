"""The environment variables that a task sees."""

from __future__ import annotations

import json

from tests.emulator.conftest import Account


def test_common_environment_settings_reach_every_task(account: Account) -> None:
    account.pool()
    account.job(commonEnvironmentSettings=[{"name": "A", "value": "job"}, {"name": "B", "value": "job"}])
    account.task("task", "/bin/bash -c 'echo $A $B'", environmentSettings=[{"name": "B", "value": "task"}])
    account.completed("task")
    assert account.text("task") == "job task\n"


def test_a_task_sees_the_variables_of_batch(account: Account) -> None:
    account.pool()
    account.job()
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    account.task("task", f'/usr/bin/env python3 -c "{program}"')
    account.completed("task")
    seen = json.loads(account.text("task"))
    (node,) = account.client.list_nodes("pool")
    assert seen["AZ_BATCH_ACCOUNT_NAME"] == account.name
    assert (seen["AZ_BATCH_POOL_ID"], seen["AZ_BATCH_JOB_ID"], seen["AZ_BATCH_TASK_ID"]) == (
        "pool",
        "job",
        "task",
    )
    assert (seen["AZ_BATCH_NODE_ID"], seen["AZ_BATCH_NODE_IS_DEDICATED"]) == (node.id, "true")
    assert seen["AZ_BATCH_TASK_WORKING_DIR"] == f"{seen['AZ_BATCH_TASK_DIR']}/wd"
    assert seen["AZ_BATCH_TASK_DIR"] == f"{seen['AZ_BATCH_NODE_ROOT_DIR']}/workitems/job/job-1/task"
    assert not {"AZURE_BATCH_ACCESS_KEY", "EMULATOR_KEY"} & seen.keys()


def test_no_setting_changes_what_the_service_sets(account: Account) -> None:
    account.pool()
    account.job(commonEnvironmentSettings=[{"name": "AZ_BATCH_TASK_DIR", "value": "/tmp"}])
    given = [{"name": "AZ_BATCH_JOB_ID", "value": "other"}, {"name": "AZ_BATCH_MINE", "value": "mine"}]
    command = "/bin/bash -c 'echo $AZ_BATCH_JOB_ID $AZ_BATCH_MINE $AZ_BATCH_TASK_DIR'"
    account.task("task", command, environmentSettings=[*given, {"name": "HOME", "value": "/"}])
    account.completed("task")
    job_id, mine, directory = account.text("task").split()
    assert (job_id, mine) == ("job", "mine")
    assert directory.endswith("/workitems/job/job-1/task")
