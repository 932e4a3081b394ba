"""Checks what a pool, job or task is to be created with, and fills in the service's defaults."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from azure.batch.models import (
    BatchAutoPoolSpecification,
    BatchJobCreateOptions,
    BatchJobManagerTask,
    BatchJobPreparationTask,
    BatchJobReleaseTask,
    BatchJobScheduleCreateOptions,
    BatchPoolCreateOptions,
    BatchPoolInfo,
    BatchTaskCreateOptions,
    ResourceFile,
)

from emulator import images, output_files, resource_files, scaling
from emulator.clock import UNLIMITED, read_duration
from emulator.errors import (
    InvalidAutoScalingSettings,
    InvalidPropertyValue,
    JobPreparationTaskNotSpecified,
    MissingRequiredProperty,
    TaskDependenciesNotSpecifiedOnJob,
    TaskDependencyListTooLong,
    TaskIdSameAsJobPreparationTask,
    TaskIdSameAsJobReleaseTask,
    invalid,
)
from emulator.job import Job
from emulator.preparation import LONGEST_RELEASE, PREPARATION_ID, RELEASE_ID

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VM_SIZE = re.compile(r"(?:standard|basic)_[a-z]+(\d+)[a-z0-9_-]*", re.IGNORECASE)
_CLOUD_SERVICE_CORES = {"small": 1, "medium": 2, "large": 4, "extralarge": 8}
_LONGEST_PREFIX = 20  # characters; the rest of a pool's id is a GUID
_MOST_SLOTS = 256
_SHORTEST_RECURRENCE = timedelta(minutes=1)
_LONGEST_DEPENDENCY_LIST = 64_000  # characters of all ids together


def check_id(value: str, path: str = "id") -> None:
    """Refuse an id that Batch would refuse."""
    if not _ID.fullmatch(value):
        raise invalid(path, value, "must be 1 to 64 of letters, digits, hyphens and underscores")


def cores(vm_size: str) -> int:
    """How many cores a VM size has, by the number in its name.

    Raises:
        InvalidPropertyValue: when it is not the name of a size.
    """
    if vm_size.lower() in _CLOUD_SERVICE_CORES:
        return _CLOUD_SERVICE_CORES[vm_size.lower()]
    found = _VM_SIZE.fullmatch(vm_size)
    if not found:
        raise invalid("vmSize", vm_size, "is not the name of a VM size, such as STANDARD_D2S_V3")
    return int(found[1])


def _between(value: int, least: int, most: int, path: str) -> None:
    if not least <= value <= most:
        raise invalid(path, value, f"must be from {least} to {most}")


def _retries(value: int, path: str) -> None:
    _between(value, -1, 100_000, path)


def _resource_files(given: Iterable[ResourceFile] | None, path: str) -> None:
    for place, resource_file in enumerate(given or ()):
        resource_files.check(resource_file, f"{path}[{place}]")


def _with_defaults(given: Mapping[str, Any] | None, **defaults: object) -> dict[str, Any]:
    return {**defaults, **(given or {})}


def pool(options: BatchPoolCreateOptions, cloud_service: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a new pool is made of, besides what changes over its life; older ones may be made by Cloud Services."""
    check_id(options["id"])
    body = dict(options.items())
    if cloud_service is None and options["vmSize"].lower() in _CLOUD_SERVICE_CORES:
        raise invalid("vmSize", options["vmSize"], "is a size of Cloud Services; name one such as STANDARD_D2S_V3")
    size = cores(options["vmSize"])
    body["vmSize"] = options["vmSize"].lower()
    configuration = options.virtual_machine_configuration
    if cloud_service is not None:
        _cloud_service(cloud_service)
        if configuration is not None:
            raise invalid("cloudServiceConfiguration", "", "excludes virtualMachineConfiguration")
    elif configuration is None:
        raise MissingRequiredProperty(PropertyName="virtualMachineConfiguration")
    else:
        images.check(configuration)
        configuration.image_reference.setdefault("version", "latest")
    slots = options.get("taskSlotsPerNode", 1)
    _between(slots, 1, min(4 * size, _MOST_SLOTS), "taskSlotsPerNode")
    for name in ("targetDedicatedNodes", "targetLowPriorityNodes"):
        node_count(body.setdefault(name, 0), name)
    resize_timeout(body.setdefault("resizeTimeout", "PT15M"))
    body["taskSlotsPerNode"] = slots
    body["taskSchedulingPolicy"] = _with_defaults(body.get("taskSchedulingPolicy"), nodeFillType="spread")
    body.setdefault("enableInterNodeCommunication", False)
    if options.start_task is not None:
        body["startTask"] = start_task(options.start_task)
    _scaling(options, body)
    _accounts(body.get("userAccounts") or ())
    _mounts(body.get("mountConfiguration") or ())
    return body


