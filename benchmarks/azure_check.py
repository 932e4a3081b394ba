"""`make azure-check`: ask a real Batch account what the emulator had to guess, and write the answers down.

It makes one pool with one node, whose formula lets it go within half an hour whatever happens to this program, runs a
few short tasks and deletes everything: a few cents. The account is that of AZURE_BATCH_ENDPOINT, AZURE_BATCH_ACCOUNT
and AZURE_BATCH_ACCESS_KEY; without a key, that of DefaultAzureCredential.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.rest import HttpRequest
from azure.identity import DefaultAzureCredential

VERSION = {"api-version": "2025-06-01"}
LEASE = timedelta(minutes=30)
NODE_SECONDS = 900.0  # to wait for the node, its booting included
_BETWEEN_CHANGES = 35.0  # seconds; a formula may be changed once in 30
_EVERY = 1.0  # seconds between looks
_DIRECTORIES = ("NODE_ROOT_DIR", "NODE_SHARED_DIR", "NODE_STARTUP_DIR", "TASK_DIR", "TASK_WORKING_DIR")
TASKS: dict[str, dict[str, Any]] = {
    "modes": {
        "commandLine": '/bin/bash -c \'id -un; umask; stat -c "%n %a %U" '
        + " ".join(f"$AZ_BATCH_{name}" for name in _DIRECTORIES)
        + "'"
    },
    "wallclock": {"commandLine": "/bin/sleep 300", "constraints": {"maxWallClockTime": "PT10S"}},
    "terminated": {"commandLine": "/bin/sleep 300"},
    "killed": {"commandLine": "/bin/bash -c 'kill -9 $$'"},
    "missing": {"commandLine": "/no/such/program"},
}


class Account:
    """The account that is asked; `ask` gives status, error code and body as they came."""

    def __init__(self, client: BatchClient) -> None:
        self.client = client

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, str, Any]:
        """One request, sent once."""
        request = HttpRequest(method, path, params=VERSION, json=body)
        if body is not None:
            request.headers["Content-Type"] = "application/json; odata=minimalmetadata"
        try:
            answer = self.client.send_request(request, retry_total=0)
        except HttpResponseError as error:
            if error.response is None:
                raise
            answer = error.response
        text = answer.text() if callable(answer.text) else answer.text
        content = json.loads(text) if text.startswith("{") else {}
        return answer.status_code or 0, str(content.get("code", "")), content


def until(condition: Callable[[], bool], what: str, seconds: float) -> float:
    """How many seconds it took until a condition held.

    Raises:
        TimeoutError: when it does not in time.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(_EVERY)
    return round(time.monotonic() - began, 1)


def formula(moment: datetime) -> str:
    """One node until a moment, then none."""
    return f'$TargetDedicatedNodes = time() < time("{moment:%a, %d %b %Y %H:%M:%S GMT}") ? 1 : 0;'


def observe(account: Account, name: str, vm_size: str, found: dict[str, Any]) -> None:
    """Make the pool and the job, and write down what is seen into `found`."""
    lease = formula(datetime.now(UTC) + LEASE)
    pool = {
        "id": name,
        "vmSize": vm_size,
        "enableAutoScale": True,
        "autoScaleFormula": lease,
        "virtualMachineConfiguration": {
            "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
            "nodeAgentSKUId": "batch.node.ubuntu 24.04",
        },
    }
    status, code, content = account.ask("POST", "/pools", pool)
    if status != 201:
        raise RuntimeError(f"the pool was refused: {status} {code} {content.get('message', {}).get('value', '')}")

    def resizing() -> bool:
        return account.ask("GET", f"/pools/{name}")[2]["allocationState"] == "resizing"

    until(resizing, "a resize", 120)
    renewal = {"autoScaleFormula": lease}
    found["formula_changed_at_once"] = account.ask("POST", f"/pools/{name}/enableautoscale", renewal)[:2]
    found["formula_evaluated_while_resizing"] = account.ask("POST", f"/pools/{name}/evaluateautoscale", renewal)[:2]
    allowed = time.monotonic() + _BETWEEN_CHANGES
    until(lambda: not resizing() or time.monotonic() > allowed, "the pool is asked again", 2 * _BETWEEN_CHANGES)
    if resizing():
        found["formula_changed_while_resizing"] = account.ask("POST", f"/pools/{name}/enableautoscale", renewal)[:2]
    account.ask("POST", "/jobs", {"id": name, "poolInfo": {"poolId": name}})
    tasks = [{"id": task, **body} for task, body in TASKS.items()]
    _, _, added = account.ask("POST", f"/jobs/{name}/addtaskcollection", {"value": [*tasks, {"id": "no command"}]})
    found["statuses_of_a_collection"] = sorted({each["status"] for each in added.get("value", ())})

    def nodes() -> list[str]:
        return [node["state"] for node in account.ask("GET", f"/pools/{name}/nodes")[2].get("value", ())]

    found["seconds_to_a_node"] = until(lambda: bool({"idle", "running"} & set(nodes())), "a node", NODE_SECONDS)
    found["formula_changed_twice"] = [
        account.ask("POST", f"/pools/{name}/enableautoscale", renewal)[:2] for _ in range(2)
    ]
    _observe_tasks(account, name, found)


