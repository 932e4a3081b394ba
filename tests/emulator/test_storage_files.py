"""Resource files and output files: what comes from storage, what goes there, and how that fails."""

from __future__ import annotations

import socket
import time
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from emulator.resource_files import ResourceFileError, write
from tests.emulator.conftest import Account, Azurite, start_emulator, stop


@pytest.fixture
def ready(account: Account) -> Account:
    """An account with a node and a job."""
    account.pool()
    account.job()
    return account


def _failure(account: Account, resource_file: dict[str, Any]) -> Any:
    account.task("task", "/bin/true", resourceFiles=[resource_file], constraints={"maxTaskRetryCount": 3})
    info = account.completed("task").execution_info
    assert (info.exit_code, info.result, info.retry_count) == (None, "failure", 0)
    return info.failure_info


# Resource files


def test_a_container_is_laid_down_with_its_directories(ready: Account, azurite: Azurite) -> None:
    container = azurite.container(**{"a/x.txt": "1", "a/b/y.txt": "2", "c.txt": "3"})
    url = azurite.sas(container, read=True, list=True)
    ready.task(
        "task",
        "/bin/bash -c 'find . -type f | sort'",
        resourceFiles=[{"storageContainerUrl": url, "blobPrefix": "a/", "filePath": "in"}],
    )
    assert ready.completed("task").execution_info.exit_code == 0
    assert ready.text("task") == "./in/a/b/y.txt\n./in/a/x.txt\n"


def test_the_auto_storage_needs_no_url(ready: Account, azurite: Azurite) -> None:
    container = azurite.container(**{"a.txt": "words"})
    ready.task("task", "cat a.txt", resourceFiles=[{"autoStorageContainerName": container.container_name}])
    ready.completed("task")
    assert ready.text("task") == "words"


def test_a_file_has_the_mode_it_is_given(ready: Account, azurite: Azurite) -> None:
    container = azurite.container(**{"run.sh": "#!/bin/sh\necho ran\n", "data": ""})
    base = azurite.sas(container, read=True)
    run, data = (base.replace("?", f"/{name}?") for name in ("run.sh", "data"))
    ready.task(
        "task",
        "/bin/bash -c './run.sh; stat -c %a run.sh data'",
        resourceFiles=[
            {"httpUrl": run, "filePath": "run.sh"},
            {"httpUrl": data, "filePath": "data", "fileMode": "0644"},
        ],
    )
    ready.completed("task")
    assert ready.text("task") == "ran\n770\n644\n"


def test_a_blob_that_is_not_there_is_named_without_its_sas(ready: Account, azurite: Azurite) -> None:
    url = azurite.sas(azurite.container(), read=True).replace("?", "/none?")
    failure = _failure(ready, {"httpUrl": url, "filePath": "none"})
    assert (failure.category, failure.code) == ("usererror", "BlobNotFound")
    assert "sig=" not in str(failure)
    assert url.partition("?")[0] in str(failure)


def test_a_blob_without_permission_is_denied(ready: Account, azurite: Azurite) -> None:
    url = azurite.sas(azurite.container(a="1"), write=True).replace("?", "/a?")
    assert _failure(ready, {"httpUrl": url, "filePath": "a"}).code == "BlobAccessDenied"


def test_a_sas_that_has_expired_by_the_accounts_clock_is_denied(ready: Account, azurite: Azurite) -> None:
    url = azurite.sas(azurite.container(a="1"), read=True).replace("?", "/a?")
    ready.control("POST", "/settings", {"clockOffset": 7200})
    assert _failure(ready, {"httpUrl": url, "filePath": "a"}).code == "BlobAccessDenied"


def _three_failures(account: Account, url: str) -> set[str]:
    """The codes of a download, a listing and an upload with this URL, each of them the service's fault."""
    account.pool(taskSlotsPerNode=3)
    account.job()
    account.task("file", "/bin/true", resourceFiles=[{"httpUrl": url, "filePath": "a"}])
    account.task("container", "/bin/true", resourceFiles=[{"storageContainerUrl": url}])
    account.task("output", "/bin/true", outputFiles=[_output(url, "../stdout.txt")])
    failures = [account.completed(task).execution_info.failure_info for task in ("file", "container", "output")]
    assert {failure.category for failure in failures} == {"servererror"}
    assert "sig=" not in str(failures)
    return {failure.code for failure in failures}


