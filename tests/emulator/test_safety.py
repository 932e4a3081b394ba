"""What nobody else may do, and what a task may not reach."""

from __future__ import annotations

import json
import os
import resource
import signal
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from azure.batch import BatchClient
from azure.batch.models import BatchJobDisableOptions
from azure.batch.models import _models as models  # options that the SDK needs, and keeps to itself
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpRequest

from emulator.process import started
from emulator.spawn import prepared
from tests.emulator.conftest import Account, Emulator, start_emulator, stop, until

VERSION = {"api-version": "2025-06-01"}


def _code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def _refused(account: Account, request: HttpRequest) -> tuple[int | None, str | None]:
    with pytest.raises(HttpResponseError) as refused:
        account.client.send_request(request)
    assert refused.value.error is not None
    return refused.value.status_code, refused.value.error.code


def test_a_request_without_a_signature_is_refused(emulator: Emulator) -> None:
    assert _code(httpx.get(f"{emulator.url}/pools", params=VERSION)) == (403, "AuthenticationFailed")
    assert _code(httpx.post(f"{emulator.url}/_emulator/reset")) == (403, "AuthenticationFailed")


def test_a_bearer_token_is_refused_without_tls(emulator: Emulator) -> None:
    answer = httpx.get(f"{emulator.url}/pools", params=VERSION, headers={"Authorization": "Bearer x"})
    assert _code(answer) == (403, "AuthenticationFailed")


def test_a_wrong_key_is_refused(emulator: Emulator) -> None:
    with (
        BatchClient(emulator.url, AzureNamedKeyCredential("someone", "d3Jvbmc=")) as client,
        pytest.raises(HttpResponseError, match="AuthenticationFailed") as refused,
    ):
        list(client.list_pools())
    assert refused.value.status_code == 403


def test_a_stale_date_is_refused(account: Account) -> None:
    old = HttpRequest("GET", "/pools", params=VERSION, headers={"ocp-date": "Mon, 02 Jan 2023 03:04:05 GMT"})
    assert _refused(account, old) == (403, "AuthenticationFailed")


def test_a_tampered_request_is_refused(account: Account, emulator: Emulator) -> None:
    signed: list[Any] = []
    list(account.client.list_pools(raw_request_hook=lambda pipeline: signed.append(pipeline.http_request)))
    headers = dict(signed[0].headers)
    assert httpx.get(signed[0].url, headers=headers).status_code == 200
    assert httpx.get(signed[0].url + "&maxresults=1", headers=headers).status_code == 403
    assert httpx.get(signed[0].url.replace("/pools", "/jobs"), headers=headers).status_code == 403


def test_a_host_of_another_name_is_refused(emulator: Emulator) -> None:
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        answer = httpx.get(f"{emulator.url}/_emulator/health", headers={"Host": host})
        assert answer.status_code == 400, host
    port = urlsplit(emulator.url).port
    assert httpx.get(f"{emulator.url}/_emulator/health", headers={"Host": f"localhost:{port}"}).status_code == 200


def test_only_this_machine_is_listened_to(emulator: Emulator) -> None:
    port = f"{urlsplit(emulator.url).port:04X}"
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[1].endswith(f":{port}") and line.split()[3] == "0A"
    ]
    assert listening == [f"0100007F:{port}"]


def test_a_request_without_a_version_is_refused(account: Account) -> None:
    assert _refused(account, HttpRequest("GET", "/pools")) == (400, "MissingRequiredQueryParameter")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'"x"',
        b'{"id": NaN}',
        b"\xff",
        b"[" * 100_000,
        b'{"id": 1}',
        b'{"id": "a\\u0000"}',
        b'{"taskSlotsPerNode": "+-5"}',
        b'{"taskSlotsPerNode": "' + b"9" * 5000 + b'"}',
    ],
)
def test_a_body_that_is_no_pool_is_refused(account: Account, content: bytes) -> None:
    request = HttpRequest("POST", "/pools", params=VERSION, content=content)
    assert _refused(account, request)[0] == 400


def test_a_body_that_is_too_large_is_refused(account: Account) -> None:
    account.job()
    big = {"id": "task", "commandLine": "x" * (1 << 20)}
    with pytest.raises(HttpResponseError, match="RequestBodyTooLarge") as refused:
        account.client.create_task("job", big)
    assert refused.value.status_code == 413


