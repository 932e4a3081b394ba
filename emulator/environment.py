"""The environment variables Batch gives a task's command.

After "Azure Batch compute node environment variables" in Microsoft's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from azure.batch.models import EnvironmentSetting

if TYPE_CHECKING:
    from emulator.job import Job
    from emulator.node import Node


def of_start_task(node: Node, directory: Path, given: Iterable[EnvironmentSetting] | None) -> dict[str, str]:
    """What a start task sees; `directory` is its own, `given` what the user wants it to see besides."""
    return _with_given(_of_node(node, directory), given)


def of_task(
    node: Node, job: Job, directory: Path, task_id: str, given: Iterable[EnvironmentSetting] | None
) -> dict[str, str]:
    """What a job's task, preparation or release sees; `given` is what the user wants it alone to see besides."""
    variables = _of_node(node, directory) | {
        "AZ_BATCH_JOB_ID": job.id,
        "AZ_BATCH_TASK_ID": task_id,
        "AZ_BATCH_NODE_LIST": node.model["ipAddress"],
    }
    preparation = job.model.job_preparation_task
    if preparation is not None:
        prepared = node.job_directory(job) / (preparation.id or "")
        variables["AZ_BATCH_JOB_PREP_DIR"] = str(prepared)
        variables["AZ_BATCH_JOB_PREP_WORKING_DIR"] = str(prepared / "wd")
    return _with_given(variables, (*(job.model.get("commonEnvironmentSettings") or ()), *(given or ())))


def _with_given(variables: dict[str, str], given: Iterable[EnvironmentSetting] | None) -> dict[str, str]:
    """The service's own variables stay as they are; a setting without a value is empty."""
    changed = {setting["name"]: setting.get("value") or "" for setting in given or ()}
    own = {name: value for name, value in variables.items() if name.startswith("AZ_BATCH_")}
    return variables | changed | own


def _of_node(node: Node, directory: Path) -> dict[str, str]:
    settings = node.account.settings
    metadata = settings.metadata if node.pool.identities else None
    return {
        "PATH": settings.path,
        **({"SSL_CERT_FILE": settings.trusted} if settings.trusted else {}),
        # Azure's is at a fixed address of the node; clients take another one from this variable.
        **({"AZURE_POD_IDENTITY_AUTHORITY_HOST": metadata} if metadata else {}),
        "LANG": "C.UTF-8",
        "HOME": str(directory / "wd"),
        "AZ_BATCH_ACCOUNT_NAME": node.account.name,
        "AZ_BATCH_ACCOUNT_URL": f"{settings.endpoint}/",
        "AZ_BATCH_POOL_ID": node.pool.id,
        "AZ_BATCH_NODE_ID": node.id,
        "AZ_BATCH_NODE_IS_DEDICATED": "true" if node.model["isDedicated"] else "false",
        "AZ_BATCH_NODE_ROOT_DIR": str(node.directory),
        "AZ_BATCH_NODE_SHARED_DIR": str(node.directory / "shared"),
        "AZ_BATCH_NODE_STARTUP_DIR": str(node.directory / "startup"),
        "AZ_BATCH_NODE_STARTUP_WORKING_DIR": str(node.directory / "startup" / "wd"),
        "AZ_BATCH_NODE_MOUNTS_DIR": str(node.directory / "fsmounts"),
        "AZ_BATCH_TASK_DIR": str(directory),
        "AZ_BATCH_TASK_WORKING_DIR": str(directory / "wd"),
        "AZ_BATCH_CERTIFICATES_DIR": str(directory / "certs"),
        "AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES": "0",
    }