def _cloud_service(configuration: dict[str, Any]) -> None:
    if configuration["osFamily"] not in ("2", "3", "4", "5", "6"):
        raise invalid("cloudServiceConfiguration.osFamily", configuration["osFamily"], "must be from 2 to 6")
    configuration.setdefault("osVersion", "*")


def _accounts(user_accounts: Iterable[Mapping[str, Any]]) -> None:
    names: set[str] = set()
    for place, user in enumerate(user_accounts):
        if user["name"].lower() in names:
            raise invalid(f"userAccounts[{place}].name", user["name"], "is there twice")
        names.add(user["name"].lower())


def _mounts(mounts: Iterable[Mapping[str, Any]]) -> None:
    for place, mount in enumerate(mounts):
        if len(mount) != 1:
            raise invalid(f"mountConfiguration[{place}]", len(mount), "must have exactly one kind of file system")


def _scaling(options: BatchPoolCreateOptions, body: dict[str, Any]) -> None:
    formula = options.auto_scale_formula
    if body.setdefault("enableAutoScale", False):
        if formula is None:
            raise MissingRequiredProperty(PropertyName="autoScaleFormula")
        if "targetDedicatedNodes" in options or "targetLowPriorityNodes" in options:
            raise InvalidAutoScalingSettings(Reason="a pool that scales automatically is given no targets")
        scaling.parsed(formula)
        scaling.interval(body.setdefault("autoScaleEvaluationInterval", "PT15M"))
    elif formula is not None or "autoScaleEvaluationInterval" in options:
        raise InvalidAutoScalingSettings(Reason="enableAutoScale is not true")


def node_count(value: int, path: str) -> int:
    """A target number of nodes."""
    _between(value, 0, 100_000, path)
    return value


def resize_timeout(text: str) -> timedelta:
    """The time a resize may take: at least 5 minutes, at most a week."""
    length = read_duration(text)
    if not timedelta(minutes=5) <= length <= timedelta(days=7):
        raise invalid("resizeTimeout", text, "must be from 5 minutes to 168 hours")
    return length


def start_task(given: Any) -> dict[str, Any]:
    """A start task with the service's defaults."""
    _resource_files(given.resource_files, "startTask.resourceFiles")
    _retries(given.get("maxTaskRetryCount", 0), "startTask.maxTaskRetryCount")
    return _with_defaults(
        given,
        maxTaskRetryCount=0,
        waitForSuccess=True,
        userIdentity=default_identity(),
    )


def job(options: BatchJobCreateOptions) -> dict[str, Any]:
    """What a new job is made of."""
    check_id(options["id"])
    body = dict(options.items())
    job_settings(body)
    body.setdefault("usesTaskDependencies", False)
    body.setdefault("onTaskFailure", "noaction")
    if options.job_preparation_task is not None:
        body["jobPreparationTask"] = _preparation(options.job_preparation_task)
    if options.job_release_task is not None:
        if options.job_preparation_task is None:
            raise JobPreparationTaskNotSpecified
        body["jobReleaseTask"] = _release(options.job_release_task)
    if options.job_manager_task is not None:
        body["jobManagerTask"] = _manager(options.job_manager_task, body)
    pool_info(options.pool_info)
    return body