def test_large_collections_are_split_by_the_client(account: Account) -> None:
    account.job()
    files = [{"httpUrl": f"http://127.0.0.1/{'x' * 50}", "filePath": f"{number:0100}"} for number in range(100)]
    tasks = [{"id": f"task{number}", "commandLine": "/bin/true", "resourceFiles": files} for number in range(100)]
    assert len(json.dumps(tasks)) > 1 << 20
    results = account.client.create_tasks("job", tasks).result_values
    assert {result.status for result in results} == {"Success"}
    assert account.client.get_job_task_counts("job").task_counts.active == 100


def _ended(pid: str) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    "escape",
    ["sleep 1000 &", "setsid sleep 1000 &", "setsid env -i sleep 1000 &", "(setsid setsid sleep 1000 &) &"],
)
def test_what_a_task_leaves_behind_is_ended(account: Account, escape: str, tmp_path: Path) -> None:
    account.pool()
    account.job()
    mark = "1000" + str(os.getpid()) + str(abs(hash(escape)) % 1000)
    account.task("task", f"/bin/bash -c '{escape.replace('1000', mark)} sleep 0.3'")
    account.completed("task")

    def gone() -> bool:
        for path in Path("/proc").iterdir():
            try:
                if path.name.isdecimal() and mark in (path / "cmdline").read_text():
                    return False
            except (FileNotFoundError, ProcessLookupError):
                continue
        return True

    until(gone, "no process is left")


_WRITER = 'setsid bash -c "while :; do echo x > f\\$RANDOM\\$RANDOM; done" >/dev/null 2>&1 &'


def test_what_an_attempt_leaves_behind_is_ended_before_the_next(account: Account) -> None:
    account.pool()
    account.job()
    marker = "$AZ_BATCH_NODE_SHARED_DIR/pid"
    second = f"kill -0 $(cat {marker}) 2>/dev/null && echo alive || echo gone"
    first = f"setsid sleep 1000 & echo $! > {marker}; sleep 0.2; exit 1"
    account.task("task", f"/bin/bash -c 'if [ -e {marker} ]; then {second}; else {first}; fi'", **_retries(1))
    assert account.completed("task").execution_info.retry_count == 1
    assert account.text("task") == "gone\n"
    account.task("writer", f"/bin/bash -c '{_WRITER} sleep 0.1; exit 3'", **_retries(4))
    info = account.completed("writer").execution_info
    assert (info.retry_count, info.exit_code, info.failure_info.code) == (4, 3, "FailureExitCode")
    assert account.control("GET", "/check") == {"violations": []}  # which looks for processes at once


def _retries(number: int) -> dict[str, Any]:
    return {"constraints": {"maxTaskRetryCount": number}}


@pytest.mark.parametrize("what", ["reimage", "preempt"])
def test_a_disk_is_empty_though_what_a_task_left_behind_wrote_on_it(account: Account, what: str) -> None:
    account.pool(nodes=0, targetLowPriorityNodes=1, wait=False)
    account.nodes_become("idle", number=1)
    (node,) = account.client.list_nodes("pool")
    account.job()
    account.task("task", f"/bin/bash -c '{_WRITER} {_WRITER} touch ready; sleep 1000'")
    until(lambda: _there(account, "wd/ready"), "it writes")
    disabling = account.client.begin_disable_job(
        "job", BatchJobDisableOptions(disable_tasks="wait"), polling_interval=0
    )
    if what == "preempt":
        account.control("POST", f"/pools/pool/nodes/{node.id}/preempt")
    else:
        account.client.begin_reimage_node(
            "pool", node.id, models.BatchNodeReimageOptions(node_reimage_option="requeue"), polling_interval=0
        ).result()
    disabling.result()
    account.nodes_become("idle", number=1)
    files = account.client.list_node_files("pool", node.id, recursive=True)
    assert [file.name for file in files if not file.is_directory] == []


def _there(account: Account, path: str) -> bool:
    try:
        account.client.get_task_file_properties("job", "task", path)
    except HttpResponseError:
        return False
    return True


def test_a_process_for_which_no_descriptor_is_left_is_ended(tmp_path: Path) -> None:
    call = prepared(["/bin/sleep", "1000"], {}, str(tmp_path), [])
    pids: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def start() -> int:
        pids.append(call())
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        return pids[0]

    try:
        with pytest.raises(OSError, match="Too many open files"):
            started(start)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not Path(f"/proc/{pids[0]}").exists()