@pytest.mark.parametrize(
    ("url", "offset"),
    [("http://127.0.0.1:99999/x", 0), ("http://[", 7200), ("http://[::1/x?se=2020-01-01", 7200), ("nonsense", 0)],
)
def test_a_url_that_is_none_fails_what_was_to_be_done_with_it(account: Account, url: str, offset: float) -> None:
    account.control("POST", "/settings", {"clockOffset": offset})
    assert _three_failures(account, url) == {
        "BlobDownloadMiscError",
        "ResourceContainerListMiscError",
        "FileUploadMiscError",
    }


def test_a_url_that_nobody_answers_is_a_server_error(ready: Account) -> None:
    failure = _failure(ready, {"httpUrl": "http://127.0.0.1:9/x", "filePath": "a"})
    assert (failure.category, failure.code) == ("servererror", "BlobDownloadMiscError")


def test_a_container_that_is_not_there_is_an_error(ready: Account, azurite: Azurite) -> None:
    container = azurite.container()
    url = azurite.sas(container, read=True, list=True)
    container.delete_container()
    failure = _failure(ready, {"storageContainerUrl": url})
    assert (failure.category, failure.code) == ("usererror", "ResourceContainerNotFound")


def test_a_container_that_may_not_be_listed_is_denied(ready: Account, azurite: Azurite) -> None:
    url = azurite.sas(azurite.container(), read=True)
    assert _failure(ready, {"storageContainerUrl": url}).code == "ResourceContainerAccessDenied"


def test_a_start_task_without_its_file_keeps_the_node_from_tasks(account: Account, azurite: Azurite) -> None:
    url = azurite.sas(azurite.container(), read=True).replace("?", "/none?")
    account.pool(
        wait=False,
        startTask={"commandLine": "/bin/true", "resourceFiles": [{"httpUrl": url, "filePath": "a"}]},
    )
    account.nodes_become("starttaskfailed", number=1)
    (node,) = account.client.list_nodes("pool")
    assert node.start_task_info.failure_info.code == "BlobNotFound"


@pytest.mark.parametrize(
    "resource_file",
    [
        {"httpUrl": "http://127.0.0.1/x"},
        {"httpUrl": "http://127.0.0.1/x", "filePath": "../out"},
        {"httpUrl": "http://127.0.0.1/x", "filePath": "/etc/out"},
        {"httpUrl": "http://127.0.0.1/x", "filePath": "a", "fileMode": "rwx"},
        {"httpUrl": "http://127.0.0.1/x", "storageContainerUrl": "http://127.0.0.1/x", "filePath": "a"},
        {"filePath": "a"},
        {"httpUrl": "http://127.0.0.1/\ud800", "filePath": "a"},
    ],
)
def test_a_resource_file_that_makes_no_sense_is_refused(ready: Account, resource_file: dict[str, Any]) -> None:
    with pytest.raises(HttpResponseError) as refused:
        ready.task("task", "/bin/true", resourceFiles=[resource_file])
    assert refused.value.status_code == 400


# Output files


def _output(url: str, pattern: str, condition: str = "taskcompletion", **more: Any) -> dict[str, Any]:
    return {
        "filePattern": pattern,
        "destination": {"container": {"containerUrl": url, **more}},
        "uploadOptions": {"uploadCondition": condition},
    }


def _names(container: Any) -> list[str]:
    return sorted(container.list_blob_names())


WRITES = "/bin/bash -c 'mkdir -p d/e; echo 1 > a.txt; echo 2 > d/e/b.txt; echo 3 > .c.txt; echo out; exit {}'"


@pytest.mark.parametrize(
    ("pattern", "path", "names"),
    [
        ("a.txt", "result.txt", ["result.txt"]),
        ("a.txt", None, ["a.txt"]),
        ("**/*.txt", "to", ["to/a.txt", "to/d/e/b.txt"]),
        ("d/**/*", "to/", ["to/e/b.txt"]),
        (".*.txt", None, [".c.txt"]),
        ("../std*.txt", "logs", ["logs/stderr.txt", "logs/stdout.txt"]),
        ("$AZ_BATCH_TASK_DIR/stdout.txt", "log", ["log"]),
        ("[!a-c].txt", None, []),
        ("/etc/host*", None, []),
    ],
)
def test_patterns_choose_what_is_uploaded(
    ready: Account, azurite: Azurite, pattern: str, path: str | None, names: list[str]
) -> None:
    container = azurite.container()
    output = _output(azurite.sas(container, write=True, create=True), pattern, **({"path": path} if path else {}))
    ready.task("task", WRITES.format(0), outputFiles=[output])
    assert ready.completed("task").execution_info.result == "success"
    assert _names(container) == names
    assert ready.text("task", "fileuploadout.txt").startswith(f"{len(names)} files match")
    assert "sig=" not in ready.text("task", "fileuploadout.txt")


