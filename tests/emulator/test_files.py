"""The files of tasks and nodes: listed, read, deleted, and no way out of their directories."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceResponseError
from azure.core.rest import HttpRequest

from emulator.files import listed
from emulator.removal import Removal, remove
from tests.emulator.conftest import Account, Azurite, Emulator, start_emulator, stop, until

_NOBODY = 65534


def _close(error: HttpResponseError) -> None:
    """The SDK leaves the answer to a download that failed open."""
    response: Any = error.response
    response.close()


def test_files_are_listed_read_in_part_and_deleted(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/bash -c 'mkdir -p d; echo 0123456789 > d/a.txt; echo out'")
    account.completed("task")
    names = [file.name for file in account.client.list_task_files("job", "task")]
    assert names == ["stderr.txt", "stdout.txt", "wd"]
    found = {file.name: file for file in account.client.list_task_files("job", "task", recursive=True)}
    assert set(found) == {"stderr.txt", "stdout.txt", "wd", "wd/d", "wd/d/a.txt"}
    assert found["wd/d"].is_directory
    assert found["wd/d/a.txt"].properties.content_length == 11
    shown = account.client.get_task_file_properties("job", "task", "wd/d/a.txt")
    assert (shown.content_length, shown.is_directory) == (11, False)
    part = account.client.download_task_file("job", "task", "wd/d/a.txt", ocp_range="bytes=2-4")
    assert b"".join(part) == b"234"
    with pytest.raises(HttpResponseError) as beyond:
        account.client.download_task_file("job", "task", "wd/d/a.txt", ocp_range="bytes=50-60")
    assert beyond.value.status_code == 416
    _close(beyond.value)
    with pytest.raises(HttpResponseError, match="IOError"):
        account.client.delete_task_file("job", "task", "wd/d")
    account.client.delete_task_file("job", "task", "wd/d", recursive=True)
    with pytest.raises(ResourceNotFoundError):
        account.client.get_task_file_properties("job", "task", "wd/d/a.txt")


def test_no_path_leads_out_of_a_tasks_directory(account: Account, emulator: Emulator) -> None:
    secret = emulator.root.with_name("secret.txt")
    secret.write_text("secret")
    account.pool()
    account.job()
    account.task("task", f"/bin/bash -c 'ln -s {secret} link; ln -s / up; ln -s loop loop'")
    account.completed("task")
    (node,) = account.client.list_nodes("pool")
    up = "../" * 20
    for path in (
        f"{up}etc/passwd",
        "/etc/passwd",
        "wd/link",
        "wd/up/etc/passwd",
        "..%2f..%2f..%2fetc/passwd",
        "wd/../../../../../../../etc/passwd",
        "wd/loop",
        f"{secret}",
        "..\\..\\stdout.txt",
        "a\x00b",
    ):
        for download, of in (
            (account.client.download_task_file, ("job", "task")),
            (account.client.download_node_file, ("pool", node.id)),
        ):
            with pytest.raises(ResourceNotFoundError) as refused:
                b"".join(download(*of, path))
            _close(refused.value)
    with pytest.raises(ResourceNotFoundError):
        account.client.delete_task_file("job", "task", "wd/link")
    assert secret.read_text() == "secret"
    names = [file.name for file in account.client.list_task_files("job", "task", recursive=True)]
    assert names == ["stderr.txt", "stdout.txt", "wd"]


def test_files_that_went_with_their_time_are_cleaned_up(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/true", constraints={"retentionTime": "PT0.5S"})
    account.completed("task")

    def gone() -> bool:
        try:
            list(account.client.list_task_files("job", "task"))
        except HttpResponseError as error:
            assert error.error is not None
            return error.error.code == "TaskFilesCleanedup"
        return False

    until(gone, "the files are cleaned up")


def test_files_of_a_node_that_is_gone_are_unavailable(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/true")
    account.completed("task")
    account.client.begin_delete_pool("pool", polling_interval=0).result()
    with pytest.raises(HttpResponseError, match="TaskFilesUnavailable"):
        list(account.client.list_task_files("job", "task"))


def test_files_of_a_task_that_waits_cannot_be_read(account: Account) -> None:
    account.job()
    account.task("task", "/bin/true")
    with pytest.raises(HttpResponseError, match="OperationInvalidForCurrentState"):
        list(account.client.list_task_files("job", "task"))


def test_a_nodes_files_are_listed_and_deleted(account: Account) -> None:
    account.pool(startTask={"commandLine": "/bin/bash -c 'echo 1 > $AZ_BATCH_NODE_SHARED_DIR/a.txt'"})
    (node,) = account.client.list_nodes("pool")
    names = {file.name for file in account.client.list_node_files("pool", node.id)}
    assert names == {"applications", "fsmounts", "shared", "startup", "volatile", "workitems"}
    assert account.client.get_node_file_properties("pool", node.id, "shared/a.txt").content_length == 2
    account.client.delete_node_file("pool", node.id, "shared/a.txt")
    recursive = {file.name for file in account.client.list_node_files("pool", node.id, recursive=True)}
    assert "startup/stdout.txt" in recursive
    assert "shared/a.txt" not in recursive


@pytest.mark.parametrize("place", ["", "wd"])
def test_a_link_in_the_place_of_a_tasks_directory_is_not_followed(account: Account, place: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    account.pool()
    account.job()
    directory = f"$AZ_BATCH_TASK_DIR/{place}".rstrip("/")
    account.task("task", f"/bin/bash -c 'rm -r {directory} && ln -s {tmp_path} {directory}'")
    assert account.completed("task").execution_info.exit_code == 0
    with pytest.raises(ResourceNotFoundError) as refused:
        b"".join(account.client.download_task_file("job", "task", f"{place}/secret.txt"))
    _close(refused.value)
    assert "secret.txt" not in [file.name for file in account.client.list_task_files("job", "task", recursive=True)]


def test_a_link_on_the_way_to_a_tasks_directory_is_not_followed(account: Account, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "thesis.txt").write_text("important")
    account.pool()
    account.job()
    account.task("task", f"/bin/bash -c 'cd ../../..; mv job-1 real; ln -s {tmp_path} job-1'")
    account.completed("task")
    account.task("victim", "/bin/true")
    info = account.completed("victim").execution_info
    assert (info.exit_code, info.failure_info.code) == (None, "ResourceDirectoryCreateFailed")
    account.client.delete_task("job", "victim")
    account.client.begin_delete_pool("pool", polling_interval=0).result()
    assert (tmp_path / "victim" / "thesis.txt").read_text() == "important"


def test_the_directory_of_a_task_or_node_is_not_deleted_as_a_file(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/true")
    account.completed("task")
    (node,) = account.client.list_nodes("pool")
    for delete, of in (
        (account.client.delete_task_file, ("job", "task")),
        (account.client.delete_node_file, ("pool", node.id)),
    ):
        with pytest.raises(ResourceNotFoundError, match="FileNotFound"):
            delete(*of, "wd\\..", recursive=True)
        with pytest.raises(ResourceNotFoundError, match="FileNotFound"):
            delete(*of, "startup\\..", recursive=True)
    assert account.text("task", "stderr.txt") == ""


def test_a_list_of_files_has_an_end(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.txt").touch()
    assert len(listed(tmp_path, recursive=True, most=3)) == 3
    assert len(listed(tmp_path, recursive=False)) == 5


def test_a_pipe_is_no_file(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/bash -c 'mkfifo pipe'")
    account.completed("task")
    with pytest.raises(ResourceNotFoundError) as refused:
        b"".join(account.client.download_task_file("job", "task", "wd/pipe"))
    _close(refused.value)
    names = [file.name for file in account.client.list_task_files("job", "task", recursive=True)]
    assert names == ["stderr.txt", "stdout.txt", "wd"]


def test_a_name_that_is_no_utf_8_is_listed_and_read_by_that_name_and_its_url(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/bash -c 'd=$(printf \"caf\\351\"); mkdir $d; echo coffee > $d/$d.txt'")
    account.completed("task")
    found = {file.name: file for file in account.client.list_task_files("job", "task", recursive=True)}
    assert list(found) == ["stderr.txt", "stdout.txt", "wd", "wd/caf\ufffd", "wd/caf\ufffd/caf\ufffd.txt"]
    assert account.text("task", "wd/caf\ufffd/caf\ufffd.txt") == "coffee\n"
    url = found["wd/caf\ufffd/caf\ufffd.txt"].url
    answer = account.client.send_request(HttpRequest("GET", url, params={"api-version": "2025-06-01"}))
    assert (answer.status_code, answer.text()) == (200, "coffee\n")
    for missing in ("wd/\ufffd", "wd/caf\ufffd/\ufffd", "wd/caf\ufffd/caf\ufffd/caf\ufffd.txt"):
        with pytest.raises(ResourceNotFoundError):
            account.client.get_task_file_properties("job", "task", missing)


def test_a_download_of_a_file_that_shrinks_is_cut_off(account: Account) -> None:
    account.pool()
    account.job()
    size = 40_000_000  # more than what is on its way at any moment
    shrink = "until [ -e shrink ]; do sleep 0.02; done; truncate -s 0 big; touch shrunk; sleep 1000"
    account.task("task", f"/bin/bash -c 'truncate -s {size} big; echo $PWD; {shrink}'")
    working = Path(until(lambda: _text(account).strip(), "it runs"))
    chunks = account.client.download_task_file("job", "task", "wd/big")
    received = len(next(chunks))
    (working / "shrink").touch()
    until((working / "shrunk").exists, "it has shrunk")
    with pytest.raises((ServiceResponseError, HttpResponseError)):
        for chunk in chunks:
            received += len(chunk)
    assert received < size
    account.client.terminate_task("job", "task")


def _text(account: Account) -> str:
    try:
        return account.text("task")
    except HttpResponseError as error:
        _close(error)
        return ""


_DEEP = 'import os\nfor _ in range(2200):\n os.mkdir("d")\n os.chdir("d")'


def test_directories_deeper_than_a_path_is_long_are_listed_uploaded_from_and_removed(
    account: Account, azurite: Azurite, emulator: Emulator
) -> None:
    container = azurite.container()
    destination = {"container": {"containerUrl": azurite.sas(container, write=True)}}
    account.pool()
    account.job()
    account.task(
        "task",
        f'{sys.executable} -c \'open("a.txt", "w").close()\n{_DEEP}\'',
        outputFiles=[
            {
                "filePattern": "**/*.txt",
                "destination": destination,
                "uploadOptions": {"uploadCondition": "taskCompletion"},
            }
        ],
    )
    info = account.completed("task").execution_info
    assert (info.exit_code, info.failure_info) == (0, None)
    assert [blob.name for blob in container.list_blobs()] == ["a.txt"]
    names = [file.name for file in account.client.list_task_files("job", "task", recursive=True)]
    assert {"wd/a.txt", "wd" + 1500 * "/d"} <= set(names)
    account.client.delete_task_file("job", "task", "wd/d", recursive=True)
    names = [file.name for file in account.client.list_task_files("job", "task", recursive=True)]
    assert names == ["fileuploaderr.txt", "fileuploadout.txt", "stderr.txt", "stdout.txt", "wd", "wd/a.txt"]
    account.task("again", f"{sys.executable} -c '{_DEEP}'")
    account.completed("again")
    account.client.begin_delete_pool("pool", polling_interval=0).result()
    until(lambda: not list((emulator.root / "nodes" / account.name).iterdir()), "nothing of the pool is on the disk")
    until(lambda: not list((emulator.root / "nodes" / ".gone").iterdir()), "nothing of it is elsewhere")


def test_what_an_emulator_that_died_left_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    first = start_emulator(tmp_path / "root")
    first.process.kill()
    first.process.wait()
    assert first.process.stdout is not None
    first.process.stdout.close()
    subprocess.run([sys.executable, "-c", _DEEP], cwd=tmp_path / "root" / "nodes", check=True)
    second = start_emulator(tmp_path / "root")
    try:
        assert list((tmp_path / "root" / "nodes").iterdir()) == []
    finally:
        assert stop(second) == 0


def test_what_is_discarded_is_away_at_once_and_removed_soon(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "gone")
    (tmp_path / "other").mkdir()
    for number in range(3):
        (tmp_path / "tree" / ".0" / ".1" / "a" / f"{number}").mkdir(parents=True)
        (tmp_path / "tree" / ".0" / f"{number}.txt").touch()
        (tmp_path / "tree" / ".0" / "link").symlink_to(tmp_path / "other")
        removal.discard(tmp_path / "tree")
        assert not (tmp_path / "tree").exists()
    removal.discard(tmp_path / "tree")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    with pytest.raises(NotADirectoryError):
        removal.discard(tmp_path / "link" / "file")
    removal.discard(tmp_path / "link" / "file", ignore_errors=True)
    removal.discard(tmp_path / "link")
    until(lambda: not list((tmp_path / "gone").iterdir()), "nothing is left")
    removal.close()
    assert [path.name for path in tmp_path.iterdir() if path.name != "gone"] == ["other"]


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of a user whom permissions bind, and the test runs as that one: as `nobody`, instead of root."""
    user = os.geteuid()
    directory = Path(tempfile.mkdtemp())
    if user == 0:
        os.chown(directory, _NOBODY, _NOBODY)
        os.seteuid(_NOBODY)
    try:
        yield directory
    finally:
        os.seteuid(user)
        shutil.rmtree(directory)


def test_a_tree_without_permissions_is_removed_and_no_link_in_it_followed(unprivileged: Path) -> None:
    tree, other = unprivileged / "tree", unprivileged / "other"
    (tree / "read" / "only").mkdir(parents=True)
    (tree / "read" / "only" / "file").touch()
    (tree / "read" / "link").symlink_to(other)
    other.mkdir(mode=0o500)
    for directory in ("read/only", "read", "."):
        (tree / directory).chmod(0)
    with pytest.raises(PermissionError):
        shutil.rmtree(tree)
    remove(tree)
    assert not tree.exists()
    assert stat.S_IMODE(other.stat().st_mode) == 0o500
