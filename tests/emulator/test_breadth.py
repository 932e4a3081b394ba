"""The rest of the API: no operation of the SDK is forgotten, and what nodes and accounts have beside their work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.batch import BatchClient
from azure.batch.models import (
    BatchNodeUserCreateOptions,
    BatchNodeUserReplaceOptions,
    UploadBatchServiceLogsOptions,
    VMExtension,
)
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from tests.emulator.conftest import UBUNTU, Account

NOT_OPERATIONS = {"close", "send_request", "create_tasks"}
"""What the client offers beside operations: `create_tasks` makes requests of `create_task_collection`."""


def _node(account: Account) -> Any:
    (node,) = account.client.list_nodes("pool")
    return node


def test_every_operation_of_the_sdk_has_a_route(account: Account) -> None:
    offered = {name.removeprefix("begin_") for name in dir(BatchClient) if not name.startswith("_")}
    listed = account.control("GET", "")["operations"]
    assert offered - NOT_OPERATIONS == {row["name"] for row in listed}
    assert len(listed) == len({(row["method"], row["path"]) for row in listed})


def test_a_node_has_users(account: Account) -> None:
    account.pool()
    node = _node(account)
    user = BatchNodeUserCreateOptions(name="mary", is_admin=True, password="kT#32luyK3")
    account.client.create_node_user("pool", node.id, user)
    with pytest.raises(ResourceExistsError, match=r"\(NodeUserExists\)"):
        account.client.create_node_user("pool", node.id, BatchNodeUserCreateOptions(name="Mary", password="x"))
    expiry = BatchNodeUserReplaceOptions(expiry_time=datetime.now(UTC) + timedelta(days=1))
    account.client.replace_node_user("pool", node.id, "mary", expiry)
    account.client.delete_node_user("pool", node.id, "MARY")
    with pytest.raises(ResourceNotFoundError, match=r"\(NodeUserNotFound\)"):
        account.client.delete_node_user("pool", node.id, "mary")
    with pytest.raises(HttpResponseError, match=r"\(MissingRequiredProperty\)"):
        account.client.create_node_user("pool", node.id, BatchNodeUserCreateOptions(name="nokey"))


def test_a_node_says_where_ssh_would_be_and_that_it_uploaded_no_logs(account: Account) -> None:
    account.pool()
    node = _node(account)
    login = account.client.get_node_remote_login_settings("pool", node.id)
    assert login.remote_login_ip_address == node.ip_address
    assert login.remote_login_port >= 50_000
    logs = UploadBatchServiceLogsOptions(container_url="https://x.invalid/c?sig=y", start_time=datetime.now(UTC))
    assert account.client.upload_node_logs("pool", node.id, logs).number_of_files_uploaded == 0


def test_extensions_are_stored_without_their_secrets(account: Account) -> None:
    extension = VMExtension(
        name="probe",
        publisher="Contoso",
        type="Probe",
        settings={"port": "80"},
        protected_settings={"secret": "hidden"},
    )
    account.pool(virtualMachineConfiguration={**UBUNTU, "extensions": [extension]})
    node = _node(account)
    (listed,) = account.client.list_node_extensions("pool", node.id)
    for found in (listed, account.client.get_node_extension("pool", node.id, "PROBE")):
        assert (found.vm_extension.name, found.vm_extension.settings["port"]) == ("probe", "80")
        assert found.vm_extension.protected_settings is None
        assert found.provisioning_state is None
    with pytest.raises(ResourceNotFoundError):
        account.client.get_node_extension("pool", node.id, "other")


def test_there_are_no_applications(account: Account) -> None:
    assert list(account.client.list_applications()) == []
    with pytest.raises(ResourceNotFoundError, match=r"\(ApplicationNotFound\)"):
        account.client.get_application("app")


def test_pools_use_core_hours(account: Account) -> None:
    account.pool(nodes=2)
    (metrics,) = account.client.list_pool_usage_metrics()
    assert (metrics.pool_id, metrics.vm_size) == ("pool", "standard_d2s_v3")
    assert 0 < metrics.total_core_hours < 1
    account.client.begin_delete_pool("pool", polling_interval=0).result()
    (after,) = account.client.list_pool_usage_metrics(start_time=metrics.start_time)
    assert after.total_core_hours >= metrics.total_core_hours
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert list(account.client.list_pool_usage_metrics(start_time=tomorrow)) == []


def test_a_task_has_no_subtasks(account: Account) -> None:
    account.job()
    account.task("task", "/bin/true")
    assert list(account.client.list_subtasks("job", "task")) == []