def _observe_tasks(account: Account, name: str, found: dict[str, Any]) -> None:
    def task(task_id: str) -> dict[str, Any]:
        return account.ask("GET", f"/jobs/{name}/tasks/{task_id}")[2]

    until(lambda: task("terminated")["state"] in ("running", "completed"), "a task runs", 300)
    account.ask("POST", f"/jobs/{name}/tasks/terminated/terminate")
    for task_id in TASKS:
        until(lambda task_id=task_id: task(task_id)["state"] == "completed", f"{task_id} completes", 300)
        execution = task(task_id)["executionInfo"]
        failure = execution.get("failureInfo", {})
        found[f"task_{task_id}"] = {
            "exitCode": execution.get("exitCode"),
            "category": failure.get("category"),
            "code": failure.get("code"),
        }
    output = b"".join(account.client.download_task_file(name, "modes", "stdout.txt")).decode()
    user, mask, *directories = output.splitlines()
    found["task_user"], found["umask"] = user, mask
    modes = [line.rsplit(" ", 2)[1:] for line in directories]
    found["directories"] = dict(zip((name.lower() for name in _DIRECTORIES), modes, strict=True))


def clean(account: Account, name: str, found: dict[str, Any]) -> None:
    """Delete what was made, and see that it is gone."""
    for kind in ("jobs", "pools"):
        if account.ask("DELETE", f"/{kind}/{name}")[0] == 404:
            continue
        path = f"/{kind}/{name}"
        seconds = until(lambda path=path: account.ask("GET", path)[0] == 404, f"{path} is deleted", 900)
        found[f"seconds_to_delete_{kind}"] = seconds


def main() -> int:
    """Check; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.azure_check", description="Ask a real Batch account.")
    parser.add_argument("--yes", action="store_true", help="do not ask before money is spent")
    parser.add_argument("--vm-size", default="STANDARD_D2S_V3")
    parser.add_argument("--output", type=Path, default=Path("docs/azure-check.json"))
    given = parser.parse_args()
    endpoint, name = os.environ.get("AZURE_BATCH_ENDPOINT"), os.environ.get("AZURE_BATCH_ACCOUNT", "")
    if not endpoint or not name:
        sys.stderr.write("azure-check: set AZURE_BATCH_ENDPOINT and AZURE_BATCH_ACCOUNT\n")
        return 2
    sys.stdout.write(f"One {given.vm_size} node at {endpoint}, for about a quarter of an hour: a few cents.\n")
    if not given.yes and input("Go on? [y/N] ").strip().lower() != "y":
        return 1
    key = os.environ.get("AZURE_BATCH_ACCESS_KEY")
    credential = AzureNamedKeyCredential(name, key) if key else DefaultAzureCredential()
    resource, found = f"azure-check-{uuid.uuid4().hex[:8]}", dict[str, Any]()
    with BatchClient(endpoint, credential) as client:
        account = Account(client)
        try:
            try:
                observe(account, resource, given.vm_size, found)
            finally:
                clean(account, resource, found)
        except (AzureError, TimeoutError, RuntimeError) as error:
            sys.stderr.write(f"azure-check: {str(error).splitlines()[0]}\n")
            sys.stderr.write(f"azure-check: see that the pool and the job {resource} are gone\n")
            return 1
    answers = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "api-version": VERSION["api-version"], **found}
    given.output.write_text(json.dumps(answers, indent=2) + "\n")
    sys.stdout.write(f"The answers are in {given.output}.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