@pytest.mark.parametrize(("exit_code", "names"), [(0, ["completion", "success"]), (3, ["completion", "failure"])])
def test_conditions_choose_what_is_uploaded(ready: Account, azurite: Azurite, exit_code: int, names: list[str]) -> None:
    container = azurite.container()
    url = azurite.sas(container, write=True, create=True)
    outputs = [
        _output(url, "../stdout.txt", f"task{condition}", path=condition)
        for condition in ("success", "failure", "completion")
    ]
    ready.task("task", WRITES.format(exit_code), outputFiles=outputs, constraints={"maxTaskRetryCount": 1})
    info = ready.completed("task").execution_info
    assert (info.exit_code, info.retry_count) == (exit_code, 1 if exit_code else 0)
    assert _names(container) == names
    assert container.download_blob("completion").readall() == b"out\n"


def test_what_a_task_wrote_before_its_time_was_up_is_uploaded(ready: Account, azurite: Azurite) -> None:
    container = azurite.container()
    output = _output(azurite.sas(container, write=True, create=True), "../stdout.txt", path="log")
    ready.task(
        "task",
        "/bin/bash -c 'echo so far; sleep 60'",
        outputFiles=[output],
        constraints={"maxWallClockTime": "PT0.5S"},
    )
    assert ready.completed("task").execution_info.failure_info.code == "TaskEnded"
    assert container.download_blob("log").readall() == b"so far\n"


@pytest.mark.parametrize(
    ("permissions", "delete", "code"),
    [
        ({"read": True}, False, "FileUploadAccessDenied"),
        ({"write": True}, True, "FileUploadContainerNotFound"),
    ],
)
def test_a_failed_upload_fails_a_good_task_without_a_retry(
    ready: Account, azurite: Azurite, permissions: dict[str, bool], delete: bool, code: str
) -> None:
    container = azurite.container()
    url = azurite.sas(container, **permissions)
    if delete:
        container.delete_container()
    ready.task("task", "/bin/true", outputFiles=[_output(url, "../stdout.txt")], constraints={"maxTaskRetryCount": 2})
    info = ready.completed("task").execution_info
    assert (info.exit_code, info.result, info.retry_count, info.failure_info.code) == (0, "failure", 0, code)
    assert code in ready.text("task", "fileuploaderr.txt")
    assert "sig=" not in ready.text("task", "fileuploaderr.txt") + str(info.failure_info)


def test_a_blob_that_may_not_be_replaced_is_a_conflict(ready: Account, azurite: Azurite) -> None:
    container = azurite.container(**{"stdout.txt": "kept"})
    container.get_blob_client("stdout.txt").set_standard_blob_tier("Archive")
    url = azurite.sas(container, write=True, create=True)
    ready.task("task", "/bin/true", outputFiles=[_output(url, "../stdout.txt")])
    failure = ready.completed("task").execution_info.failure_info
    assert (failure.category, failure.code) == ("usererror", "FileUploadConflict")


def test_storage_that_does_not_answer_in_time_fails_what_was_to_be_done_with_it(tmp_path: Path) -> None:
    emulator = start_emulator(tmp_path / "root", "--speed", "20", "--storage-timeout", "0.5")
    # The kernel takes connections, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as silent, emulator.client("devbatchaccount") as client:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/account/container?sig=x"
        account = Account("devbatchaccount", client)
        assert _three_failures(account, url) == {
            "BlobDownloadTimedOut",
            "ResourceContainerListTimedOut",
            "FileUploadTimedOut",
        }
    assert stop(emulator) == 0


def test_a_full_disk_is_told_from_other_trouble() -> None:
    with FileIO("/dev/full", "w") as full, pytest.raises(ResourceFileError) as failed:
        write(full, b"more", "a")
    assert (failed.value.failure.category, failed.value.failure.code) == ("servererror", "DiskFull")
    with FileIO("/dev/null", "r") as unwritable, pytest.raises(ResourceFileError) as failed:
        write(unwritable, b"more", "a")
    assert failed.value.failure.code == "ResourceFileWriteFailed"