def job_schedule(options: BatchJobScheduleCreateOptions) -> dict[str, Any]:
    """What a new job schedule is made of, and with it each of its jobs."""
    check_id(options["id"])
    schedule = dict((options.get("schedule") or {}).items())
    for name in ("recurrenceInterval", "startWindow"):
        if name in schedule and read_duration(schedule[name]) < _SHORTEST_RECURRENCE:
            raise invalid(f"schedule.{name}", schedule[name], "must be at least 1 minute")
    specification = job(BatchJobCreateOptions({"id": "job-1", **options["jobSpecification"]}))
    del specification["id"]
    given = {name: options[name] for name in ("id", "displayName", "metadata") if name in options}
    return {**given, "schedule": schedule, "jobSpecification": specification}


def pool_info(pool_info: BatchPoolInfo) -> None:
    """Refuse what names no pool, or two."""
    specification = pool_info.auto_pool_specification
    if (specification is None) is (not pool_info.pool_id):
        raise invalid("poolInfo", pool_info.pool_id or "", "must have one of poolId and autoPoolSpecification")
    if specification is None:
        check_id(pool_info.pool_id or "", "poolInfo.poolId")
    elif specification.pool is None:
        raise MissingRequiredProperty(PropertyName="poolInfo.autoPoolSpecification.pool")
    elif len(specification.auto_pool_id_prefix or "") > _LONGEST_PREFIX:
        raise invalid(
            "poolInfo.autoPoolSpecification.autoPoolIdPrefix",
            specification.auto_pool_id_prefix,
            f"must have at most {_LONGEST_PREFIX} characters",
        )
    else:
        auto_pool(specification)


def auto_pool(specification: BatchAutoPoolSpecification) -> dict[str, Any]:
    """What the pool of one job is made of; its id is made up."""
    prefix = specification.auto_pool_id_prefix
    pool_id = f"{prefix}_{uuid.uuid4()}" if prefix else str(uuid.uuid4())
    assert specification.pool is not None, "the check of the job's options saw to it"
    given = dict(specification.pool.items())
    return pool(BatchPoolCreateOptions({"id": pool_id.upper() if not prefix else pool_id, **given}))


def _preparation(given: BatchJobPreparationTask) -> dict[str, Any]:
    _resource_files(given.resource_files, "jobPreparationTask.resourceFiles")
    task_constraints(given.get("constraints") or {})
    body = _with_defaults(
        given,
        id=PREPARATION_ID,
        waitForSuccess=True,
        rerunOnNodeRebootAfterSuccess=True,
        userIdentity=default_identity(),
    )
    check_id(body["id"], "jobPreparationTask.id")
    body["constraints"] = _with_defaults(
        given.get("constraints"), maxWallClockTime=UNLIMITED, retentionTime="P7D", maxTaskRetryCount=0
    )
    return body


def _manager(given: BatchJobManagerTask, job: Mapping[str, Any]) -> dict[str, Any]:
    body = _with_defaults(
        given,
        requiredSlots=1,
        killJobOnCompletion=True,
        runExclusive=True,
        allowLowPriorityNode=True,
        userIdentity=default_identity(),
    )
    _not_the_id_of(job.get("jobPreparationTask"), job.get("jobReleaseTask"), body["id"])
    _to_be_run(given, "jobManagerTask.")
    return body


def _release(given: BatchJobReleaseTask) -> dict[str, Any]:
    _resource_files(given.resource_files, "jobReleaseTask.resourceFiles")
    body = _with_defaults(
        given,
        id=RELEASE_ID,
        maxWallClockTime="PT15M",
        retentionTime="P7D",
        userIdentity=default_identity(),
    )
    check_id(body["id"], "jobReleaseTask.id")
    if read_duration(body["maxWallClockTime"]) > LONGEST_RELEASE:
        raise invalid("jobReleaseTask.maxWallClockTime", body["maxWallClockTime"], "must be at most 15 minutes")
    return body


