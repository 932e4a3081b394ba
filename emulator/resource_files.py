"""Fetches a task's resource files into its working directory, and tells in Batch's codes why it cannot."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath

import httpx
from azure.batch.models import BatchTaskFailureInfo, ResourceFile
from azure.core.exceptions import AzureError
from azure.storage.blob.aio import ContainerClient

from emulator import storage
from emulator.errors import MissingRequiredProperty, invalid

_USER, _SERVER = "usererror", "servererror"
_CHUNK = 1 << 20  # bytes


class ResourceFileError(Exception):
    """A resource file could not be laid down: the task ends before its command is run, without a retry."""

    def __init__(self, category: str, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.failure = BatchTaskFailureInfo(
            {
                "category": category,
                "code": code,
                "message": message,
                "details": [{"name": name, "value": value} for name, value in details.items()],
            }
        )


def check(resource_file: ResourceFile, path: str) -> None:
    """Refuse a resource file that names no source, or more than one, or a path that leads elsewhere."""
    sources = [
        name for name in ("httpUrl", "storageContainerUrl", "autoStorageContainerName") if resource_file.get(name)
    ]
    if len(sources) != 1:
        raise invalid(path, ", ".join(sources), "exactly one of httpUrl, storageContainerUrl, autoStorageContainerName")
    if sources == ["httpUrl"] and not resource_file.file_path:
        raise MissingRequiredProperty(PropertyName=f"{path}.filePath")
    if sources == ["httpUrl"] and resource_file.blob_prefix:
        raise invalid(f"{path}.blobPrefix", resource_file.blob_prefix, "only with a container")
    storage.check_identity(resource_file.identity_reference, path)
    if sources == ["autoStorageContainerName"] and resource_file.identity_reference is not None:
        raise invalid(f"{path}.identityReference", "", "only with httpUrl or storageContainerUrl")
    if resource_file.file_path is not None:
        inside = PurePosixPath(resource_file.file_path)
        if inside.is_absolute() or ".." in inside.parts:
            raise invalid(f"{path}.filePath", resource_file.file_path, "must stay inside the working directory")
    if resource_file.file_mode is not None:
        try:
            in_range = 0 <= int(resource_file.file_mode, 8) <= 0o7777
        except ValueError:
            in_range = False
        if not in_range:
            raise invalid(f"{path}.fileMode", resource_file.file_mode, "must be an octal file mode")


@dataclass(frozen=True)
class Sources:
    """Where resource files come from, for one node."""

    client: httpx.AsyncClient
    storage: storage.Storage


async def fetch(sources: Sources, resource_files: Iterable[ResourceFile], directory: Path) -> None:
    """Lay the resource files down in a working directory.

    Raises:
        ResourceFileError: for the first one that could not be.
    """
    for resource_file in resource_files:
        if resource_file.http_url and resource_file.identity_reference is not None:
            await _download_as_identity(sources, resource_file, directory)
        elif resource_file.http_url:
            await _download(sources, resource_file, directory)
        else:
            await _download_container(sources, resource_file, directory)


async def _download(sources: Sources, resource_file: ResourceFile, directory: Path) -> None:
    url, file_path = resource_file.http_url or "", resource_file.file_path or ""
    shown = storage.without_secrets(url)
    if sources.storage.expired(url):
        raise _refused(403, shown, file_path)
    try:
        async with sources.client.stream("GET", url) as response:
            if not response.is_success:
                raise _refused(response.status_code, shown, file_path)
            with _opened(directory, file_path, resource_file.file_mode) as file:
                async for chunk in response.aiter_bytes(_CHUNK):
                    write(file, chunk, file_path)
    except httpx.TimeoutException:
        raise _late(shown, file_path) from None
    # The last three: of a URL that is none, or whose port is none; the client's transport puts the latter in a group.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OverflowError, ExceptionGroup) as error:
        raise ResourceFileError(
            _SERVER,
            "BlobDownloadMiscError",
            f"Downloading a resource file failed ({type(error).__name__})",
            Url=shown,
            FilePath=file_path,
        ) from None


async def _download_as_identity(sources: Sources, resource_file: ResourceFile, directory: Path) -> None:
    url, file_path = resource_file.http_url or "", resource_file.file_path or ""
    assert resource_file.identity_reference is not None, "else it is downloaded by its URL alone"
    try:
        container, name = sources.storage.blob(url, resource_file.identity_reference)
    except storage.Refused as refused:
        raise _refused(refused.status or 0, storage.without_secrets(url), file_path) from None
    if not name:
        raise _refused(404, storage.without_secrets(url), file_path)
    async with container:
        await _download_blob(container, name, file_path, resource_file.file_mode, directory)


def _late(url: str, file_path: str) -> ResourceFileError:
    return ResourceFileError(
        _SERVER, "BlobDownloadTimedOut", "Downloading a resource file timed out", Url=url, FilePath=file_path
    )


async def _download_container(sources: Sources, resource_file: ResourceFile, directory: Path) -> None:
    url = resource_file.storage_container_url
    shown = storage.without_secrets(url) if url else resource_file.auto_storage_container_name or ""
    try:
        async with _container(sources, resource_file) as container:
            try:
                found = container.list_blob_names(name_starts_with=resource_file.blob_prefix)
                names = [name async for name in found]
            except (AzureError, ValueError, OverflowError) as error:
                raise _not_listed(storage.refusal(error), shown) from None
            for name in names:
                file_path = f"{resource_file.file_path}/{name}" if resource_file.file_path else name
                await _download_blob(container, name, file_path, resource_file.file_mode, directory)
    except storage.Refused as refused:
        raise _not_listed(refused, shown) from None


def _container(sources: Sources, resource_file: ResourceFile) -> ContainerClient:
    if resource_file.storage_container_url:
        return sources.storage.container(resource_file.storage_container_url, resource_file.identity_reference)
    if sources.storage.auto is None:
        raise ResourceFileError(
            _USER, "ResourceContainerAccessDenied", "The account has no auto storage: see --auto-storage"
        )
    return sources.storage.auto_container(resource_file.auto_storage_container_name or "")


async def _download_blob(
    container: ContainerClient, name: str, file_path: str, file_mode: str | None, directory: Path
) -> None:
    try:
        stream = await container.download_blob(name)
        with _opened(directory, file_path, file_mode) as file:
            async for chunk in stream.chunks():
                write(file, chunk, file_path)
    except (AzureError, ValueError, OverflowError) as error:
        refused = storage.refusal(error)
        if refused.timed_out:
            raise _late(name, file_path) from None
        raise _refused(refused.status or 0, name, file_path) from None


def _not_listed(refused: storage.Refused, url: str) -> ResourceFileError:
    category, code, message = {
        404: (_USER, "ResourceContainerNotFound", "The container of the resource files is not found"),
        403: (
            _USER,
            "ResourceContainerAccessDenied",
            "Access to the container of the resource files is denied",
        ),
    }.get(
        refused.status or 0,
        (_SERVER, "ResourceContainerListMiscError", "The container of the resource files cannot be listed"),
    )
    if refused.timed_out:
        code, message = (
            "ResourceContainerListTimedOut",
            "Listing the container of the resource files timed out",
        )
    return ResourceFileError(category, code, message, ContainerUrl=url)


def _refused(status: int, url: str, file_path: str) -> ResourceFileError:
    if status in (404, 410):
        return ResourceFileError(
            _USER,
            "BlobNotFound",
            "One of the specified Azure Blob(s) is not found",
            Url=url,
            FilePath=file_path,
        )
    if status in (401, 403):
        return ResourceFileError(
            _USER,
            "BlobAccessDenied",
            "Access for one of the specified Azure Blob(s) is denied",
            Url=url,
            FilePath=file_path,
        )
    return ResourceFileError(
        _SERVER,
        "BlobDownloadMiscError",
        f"Miscellaneous error while downloading one of the specified Azure Blob(s): HTTP {status}",
        Url=url,
        FilePath=file_path,
    )


def _opened(directory: Path, file_path: str, mode: str | None) -> FileIO:
    """The file to write, its directories made; never through a link that leads out of the directory."""
    target = directory / file_path
    root = directory.resolve()
    try:
        if not target.parent.resolve().is_relative_to(root):
            raise ResourceFileError(
                _USER, "ResourceDirectoryCreateFailed", "The path leads out of the task's directory"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceFileError(
            _SERVER, "ResourceDirectoryCreateFailed", f"{file_path}: {error.strerror}", FilePath=file_path
        ) from None
    permissions = int(mode or "0770", 8)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, permissions)
        os.fchmod(descriptor, permissions)
    except OSError as error:
        raise ResourceFileError(
            _SERVER, "ResourceFileCreateFailed", f"{file_path}: {error.strerror}", FilePath=file_path
        ) from None
    return FileIO(
        descriptor, "wb"
    )  # no buffer: a full disk is to show while the file is written, not when it is closed


def write(file: FileIO, chunk: bytes, file_path: str) -> None:
    """Write all of a chunk.

    Raises:
        ResourceFileError: when it cannot be, as the disk is full or otherwise.
    """
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        full = error.errno == errno.ENOSPC
        raise ResourceFileError(
            _SERVER,
            "DiskFull" if full else "ResourceFileWriteFailed",
            f"{file_path}: {error.strerror}",
            FilePath=file_path,
        ) from None
