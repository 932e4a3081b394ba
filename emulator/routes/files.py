"""Operations on the files of tasks and nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import anyio
import isodate
from azure.batch.models import BatchNodeFile
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from emulator import clock, faults, files
from emulator.errors import FileNotFound, OperationInvalidForCurrentState, TaskFilesCleanedup, TaskFilesUnavailable
from emulator.routes.nodes import node_of
from emulator.routes.tasks import task_of
from emulator.task import Task
from emulator.wire import account_of, check_conditions, done, page

_CHUNK = 1 << 16  # bytes


def _task_root(request: Request) -> tuple[Path, str]:
    """The directory of the task that the path names, and its URL."""
    task = task_of(request)
    return task_directory(task), task.model["url"]


def task_directory(task: Task) -> Path:
    """The directory of a task.

    Raises:
        TaskFilesUnavailable, TaskFilesCleanedup, OperationInvalidForCurrentState: when there is none (any more).
    """
    if task.node is None or task.model.get("nodeInfo") is None:
        if task.state == "completed":
            raise TaskFilesUnavailable(
                "The files of the specified task cannot be accessed as the task moved to completed state "
                "without running"
            )
        raise OperationInvalidForCurrentState
    directory = task.node.job_directory(task.job) / task.id
    if not directory.is_dir():
        if task.node.gone:
            raise TaskFilesUnavailable
        if task.state == "completed":
            raise TaskFilesCleanedup
        raise OperationInvalidForCurrentState
    return directory


def _node_root(request: Request) -> tuple[Path, str]:
    node = node_of(request)
    if not node.directory.is_dir():
        raise OperationInvalidForCurrentState
    return node.directory, node.model["url"]


async def _list(request: Request, root: Path, url: str) -> Response:
    recursive = request.query_params.get("recursive", "").lower() == "true"
    listing = files.Listed(root, url, recursive)
    return await asyncio.to_thread(page, request, listing, BatchNodeFile, "files")


async def list_task_files(request: Request) -> Response:
    """A page of the files in a task's directory."""
    return await _list(request, *_task_root(request))


async def list_node_files(request: Request) -> Response:
    """A page of the files on a node."""
    return await _list(request, *_node_root(request))


def _headers(path: Path, url: str, name: str) -> dict[str, str]:
    headers = {
        "ocp-batch-file-isdirectory": str(path.is_dir()),
        "ocp-batch-file-url": f"{url}/files/{quote(name)}",
    }
    shown = files.properties(path)
    modified = clock.http_date(isodate.parse_datetime(shown["lastModified"]))
    headers |= {"Last-Modified": modified, "ocp-batch-file-mode": shown["fileMode"]}
    return headers


def _properties(request: Request, root: Path, url: str) -> Response:
    name = request.path_params["filePath"]
    path = files.inside(root, name)
    shown = files.properties(path)
    check_conditions(request, {"lastModified": shown["lastModified"]})
    size = "0" if path.is_dir() else shown["contentLength"]
    return Response(headers={**_headers(path, url, name), "Content-Length": size}, media_type=shown["contentType"])


async def get_task_file_properties(request: Request) -> Response:
    """Size, time and mode of a task's file."""
    return _properties(request, *_task_root(request))


async def get_node_file_properties(request: Request) -> Response:
    """Size, time and mode of a node's file."""
    return _properties(request, *_node_root(request))


async def _download(request: Request, root: Path, url: str) -> Response:
    name = request.path_params["filePath"]
    path = files.inside(root, name)
    if path.is_dir():
        raise OperationInvalidForCurrentState(Reason="the path names a directory")
    shown = files.properties(path)
    check_conditions(request, {"lastModified": shown["lastModified"]})
    start, stop = files.byte_range(request.headers.get("ocp-range"), path.stat().st_size)
    headers = {**_headers(path, url, name), "Content-Length": str(stop - start)}
    return StreamingResponse(_part(request, path, start, stop), headers=headers, media_type=shown["contentType"])


async def _part(request: Request, path: Path, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes from `start` to before `stop`: as many as promised, though the file may grow meanwhile.

    When it shrinks the connection is closed: the client would wait for the rest for ever.
    """
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(start)
        while start < stop and (chunk := await file.read(min(_CHUNK, stop - start))):
            start += len(chunk)
            yield chunk
    if start < stop:
        faults.cut(request.scope)
        await asyncio.Event().wait()  # until the answer is cancelled, as its client is gone


async def download_task_file(request: Request) -> Response:
    """The content of a task's file, or the part that `ocp-range` names."""
    return await _download(request, *_task_root(request))


async def download_node_file(request: Request) -> Response:
    """The content of a node's file, or the part that `ocp-range` names."""
    return await _download(request, *_node_root(request))


def _delete(request: Request, root: Path) -> Response:
    recursive = request.query_params.get("recursive", "").lower() == "true"
    path = files.inside(root, request.path_params["filePath"])
    if path == root:
        raise FileNotFound  # a path such as `.`: the directory of a task or node is nobody's file
    files.remove(path, account_of(request).service.removal, recursive=recursive)
    return done(200)


async def delete_task_file(request: Request) -> Response:
    """Remove a file or directory of a task."""
    return _delete(request, _task_root(request)[0])


async def delete_node_file(request: Request) -> Response:
    """Remove a file or directory of a node."""
    return _delete(request, _node_root(request)[0])
