"""A window on the emulator: one page for a browser, and the read-only routes that it asks every second.

The page shows what any client with the key can ask for. With the published key that is no secret to anybody on this
machine; with a key of one's own the browser asks for it (HTTP Basic, any name, the key as the password).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from emulator import files
from emulator.errors import InvalidUri, JobNotFound, OperationInvalidForCurrentState
from emulator.job import Job
from emulator.job_schedule import JobSchedule
from emulator.node import Node
from emulator.pool import Pool
from emulator.routes.files import task_directory
from emulator.settings import DEVELOPMENT_KEY

if TYPE_CHECKING:
    from emulator.account import Account
    from emulator.service import Service

ROOT = "/_emulator/window"
_STREAMS = {"stdout": "stdout.txt", "stderr": "stderr.txt"}
_TAIL = 64 << 10  # bytes of a stream that the page shows: its end
_NEWEST_JOBS = 100  # by account, and as many job schedules
_TASKS = 100  # in one answer
_ACCOUNTS = 20

_PAGE = (Path(__file__).parent / "page.html").read_bytes()


def _digest(element: str) -> str:
    found = re.search(rb"<%b>(.*?)</%b>" % (element.encode(), element.encode()), _PAGE, re.DOTALL)
    assert found is not None, "the page has one of each"
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1]).digest()).decode()}'"


_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; connect-src 'self'; img-src data:; "
    f"script-src {_digest('script')}; style-src {_digest('style')}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def concerns(scope: Scope) -> bool:
    """Whether a request is the window's, and so not one of Batch."""
    return scope["path"] == "/" or scope["path"] == ROOT or scope["path"].startswith(f"{ROOT}/")


def admits(scope: Scope, key: str) -> bool:
    """Whether the sender may look: with a key of one's own, only who has it."""
    if key == DEVELOPMENT_KEY:
        return True
    sent = dict(scope["headers"]).get(b"authorization", b"")
    scheme, _, credential = sent.partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        password = base64.b64decode(credential, validate=True).partition(b":")[2]
    except ValueError:
        return False
    return hmac.compare_digest(password, key.encode())


def locked() -> Response:
    """The answer to who may not look: a browser asks for the key then."""
    return Response("The emulator's key is needed.", 401, {"WWW-Authenticate": 'Basic realm="the emulator\'s key"'})


def routes(service: Service) -> list[Route]:
    """The page and what it asks for."""

    def account_of(request: Request) -> Account:
        account = service.accounts.get(request.path_params["account"])
        if account is None:
            raise JobNotFound
        return account

    async def page(_request: Request) -> Response:
        return Response(_PAGE, headers=_HEADERS, media_type="text/html; charset=utf-8")

    async def overview(_request: Request) -> Response:
        shown = [
            account
            for account in service.accounts.values()
            if len(account.pools) or len(account.jobs) or len(account.job_schedules)
        ]
        content = {
            "endpoint": service.settings.endpoint,
            "accounts": [_account(account) for account in shown[-_ACCOUNTS:]],
            "requests": service.requests.newest_first(),
        }
        return JSONResponse(content, headers=_HEADERS)

    async def tasks(request: Request) -> Response:
        job = account_of(request).job(request.path_params["jobId"])
        return JSONResponse(_tasks(job, request.query_params.get("after", "")), headers=_HEADERS)

    async def stream(request: Request) -> Response:
        name = _STREAMS.get(request.path_params["stream"])
        if name is None:
            raise InvalidUri(Reason="must be stdout or stderr")
        task = account_of(request).job(request.path_params["jobId"]).task(request.path_params["taskId"])
        text = _tail(files.inside(task_directory(task), name))
        return Response(text, headers=_HEADERS, media_type="text/plain; charset=utf-8")

    job = f"{ROOT}/{{account}}/jobs/{{jobId}}/tasks"
    return [
        Route("/", page, methods=["GET"]),
        Route(ROOT, overview, methods=["GET"]),
        Route(job, tasks, methods=["GET"]),
        Route(f"{job}/{{taskId}}/{{stream}}", stream, methods=["GET"]),
    ]


def _account(account: Account) -> dict[str, Any]:
    jobs, schedules = list(account.jobs), list(account.job_schedules)
    return {
        "name": account.name,
        "pools": [_pool(pool) for pool in account.pools],
        "jobs": [_job(job) for job in reversed(jobs[-_NEWEST_JOBS:])],
        "olderJobs": max(0, len(jobs) - _NEWEST_JOBS),
        "schedules": [_schedule(schedule) for schedule in reversed(schedules[-_NEWEST_JOBS:])],
        "olderSchedules": max(0, len(schedules) - _NEWEST_JOBS),
    }


def _pool(pool: Pool) -> dict[str, Any]:
    model = pool.model
    return {
        "id": pool.id,
        "state": pool.state,
        "allocation": model["allocationState"],
        "vmSize": model["vmSize"],
        "slots": model["taskSlotsPerNode"],
        "autoScale": bool(model.get("enableAutoScale")),
        "targets": [model.get("targetDedicatedNodes", 0), model.get("targetLowPriorityNodes", 0)],
        "errors": [f"{error['code']}: {error['message']}" for error in model.get("resizeErrors") or ()],
        "nodes": [_node(node) for node in pool.nodes],
    }


def _node(node: Node) -> dict[str, Any]:
    shown = {
        "id": node.id,
        "state": node.state,
        "spot": not node.model["isDedicated"],
        "tasks": node.model["runningTasksCount"],
    }
    if node.model["schedulingState"] == "disabled":
        shown["offline"] = True
    failure = (node.model.get("startTaskInfo") or {}).get("failureInfo")
    if node.state == "starttaskfailed" and failure:
        shown["why"] = f"{failure.get('code')}: {failure.get('message')}"
    return shown


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": job.state,
        "pool": job.pool_id,
        "counts": [job.counts[state] for state in ("active", "running", "succeeded", "failed")],
    }


def _schedule(schedule: JobSchedule) -> dict[str, Any]:
    information = schedule.model["executionInfo"]
    recent = (information.get("recentJob") or {}).get("id", "")
    return {
        "id": schedule.id,
        "state": schedule.state,
        "nextRun": information.get("nextRunTime", ""),
        "recentJob": recent,
        "isThere": recent in schedule.account.jobs,  # else it was deleted, and has no tasks to show
    }


def _tasks(job: Job, after: str) -> dict[str, Any]:
    """Some of a job's tasks in the order of creation, and where the next ones begin."""
    start = int(after) if after.isascii() and after.isdecimal() and len(after) < 19 else 0
    found, following = job.tasks.page(start, _TASKS, None)
    shown = []
    for task in found:
        execution = task.execution
        failure = execution.get("failureInfo")
        shown.append(
            {
                "id": task.id,
                "state": task.state,
                "result": execution.get("result"),
                "exitCode": execution.get("exitCode"),
                "retries": execution["retryCount"],
                "node": task.node.id if task.node is not None else "",
                "failure": f"{failure['code']}: {failure['message']}" if failure else "",
                "files": task.node is not None,
            }
        )
    return {"tasks": shown, "next": following}


def _tail(path: Path) -> str:
    """The end of a file, as text."""
    if not path.is_file():
        raise OperationInvalidForCurrentState(Reason="that is not a file")
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        text = file.read(_TAIL).decode(errors="replace")
    return text if size <= _TAIL else f"[the last {_TAIL >> 10} KiB of {size:,} bytes]\n{text}"