@pytest.mark.parametrize("link", ["ln -s {} ../fileuploadout.txt", "rm -r ../../task; ln -s {} ../../task"])
def test_the_story_of_an_upload_is_not_written_through_a_link(
    ready: Account, azurite: Azurite, link: str, tmp_path: Path
) -> None:
    url = azurite.sas(azurite.container(), write=True, create=True)
    line = f"/bin/bash -c '{link.format(tmp_path / 'outside')}'"
    ready.task("task", line, outputFiles=[_output(url, "*.csv")])
    ready.completed("task")
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_in_the_way_of_an_upload_is_no_obstacle(ready: Account, azurite: Azurite) -> None:
    container = azurite.container()
    url = azurite.sas(container, write=True, create=True)
    line = "/bin/bash -c 'mkfifo ../fileuploadout.txt pipe; touch $(printf \"caf\\351\")'"
    ready.task("task", line, outputFiles=[_output(url, "*")])
    assert ready.completed("task").execution_info.result == "success"
    assert list(container.list_blob_names()) == ["caf\ufffd"]
    assert "1 files match" in ready.text("task", "fileuploadout.txt")


def test_a_task_that_removed_its_directory_fails_for_its_upload(ready: Account, azurite: Azurite) -> None:
    url = azurite.sas(azurite.container(), write=True, create=True)
    ready.task("task", "/bin/bash -c 'rm -r ../../task'", outputFiles=[_output(url, "*")])
    info = ready.completed("task").execution_info
    assert (info.exit_code, info.failure_info.code) == (0, "FileUploadMiscError")
    assert "sig=" not in str(info.failure_info)


def test_an_exit_code_matters_more_than_a_failed_upload(account: Account, azurite: Azurite) -> None:
    account.pool()
    account.job(onTaskFailure="performexitoptionsjobaction")
    output = _output(azurite.sas(azurite.container(), read=True), "../stdout.txt")
    conditions = {
        "exitCodes": [{"code": 0, "exitOptions": {"jobAction": "none"}}],
        "fileUploadError": {"jobAction": "disable"},
    }
    account.task("task", "/bin/true", outputFiles=[output], exitConditions=conditions)
    assert account.completed("task").execution_info.result == "failure"
    time.sleep(0.1)  # nothing is to happen
    assert account.client.get_job("job").state == "active"
    account.task(
        "second",
        "/bin/true",
        outputFiles=[output],
        exitConditions={"fileUploadError": {"jobAction": "disable"}},
    )
    account.completed("second")
    assert account.client.get_job("job").state in ("disabling", "disabled")


def test_upload_headers_become_the_blobs(ready: Account, azurite: Azurite) -> None:
    container = azurite.container()
    headers = [
        {"name": "x-ms-blob-content-type", "value": "text/csv"},
        {"name": "Content-Language", "value": "de"},
    ]
    url = azurite.sas(container, write=True, create=True)
    ready.task("task", WRITES.format(0), outputFiles=[_output(url, "a.txt", uploadHeaders=headers)])
    ready.completed("task")
    settings = container.get_blob_client("a.txt").get_blob_properties().content_settings
    assert (settings.content_type, settings.content_language) == ("text/csv", "de")


def test_a_ring_of_links_does_not_hold_a_pattern_up(ready: Account, azurite: Azurite) -> None:
    container = azurite.container()
    output = _output(azurite.sas(container, write=True, create=True), "**/*.txt")
    command = "/bin/bash -c 'ln -s . a; ln -s . b; mkdir -p c/d .e; touch one.txt c/two.txt c/d/three.txt .e/four.txt'"
    ready.task("task", command, outputFiles=[output])
    assert ready.completed("task").execution_info.failure_info is None
    assert sorted(blob.name for blob in container.list_blobs()) == ["c/d/three.txt", "c/two.txt", "one.txt"]


def test_a_pattern_that_begins_outside_of_the_node_matches_nothing(ready: Account, azurite: Azurite) -> None:
    container = azurite.container()
    output = _output(azurite.sas(container, write=True, create=True), "/usr/**/*.txt")
    ready.task("task", "/bin/true", outputFiles=[output])
    assert ready.completed("task").execution_info.failure_info is None
    assert list(container.list_blobs()) == []


@pytest.mark.parametrize("way", ["file", "container", "output"])
def test_a_password_in_a_url_is_not_shown(account: Account, way: str) -> None:
    account.pool()
    account.job()
    url = "http://user:pass-word@127.0.0.1:9/x"
    account.task(
        "task",
        "/bin/true",
        resourceFiles=[{"httpUrl": url, "filePath": "a"}]
        if way == "file"
        else [{"storageContainerUrl": url}]
        if way == "container"
        else [],
        outputFiles=[_output(url, "../stdout.txt")] if way == "output" else [],
    )
    failure = account.completed("task").execution_info.failure_info
    assert "http://127.0.0.1:9/x" in str(failure)
    assert "pass-word" not in str(failure)
