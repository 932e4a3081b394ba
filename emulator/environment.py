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


def node_environment(node: Node, directory: Path) -> dict[str, str]:
    """What every task on a node sees; `directory` is its own."""
    trusted = node.account.settings.trusted
    return {
        "PATH": node.account.settings.path,
        **({"SSL_CERT_FILE": trusted} if trusted else {}),
        "LANG": "C.UTF-8",
        "HOME": str(directory / "wd"),
        "AZ_BATCH_ACCOUNT_NAME": node.account.name,
        "AZ_BATCH_ACCOUNT_URL": f"{node.account.settings.endpoint}/",
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


def job_environment(node: Node, job: Job, directory: Path, task_id: str) -> dict[str, str]:
    """What a job's tasks see beyond that."""
    variables = node_environment(node, directory) | {
        "AZ_BATCH_JOB_ID": job.id,
        "AZ_BATCH_TASK_ID": task_id,
        "AZ_BATCH_NODE_LIST": node.model["ipAddress"],
    }
    preparation = job.model.job_preparation_task
    if preparation is not None:
        prepared = node.job_directory(job) / (preparation.id or "")
        variables["AZ_BATCH_JOB_PREP_DIR"] = str(prepared)
        variables["AZ_BATCH_JOB_PREP_WORKING_DIR"] = str(prepared / "wd")
    return variables | settings(job.model.get("commonEnvironmentSettings"))


def settings(given: Iterable[EnvironmentSetting] | None) -> dict[str, str]:
    """Environment settings as variables; one without a value is empty."""
    return {setting["name"]: setting.get("value") or "" for setting in given or ()}
