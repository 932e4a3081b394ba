"""The table of fields in docs/emulator.md, row by row: what it says is stored is echoed, what it refuses is refused.

What it says is supported has a test of its effect, which is named here. A property without a sample or a test fails.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from azure.batch.models import BatchJob, BatchPool, BatchPoolCreateOptions, BatchPoolUpdateOptions, BatchTask
from azure.core.exceptions import HttpResponseError

from tests.emulator.conftest import UBUNTU, Account

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs/emulator.md").read_text()
_NAME = re.compile(r"`([$\w.]+)`")
SECRET = "never answered"
METADATA = [{"name": "a", "value": "b"}]
IN_CONTAINER = {"imageName": "busybox"}
PACKAGES = [{"applicationId": "blender"}]
NETWORK = {"subnetId": "/subscriptions/x"}
IN_POOL = {
    "enableInterNodeCommunication": True,
    "networkConfiguration": {
        **NETWORK,
        "endpointConfiguration": {
            "inboundNATPools": [
                {
                    "name": "ssh",
                    "protocol": "tcp",
                    "backendPort": 22,
                    "frontendPortRangeStart": 1,
                    "frontendPortRangeEnd": 100,
                }
            ]
        },
    },
    "userAccounts": [
        {"name": "mary", "password": SECRET, "elevationLevel": "admin"},
        {"name": "max", "password": SECRET, "linuxUserConfiguration": {"uid": 7, "gid": 7, "sshPrivateKey": SECRET}},
    ],
    "mountConfiguration": [
        {
            "azureBlobFileSystemConfiguration": {
                "accountName": "a",
                "containerName": "c",
                "accountKey": SECRET,
                "relativeMountPath": "data",
            }
        },
        {
            "azureFileShareConfiguration": {
                "accountName": "a",
                "azureFileUrl": "https://a.invalid/s",
                "accountKey": SECRET,
                "relativeMountPath": "share",
            }
        },
        {
            "cifsMountConfiguration": {
                "username": "u",
                "source": "//a/s",
                "password": SECRET,
                "relativeMountPath": "cifs",
            }
        },
        {"nfsMountConfiguration": {"source": "a:/s", "relativeMountPath": "nfs"}},
    ],
    "upgradePolicy": {"mode": "manual"},
}

SAMPLES: dict[str, dict[str, Any]] = {
    "pool": {
        "displayName": "shown",
        "metadata": METADATA,
        "taskSchedulingPolicy.jobDefaultOrder": {"jobDefaultOrder": "creationtime", "nodeFillType": "pack"},
        "applicationPackageReferences": PACKAGES,
        **IN_POOL,
    },
    "virtual machine": {
        "extensions": [{"name": "probe", "publisher": "Contoso", "type": "Probe", "protectedSettings": {"a": SECRET}}],
        "containerConfiguration": {
            "type": "dockerCompatible",
            "containerImageNames": ["busybox"],
            "containerRegistries": [{"registryServer": "r.invalid", "username": "u", "password": SECRET}],
        },
        "dataDisks": [{"lun": 0, "diskSizeGB": 10}],
        "osDisk": {"ephemeralOSDiskSettings": {"placement": "cachedisk"}},
        "diskEncryptionConfiguration": {"targets": ["temporarydisk"]},
        "nodePlacementConfiguration": {"policy": "zonal"},
        "securityProfile": {"encryptionAtHost": True},
        "windowsConfiguration": {"enableAutomaticUpdates": True},
        "licenseType": "Windows_Server",
        "serviceArtifactReference": {"id": "/subscriptions/x"},
        "virtualMachineImageId": {"virtualMachineImageId": "/subscriptions/x"},
        "sharedGalleryImageId": {"sharedGalleryImageId": "/subscriptions/x"},
        "communityGalleryImageId": {"communityGalleryImageId": "/subscriptions/x"},
    },
    "pool, when updated": {
        "displayName": "shown",
        "metadata": METADATA,
        "vmSize": "standard_d4s_v3",
        "virtualMachineConfiguration": UBUNTU,
        "taskSlotsPerNode": 2,
        "taskSchedulingPolicy": {"nodeFillType": "pack"},
        "applicationPackageReferences": PACKAGES,
        **IN_POOL,
    },
    "job": {
        "displayName": "shown",
        "metadata": METADATA,
        "networkConfiguration": {**NETWORK, "skipWithdrawFromVNet": False},
        "allowTaskPreemption": True,
    },
    "job schedule": {"displayName": "shown", "metadata": METADATA},
    "job manager task": {
        "displayName": "shown",
        "userIdentity.autoUser": {"autoUser": {"scope": "task", "elevationLevel": "admin"}},
        "containerSettings": IN_CONTAINER,
        "applicationPackageReferences": PACKAGES,
    },
    "task": {
        "displayName": "shown",
        "userIdentity.autoUser": {"autoUser": {"scope": "task", "elevationLevel": "admin"}},
        "containerSettings": IN_CONTAINER,
        "multiInstanceSettings": {"numberOfInstances": 2, "coordinationCommandLine": "x"},
        "applicationPackageReferences": PACKAGES,
        "userIdentity.username": {"username": "mary"},
    },
}

EFFECTS: dict[str, dict[str, str]] = {
    "pool": {
        "vmSize": "test_cores_beyond_the_quota_are_a_resize_error",
        "virtualMachineConfiguration": "test_what_a_pool_cannot_be_made_of_is_refused",
        "targetDedicatedNodes": "test_allocation_takes_time_and_passes_through_its_states",
        "targetLowPriorityNodes": "test_a_pre_empted_spot_node_requeues_its_tasks_and_comes_back",
        "resizeTimeout": "test_a_shortage_of_nodes_is_a_resize_error",
        "enableAutoScale": "test_a_lease_bounds_the_life_of_the_nodes",
        "autoScaleFormula": "test_a_formula_follows_the_number_of_tasks",
        "autoScaleEvaluationInterval": "test_a_formula_is_evaluated_at_its_interval",
        "startTask": "test_a_node_waits_for_its_start_task",
        "taskSlotsPerNode": "test_a_task_takes_the_slots_it_requires",
        "taskSchedulingPolicy.nodeFillType": "test_tasks_are_spread_over_nodes_or_packed_onto_them",
    },
    "virtual machine": {
        "imageReference": "test_what_a_pool_cannot_be_made_of_is_refused",
        "nodeAgentSKUId": "test_what_a_pool_cannot_be_made_of_is_refused",
    },
    "pool, when updated": {"startTask": "test_replacing_properties_removes_a_start_task_that_is_not_given"},
    "job": {
        "priority": "test_jobs_of_higher_priority_go_first",
        "maxParallelTasks": "test_a_job_runs_only_as_many_tasks_at_once_as_it_may",
        "constraints": "test_a_job_ends_at_its_wall_clock_limit",
        "onAllTasksComplete": "test_a_job_ends_with_its_last_task_when_told_so_after_adding_them",
        "onTaskFailure": "test_a_failing_task_ends_a_job_that_wants_it",
        "usesTaskDependencies": "test_a_job_must_say_that_its_tasks_have_dependencies",
        "commonEnvironmentSettings": "test_common_environment_settings_reach_every_task",
        "jobPreparationTask": "test_a_job_is_prepared_once_on_a_node_and_released_at_its_end",
        "jobReleaseTask": "test_a_job_is_prepared_once_on_a_node_and_released_at_its_end",
        "jobManagerTask": "test_its_end_is_the_end_of_the_job",
        "poolInfo": "test_a_job_can_have_a_pool_of_its_own",
    },
    "job schedule": {
        "schedule": "test_a_schedule_without_recurrence_makes_one_job_and_completes_with_it",
        "doNotRunUntil": "test_it_begins_and_ends_when_it_is_told_to",
        "doNotRunAfter": "test_it_begins_and_ends_when_it_is_told_to",
        "startWindow": "test_a_job_that_cannot_begin_in_its_window_is_left_out",
        "recurrenceInterval": "test_each_recurrence_has_a_job_but_only_one_at_a_time",
        "jobSpecification": "test_a_schedule_without_recurrence_makes_one_job_and_completes_with_it",
    },
    "job manager task": {
        "killJobOnCompletion": "test_a_job_may_go_on_without_it",
        "runExclusive": "test_it_may_have_its_node_for_itself",
        "allowLowPriorityNode": "test_it_may_ask_for_a_dedicated_node",
    },
    "task": {
        "commandLine": "test_a_job_runs_on_a_pool_and_all_of_it_is_deleted",
        "resourceFiles": "test_a_resource_file_comes_by_its_url",
        "outputFiles": "test_conditions_choose_what_is_uploaded",
        "environmentSettings": "test_common_environment_settings_reach_every_task",
        "constraints": "test_a_task_is_ended_at_its_wall_clock_limit",
        "requiredSlots": "test_a_task_takes_the_slots_it_requires",
        "dependsOn": "test_a_task_waits_for_the_tasks_it_depends_on",
        "exitConditions": "test_exit_conditions_choose_what_becomes_of_the_job",
        "affinityInfo": "test_a_task_goes_to_the_node_it_names_if_that_is_free",
    },
    "resource file": {
        "httpUrl": "test_a_resource_file_comes_by_its_url",
        "storageContainerUrl": "test_a_container_is_laid_down_with_its_directories",
        "autoStorageContainerName": "test_the_auto_storage_needs_no_url",
        "blobPrefix": "test_a_container_is_laid_down_with_its_directories",
        "filePath": "test_a_container_is_laid_down_with_its_directories",
        "fileMode": "test_a_file_has_the_mode_it_is_given",
        "identityReference": "test_an_identity_of_the_pool_needs_no_sas",
    },
    "output file": {
        "filePattern": "test_patterns_choose_what_is_uploaded",
        "container.containerUrl": "test_patterns_choose_what_is_uploaded",
        "container.path": "test_patterns_choose_what_is_uploaded",
        "container.uploadHeaders": "test_upload_headers_become_the_blobs",
        "container.identityReference": "test_an_identity_of_the_pool_needs_no_sas",
        "uploadCondition": "test_conditions_choose_what_is_uploaded",
    },
    "lists": {
        "$filter": "test_lists_come_in_pages_filtered_and_trimmed",
        "$select": "test_lists_come_in_pages_filtered_and_trimmed",
        "maxresults": "test_lists_come_in_pages_filtered_and_trimmed",
        "$expand": "test_what_tasks_used_is_told_of_their_job",
    },
}


def _cells(column: int) -> list[tuple[str, str]]:
    """The properties that a column of the table names, each with its row; what is in brackets explains."""
    begins = PAGE.index("| of | supported |")
    lines = PAGE[begins : PAGE.index("\n\n", begins)].splitlines()[2:]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert {len(row) for row in rows} == {4}
    return [(row[0], name) for row in rows for name in _NAME.findall(re.sub(r"\([^)]*\)", "", row[column]))]


def _pool(account: Account, **more: Any) -> dict[str, Any]:
    pool = BatchPoolCreateOptions(
        {"id": "pool", "vmSize": "standard_d2s_v3", "virtualMachineConfiguration": UBUNTU, **more}
    )
    account.client.create_pool(pool)
    return dict(account.client.get_pool("pool").items())


def _task(account: Account, **more: Any) -> dict[str, Any]:
    account.job()
    account.task("task", "/bin/true", **more)
    return dict(account.client.get_task("job", "task").items())


def _sent(account: Account, row: str, name: str) -> Any:
    """Send a property as its row says, and return what is answered of it."""
    value, name = SAMPLES[row][name], name.partition(".")[0]
    if row == "pool":
        return _pool(account, **{name: value})[name]
    if row == "virtual machine":
        given = {name: value}
        if name.endswith("ImageId"):
            given = {"imageReference": {**UBUNTU["imageReference"], **value}}
        return _pool(account, virtualMachineConfiguration={**UBUNTU, **given})["virtualMachineConfiguration"][name]
    if row == "pool, when updated":
        _pool(account)
        account.client.update_pool("pool", BatchPoolUpdateOptions({name: value}))
        return account.client.get_pool("pool")[name]
    if row == "job":
        account.job(**{name: value})
        return account.client.get_job("job")[name]
    if row == "job schedule":
        body = {"id": "nightly", "schedule": {}, "jobSpecification": {"poolInfo": {"poolId": "pool"}}, name: value}
        account.client.create_job_schedule(body)
        return account.client.get_job_schedule("nightly")[name]
    if row == "job manager task":
        account.job(jobManagerTask={"id": "manager", "commandLine": "/bin/true", name: value})
        return account.client.get_job("job")["jobManagerTask"][name]
    assert row == "task", f"no way to send a property of the row {row!r}"
    return _task(account, **{name: value})[name]


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _without_secrets(item) for name, item in value.items() if item != SECRET}
    return {name: item for name, item in kept.items() if item or not value[name]}


def _is_echo(answered: Any, sent: Any) -> bool:
    """Whether an answer has what was sent, spelled as the service does, and maybe defaults beside it."""
    if isinstance(sent, dict):
        return all(name in answered and _is_echo(answered[name], item) for name, item in sent.items())
    if isinstance(sent, list):
        return len(sent) == len(answered) and all(map(_is_echo, answered, sent))
    return str(answered).lower() == str(sent).lower()


def test_what_is_supported_has_a_test_of_its_effect() -> None:
    assert [cell for cell in _cells(1) if cell[1] not in EFFECTS.get(cell[0], {})] == []
    written = " ".join(path.read_text() for path in TESTS.rglob("test_*.py") if path != Path(__file__))
    named = {test for row in EFFECTS.values() for test in row.values()}
    assert named <= set(re.findall(r"\bdef (test_\w+)", written))


@pytest.mark.parametrize(("row", "name"), [cell for cell in _cells(2) if cell[0] != "lists"])
def test_what_is_stored_is_echoed_without_secrets(account: Account, row: str, name: str) -> None:
    answered = _sent(account, row, name)
    assert _is_echo(answered, _without_secrets(SAMPLES[row][name])), answered
    everything: list[BatchPool | BatchJob | BatchTask] = [*account.client.list_pools(), *account.client.list_jobs()]
    assert SECRET not in str([dict(each.items()) for each in everything])


@pytest.mark.parametrize(("row", "name"), _cells(3))
def test_what_is_refused_is_refused_by_name(account: Account, row: str, name: str) -> None:
    with pytest.raises(HttpResponseError, match=rf"NotImplemented(?s:.)*{name.rpartition('.')[2]}") as refused:
        _sent(account, row, name)
    assert refused.value.status_code == 501