def default_identity() -> dict[str, Any]:
    """Whom a task runs as when it does not say."""
    return {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}


def job_defaults() -> dict[str, Any]:
    """What a job's changeable settings are when nobody sets them."""
    body: dict[str, Any] = {}
    job_settings(body)
    return body


def job_settings(body: dict[str, Any]) -> None:
    """Check, and default, what a job may also change later."""
    _between(body.setdefault("priority", 0), -1000, 1000, "priority")
    parallel = body.setdefault("maxParallelTasks", -1)
    if parallel != -1:
        _between(parallel, 1, 2**31 - 1, "maxParallelTasks")
    body.setdefault("allowTaskPreemption", False)
    body.setdefault("onAllTasksComplete", "noaction")
    body["constraints"] = _with_defaults(body.get("constraints"), maxWallClockTime=UNLIMITED, maxTaskRetryCount=0)
    _retries(body["constraints"]["maxTaskRetryCount"], "constraints.maxTaskRetryCount")


def task(options: BatchTaskCreateOptions, owner: Job) -> None:
    """Refuse a task that Batch would refuse in this job."""
    _not_the_id_of(owner.model.job_preparation_task, owner.model.job_release_task, options["id"])
    _to_be_run(options, "")
    _dependencies(options, owner)
    conditions = options.exit_conditions
    if conditions is not None and owner.model["onTaskFailure"] == "noaction":
        mapped = [*(conditions.exit_codes or ()), *(conditions.exit_code_ranges or ())]
        chosen = [mapping.exit_options for mapping in mapped]
        chosen += [conditions.pre_processing_error, conditions.file_upload_error, conditions.default]
        if any(option is not None and option.job_action is not None for option in chosen):
            raise invalid(
                "exitConditions.jobAction",
                "",
                "needs a job whose onTaskFailure is performexitoptionsjobaction",
            )


def _not_the_id_of(preparation: Mapping[str, Any] | None, release: Mapping[str, Any] | None, task_id: str) -> None:
    for other, error in ((preparation, TaskIdSameAsJobPreparationTask), (release, TaskIdSameAsJobReleaseTask)):
        if other is not None and other["id"].lower() == task_id.lower():
            raise error


def _to_be_run(given: BatchTaskCreateOptions | BatchJobManagerTask, path: str) -> None:
    """Refuse what no task can be; `path` is where it stands in the body."""
    check_id(given["id"], f"{path}id")
    if not given["commandLine"].strip():
        raise invalid(f"{path}commandLine", given["commandLine"], "must not be empty")
    for place, output_file in enumerate(given.output_files or ()):
        output_files.check(output_file, f"{path}outputFiles[{place}]")
    task_constraints(given.get("constraints") or {})
    _between(given.get("requiredSlots", 1), 1, _MOST_SLOTS, f"{path}requiredSlots")
    _resource_files(given.resource_files, f"{path}resourceFiles")


def task_constraints(constraints: Mapping[str, Any]) -> None:
    """Refuse limits that Batch would refuse."""
    _retries(constraints.get("maxTaskRetryCount", 0), "constraints.maxTaskRetryCount")


def _dependencies(options: BatchTaskCreateOptions, owner: Job) -> None:
    depends_on = options.depends_on
    if depends_on is None:
        return
    if not owner.model["usesTaskDependencies"]:
        raise TaskDependenciesNotSpecifiedOnJob
    ids = depends_on.get("taskIds") or []
    if sum(map(len, ids)) > _LONGEST_DEPENDENCY_LIST:
        raise TaskDependencyListTooLong
    for task_id in ids:
        check_id(task_id, "dependsOn.taskIds")
    for span in depends_on.task_id_ranges or ():
        if not 0 <= span.start <= span.end:
            raise InvalidPropertyValue(PropertyName="dependsOn.taskIdRanges", Reason="start must not exceed end")