def test_an_emulator_opens_as_many_files_as_it_may_and_survives_that_there_are_no_more(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    try:
        emulator = start_emulator(tmp_path / "root", "--speed", "20")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    pid, mark = emulator.process.pid, f"1000{os.getpid()}"
    try:
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (hard, hard)
        with emulator.client("test") as client:
            account = Account("test", client)
            account.pool(taskSlotsPerNode=8)
            account.job()
            account.task("task", "/bin/bash -c 'sleep 0.1; ulimit -Sn; ulimit -Hn'")
            account.completed("task")
            assert account.text("task").split() == ["300", str(hard)]
            left = 4
            used = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + left, hard))
            for number in range(8):
                account.task(f"task{number}", f"/bin/sleep {mark}")
            failed = until(lambda: _failed(account, mark), "each task runs or has failed")
            assert len(failed) >= 8 - left
            assert set(failed) <= {"CommandLaunchFailed", "ResourceDirectoryCreateFailed"}
            assert len(account.control("GET", "/check")["violations"]) <= 1  # that it cannot look
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
            assert account.control("GET", "/check") == {"violations": []}
    finally:
        assert stop(emulator) == 0


def _failed(account: Account, mark: str) -> list[str]:
    """The codes of the tasks that failed, once there is a process for each of the others."""
    tasks = [task for task in account.client.list_tasks("job") if task.id != "task"]
    codes = [task.execution_info.failure_info.code for task in tasks if task.state == "completed"]
    processes = sum(mark in _command_line(path) for path in Path("/proc").iterdir())
    return codes if len(codes) + processes == len(tasks) else []


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text() if process.name.isdecimal() else ""
    except OSError:
        return ""


def test_a_terminated_task_is_gone_with_its_children(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/bash -c 'sleep 1000 & echo $! $$; trap \"\" TERM; sleep 1000'")
    pids = until(lambda: _output(account).split(), "the task runs")
    account.client.terminate_task("job", "task")
    info = account.completed("task").execution_info
    assert (info.exit_code, info.failure_info.code) == (-9, "TaskEnded")
    until(lambda: all(_ended(pid) for pid in pids), "its processes are gone")


def _output(account: Account) -> str:
    try:
        return account.text("task")
    except HttpResponseError as error:
        unfinished: Any = error.response
        unfinished.close()  # which the SDK leaves open where a download fails
        return ""


def test_a_deleted_task_is_gone_with_its_children_and_files(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/bash -c 'echo $$; sleep 1000'")
    (pid,) = until(lambda: _output(account).split(), "the task runs")
    account.client.delete_task("job", "task")
    with pytest.raises(ResourceNotFoundError, match="TaskNotFound"):
        account.client.get_task("job", "task")
    until(lambda: _ended(pid), "its process is gone")
    (node,) = account.client.list_nodes("pool")

    def cleared() -> bool:
        files = account.client.list_node_files("pool", node.id, recursive=True)
        return not any(file.name.endswith("job-1/task") for file in files)

    until(cleared, "its files are gone")


def test_a_task_that_a_signal_ends_has_a_negative_exit_code(account: Account) -> None:
    account.pool()
    account.job()
    account.task("task", "/bin/bash -c 'kill -SEGV $$'")
    assert account.completed("task").execution_info.exit_code == -signal.SIGSEGV


def test_no_secret_is_in_the_log(account: Account, emulator: Emulator) -> None:
    account.pool()
    account.job()
    url = "http://127.0.0.1:9/c/b?sv=2020&sig=TOPSECRET"
    account.task(
        "task",
        "/bin/true",
        resourceFiles=[{"httpUrl": url, "filePath": "a"}],
        environmentSettings=[{"name": "TOKEN", "value": "TOPSECRET"}],
    )
    account.completed("task")
    log = emulator.log.read_text()
    assert "TOPSECRET" not in log
    assert "SharedKey" not in log


def test_a_line_break_in_a_path_does_not_begin_a_line_of_the_log(emulator: Emulator) -> None:
    assert httpx.get(f"{emulator.url}/pools%0aFORGED", params=VERSION).status_code == 403
    until(lambda: "FORGED" in emulator.log.read_text(), "the request is in the log")
    assert not any(line.startswith("FORGED") for line in emulator.log.read_text().splitlines())


def test_headers_that_sign_nothing_are_refused(emulator: Emulator) -> None:
    now = format_datetime(datetime.now(UTC), usegmt=True)
    for date, signature in ((now, "\u00e9"), (f"Mon, 02 Jan {'9' * 20} 03:04:05 GMT", "x"), ("soon", "x")):
        headers = httpx.Headers({"ocp-date": date, "Authorization": f"SharedKey someone:{signature}"}, encoding="utf-8")
        answer = httpx.get(f"{emulator.url}/pools", params=VERSION, headers=headers)
        assert _code(answer) == (403, "AuthenticationFailed"), (date, signature)
