"""Identities of pools: how a pool comes by them, and what its tasks reach with them instead of a SAS."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from tests.emulator.conftest import AZURITE_KEY, Account, Azurite, start_emulator, stop

OURS = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
)
OTHER = OURS.replace("nodes", "other")


def assign(account: Account, *identities: str) -> Any:
    """Give a pool these identities and no others."""
    return account.control("POST", "/pools/pool/identity", {"userAssignedIdentities": list(identities)})


@pytest.fixture
def ready(account: Account) -> Account:
    """An account with a node that has an identity, and a job."""
    account.pool()
    assign(account, OURS)
    account.job()
    return account


def by(identity: str) -> dict[str, Any]:
    return {"identityReference": {"resourceId": identity}}


def output(url: str, **more: Any) -> dict[str, Any]:
    return {
        "filePattern": "../stdout.txt",
        "destination": {"container": {"containerUrl": url, **more}},
        "uploadOptions": {"uploadCondition": "taskcompletion"},
    }


def codes(account: Account, container: str, identity: str) -> list[str]:
    """Why a file, a container and an output file of this container could not be had with this identity."""
    account.task("file", "/bin/true", resourceFiles=[{"httpUrl": f"{container}/a", "filePath": "a", **by(identity)}])
    account.task("container", "/bin/true", resourceFiles=[{"storageContainerUrl": container, **by(identity)}])
    account.task("output", "/bin/true", outputFiles=[output(container, **by(identity))])
    failures = [account.completed(task).execution_info.failure_info for task in ("file", "container", "output")]
    return [failure.code for failure in failures]


DENIED = ["BlobAccessDenied", "ResourceContainerAccessDenied", "FileUploadAccessDenied"]


def test_a_pool_shows_the_identities_that_it_was_given(account: Account) -> None:
    account.pool(nodes=0)
    before = account.client.get_pool("pool")
    assert before.identity is None
    assign(account, OURS, OTHER)
    pool = account.client.get_pool("pool", select=["identity"])
    assert pool.identity.type == "UserAssigned"
    assert [one.resource_id for one in pool.identity.user_assigned_identities] == [OURS, OTHER]
    assert len({one.client_id for one in pool.identity.user_assigned_identities}) == 2
    assert account.client.get_pool("pool").etag != before.etag
    assign(account)
    assert account.client.get_pool("pool").identity.type == "None"


@pytest.mark.parametrize(
    "body", [{}, [], {"userAssignedIdentities": OURS}, {"userAssignedIdentities": ["nodes"]}, {"identity": [OURS]}]
)
def test_an_identity_that_is_none_is_refused(account: Account, body: Any) -> None:
    account.pool(nodes=0)
    with pytest.raises(HttpResponseError) as refused:
        account.control("POST", "/pools/pool/identity", body)
    assert refused.value.status_code == 400
    assert account.client.get_pool("pool").identity is None


def test_the_data_plane_makes_no_pool_with_an_identity(account: Account) -> None:
    with pytest.raises(HttpResponseError) as refused:
        account.pool(identity={"type": "UserAssigned", "userAssignedIdentities": [{"resourceId": OURS}]})
    assert refused.value.status_code == 400


def test_an_identity_of_the_pool_needs_no_sas(ready: Account, azurite: Azurite) -> None:
    given, taken = azurite.container(**{"a b.txt": "one ", "in/c.txt": "two "}), azurite.container()
    ready.task(
        "task",
        "/bin/bash -c 'cat a.txt from/in/c.txt'",
        resourceFiles=[
            {"httpUrl": f"{given.url}/a%20b.txt", "filePath": "a.txt", "fileMode": "0600", **by(OURS)},
            {"storageContainerUrl": given.url, "blobPrefix": "in/", "filePath": "from", **by(OURS.upper())},
        ],
        outputFiles=[output(taken.url, path="log", **by(OURS))],
    )
    assert ready.completed("task").execution_info.result == "success"
    assert taken.download_blob("log").readall() == b"one two "
    task = ready.client.get_task("job", "task")
    assert task.resource_files[0].identity_reference.resource_id == OURS
    assert task.output_files[0].destination.container.identity_reference.resource_id == OURS


def test_an_identity_that_the_pool_does_not_have_reaches_nothing(ready: Account, azurite: Azurite) -> None:
    assert codes(ready, azurite.container(a="1").url, OTHER) == DENIED


def test_an_identity_that_was_taken_away_reaches_nothing(ready: Account, azurite: Azurite) -> None:
    assign(ready)
    assert codes(ready, azurite.container(a="1").url, OURS) == DENIED


@pytest.mark.parametrize(
    "elsewhere", ["https://other.invalid/devstoreaccount1/c", "http://127.0.0.1:9/devstoreaccount1/c", "http://[", "x"]
)
def test_an_identity_reaches_no_other_storage_account(ready: Account, elsewhere: str) -> None:
    assert codes(ready, elsewhere, OURS) == DENIED


def test_another_account_at_the_same_address_is_not_reached(ready: Account, azurite: Azurite) -> None:
    own = azurite.container(a="1").url
    assert codes(ready, own.replace("devstoreaccount1", "devstoreaccount12"), OURS) == DENIED


def test_without_an_identity_nothing_is_reached_without_a_sas(ready: Account, azurite: Azurite) -> None:
    ready.task("task", "/bin/true", resourceFiles=[{"httpUrl": f"{azurite.container(a='1').url}/a", "filePath": "a"}])
    failure = ready.completed("task").execution_info.failure_info
    assert failure.code in ("BlobNotFound", "BlobAccessDenied")  # which, is Azurite's to say


def test_what_is_not_there_is_not_found(ready: Account, azurite: Azurite) -> None:
    container = azurite.container()
    ready.task("blob", "/bin/true", resourceFiles=[{"httpUrl": f"{container.url}/a", "filePath": "a", **by(OURS)}])
    ready.task("none", "/bin/true", resourceFiles=[{"httpUrl": container.url, "filePath": "a", **by(OURS)}])
    gone = container.url[:-4] + secrets.token_hex(2)
    ready.task("container", "/bin/true", resourceFiles=[{"storageContainerUrl": gone, **by(OURS)}])
    found = [ready.completed(task).execution_info.failure_info.code for task in ("blob", "none", "container")]
    assert found == ["BlobNotFound", "BlobNotFound", "ResourceContainerNotFound"]


def test_a_start_task_uses_its_pools_identity_too(account: Account, azurite: Azurite) -> None:
    container = azurite.container(**{"a.txt": "words"})
    account.control("POST", "/settings", {"delays": {"allocation": 20}})
    files = [{"httpUrl": f"{container.url}/a.txt", "filePath": "a.txt", **by(OURS)}]
    account.pool(wait=False, startTask={"commandLine": "cat a.txt", "resourceFiles": files})
    assign(account, OURS)
    account.nodes_become("idle", number=1)


@pytest.mark.parametrize(
    "resource_file",
    [
        {"httpUrl": "http://127.0.0.1/x/y", "filePath": "y", "identityReference": {}},
        {"storageContainerUrl": "http://127.0.0.1/x", "identityReference": {"resourceId": ""}},
        {"autoStorageContainerName": "x", **by(OURS)},
    ],
)
def test_a_reference_that_makes_no_sense_is_refused(ready: Account, resource_file: dict[str, Any]) -> None:
    with pytest.raises(HttpResponseError) as refused:
        ready.task("task", "/bin/true", resourceFiles=[resource_file])
    assert refused.value.status_code == 400
    with pytest.raises(HttpResponseError) as refused:
        ready.task("task", "/bin/true", outputFiles=[output("http://127.0.0.1/x", identityReference={})])
    assert refused.value.status_code == 400


def test_tasks_of_a_pool_with_an_identity_are_told_where_its_tokens_are(tmp_path: Path, azurite: Azurite) -> None:
    address = "http://127.0.0.1:9"
    emulator = start_emulator(
        tmp_path / "root",
        *("--speed", "20", "--auto-storage", azurite.url),
        AZURE_STORAGE_KEY=AZURITE_KEY,
        AZURE_POD_IDENTITY_AUTHORITY_HOST=address,
    )
    with emulator.client("devbatchaccount") as client:
        account = Account("devbatchaccount", client)
        account.pool()
        account.job()
        for task in ("before", "after"):
            account.task(task, "/bin/bash -c 'echo at $AZURE_POD_IDENTITY_AUTHORITY_HOST'")
            account.completed(task)
            assign(account, OURS)
        assert (account.text("before"), account.text("after")) == ("at\n", f"at {address}\n")
    assert stop(emulator) == 0
