"""Uploads a task's output files when its command has ended, and tells in Batch's codes why it cannot."""

from __future__ import annotations

import asyncio
import fnmatch
import os
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from azure.batch.models import BatchTaskFailureInfo, OutputFile, OutputFileBlobContainerDestination
from azure.core.exceptions import AzureError
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import ContainerClient

from emulator import storage
from emulator.errors import MissingRequiredProperty, invalid
from emulator.files import legible, reached
from emulator.removal import remove

_WILDCARDS = frozenset("*?[")
_HEADERS = {
    "content-type": "content_type",
    "content-encoding": "content_encoding",
    "content-language": "content_language",
    "content-disposition": "content_disposition",
    "cache-control": "cache_control",
}
_CODES = {404: "FileUploadContainerNotFound", 403: "FileUploadAccessDenied", 409: "FileUploadConflict"}
_MESSAGES = {
    "FileUploadContainerNotFound": "The destination container of an output file is not found",
    "FileUploadAccessDenied": "Access to the destination container of an output file is denied",
    "FileUploadConflict": "An output file conflicts with what is in the destination container",
    "FileUploadTimedOut": "Uploading an output file timed out",
    "FileUploadMiscError": "Uploading an output file failed",
}


def check(output_file: OutputFile, path: str) -> None:
    """Refuse an output file without a destination, or with headers that blobs do not have."""
    if not output_file.file_pattern:
        raise invalid(f"{path}.filePattern", output_file.file_pattern, "must not be empty")
    container = output_file.destination.container
    if container is None:
        raise MissingRequiredProperty(PropertyName=f"{path}.destination.container")
    storage.check_identity(container.identity_reference, f"{path}.destination.container")
    for header in container.upload_headers or ():
        if _settings_name(header.name) not in _HEADERS:
            raise invalid(
                f"{path}.destination.container.uploadHeaders",
                header.name,
                "must be one of " + ", ".join(sorted(_HEADERS)),
            )


def _settings_name(header: str) -> str:
    return header.lower().removeprefix("x-ms-blob-")


def _wanted(output_file: OutputFile, *, succeeded: bool) -> bool:
    condition = output_file.upload_options["uploadCondition"]
    return condition == "taskcompletion" or (condition == "tasksuccess") is succeeded


async def upload(
    output_files: Sequence[OutputFile],
    directory: Path,
    root: Path,
    environment: Mapping[str, str],
    reached: storage.Storage,
    *,
    succeeded: bool,
) -> BatchTaskFailureInfo | None:
    """Upload what a command left behind in `directory`; why that failed, if it did.

    Patterns reach no further than `root`, the node's directory. What is done is told in `fileuploadout.txt`,
    what goes wrong in `fileuploaderr.txt` beside stdout.txt.
    """
    wanted = [
        (output_file.file_pattern, output_file.destination.container)
        for output_file in output_files
        if output_file.destination.container is not None and _wanted(output_file, succeeded=succeeded)
    ]
    try:
        with _replaced(directory, "fileuploadout.txt") as told, _replaced(directory, "fileuploaderr.txt") as failed:
            return await _upload(wanted, directory, root, environment, reached, told, failed)
    except OSError:  # the task removed its directory, or put something else in its place
        if not wanted:
            return None
        pattern, destination = wanted[0]
        return _failure("FileUploadMiscError", pattern, storage.without_secrets(destination.container_url))


def _replaced(directory: Path, name: str) -> TextIO:
    """A new file in the place of whatever the task put there: a link or a pipe is not to be written to."""
    path = directory / name
    remove(path)
    return path.open("x")


async def _upload(
    wanted: Sequence[tuple[str, OutputFileBlobContainerDestination]],
    directory: Path,
    root: Path,
    environment: Mapping[str, str],
    reached: storage.Storage,
    told: TextIO,
    failed: TextIO,
) -> BatchTaskFailureInfo | None:
    failure = None
    for pattern, destination in wanted:
        found = await asyncio.to_thread(_found, pattern, destination.path, directory / "wd", root, environment)
        shown = storage.without_secrets(destination.container_url)
        _tell(told, f"{len(found)} files match {pattern!r}, for {shown}")
        try:
            await _upload_all(found, destination, reached)
        except storage.Refused as refused:
            code = "FileUploadTimedOut" if refused.timed_out else _CODES.get(refused.status or 0, "FileUploadMiscError")
            _tell(failed, f"{code}: {pattern!r} to {shown}: {refused}")
            failure = failure or _failure(code, pattern, shown)
    return failure


def _tell(file: TextIO, line: str) -> None:
    file.write(line + "\n")
    file.flush()


def _failure(code: str, pattern: str, url: str) -> BatchTaskFailureInfo:
    return BatchTaskFailureInfo(
        {
            "category": "servererror" if code in ("FileUploadTimedOut", "FileUploadMiscError") else "usererror",
            "code": code,
            "message": _MESSAGES[code],
            "details": [{"name": "FilePattern", "value": pattern}, {"name": "ContainerUrl", "value": url}],
        }
    )


async def _upload_all(
    found: Sequence[tuple[Path, str]], destination: OutputFileBlobContainerDestination, reached: storage.Storage
) -> None:
    settings = ContentSettings()
    for header in destination.upload_headers or ():
        setattr(settings, _HEADERS[_settings_name(header.name)], header.value)
    async with reached.container(destination.container_url, destination.identity_reference) as container:
        for path, name in found:
            await _upload_one(container, path, name, settings)


async def _upload_one(container: ContainerClient, path: Path, name: str, settings: ContentSettings) -> None:
    try:
        with path.open("rb") as file:
            await container.upload_blob(name, file, overwrite=True, content_settings=settings)
    except AzureError as error:
        raise storage.refusal(error) from None
    except OSError:
        raise storage.Refused(None) from None


def _found(
    pattern: str, prefix: str | None, working: Path, root: Path, environment: Mapping[str, str]
) -> list[tuple[Path, str]]:
    return list(_matches(pattern, prefix, working, root, environment))


def _matches(
    pattern: str, prefix: str | None, working: Path, root: Path, environment: Mapping[str, str]
) -> Iterator[tuple[Path, str]]:
    """The files that a pattern means, with the names of the blobs to be."""
    expanded = string.Template(pattern).safe_substitute(environment)
    if not _WILDCARDS & set(expanded):
        path = working / expanded
        if _is_file(path, root):
            yield path, prefix or path.name
        return
    # Below the last directory without a wildcard, blobs keep the files' directories.
    base = working
    *parents, last = Path(expanded).parts
    while parents and not _WILDCARDS & set(parents[0]):
        base = base / parents.pop(0)
    if not _inside(base, root):
        return
    parts: list[str] = []
    for part in (*parents, last):
        if part != "**" or parts[-1:] != ["**"]:  # two of them mean what one does
            parts.append(part)
    for path in sorted(set(_below(base, parts))):
        if _is_file(path, root):
            name = legible(os.path.relpath(path, base))
            yield path, f"{prefix.rstrip('/')}/{name}" if prefix else name


def _below(directory: Path, parts: list[str]) -> Iterator[Path]:
    """What these parts of a pattern match in a directory; hidden names are not, and links to directories not followed.

    Not the glob module, which follows links, and so never comes to an end where a task has made a ring of them.
    """
    pending = [(directory, parts)]
    while pending:
        place, (part, *rest) = pending.pop()
        try:
            with os.scandir(place) as found:
                entries = [entry for entry in found if part.startswith(".") or not entry.name.startswith(".")]
        except OSError:
            continue  # not to be read, or deeper than a path can be long
        if part == "**" and rest:
            pending.append((place, rest))
        for entry in entries:
            if part != "**" and not fnmatch.fnmatchcase(entry.name, part):
                continue
            below = [part, *rest] if part == "**" else rest
            if below and entry.is_dir(follow_symlinks=False):
                pending.append((Path(entry.path), below))
            elif not rest:
                yield Path(entry.path)


def _is_file(path: Path, root: Path) -> bool:
    """Whether a path leads to a file below the root."""
    return os.path.isfile(path) and _inside(path, root)  # noqa: PTH113 - Path.is_file raises for one that is too long


def _inside(path: Path, root: Path) -> bool:
    """Whether a path leads to something below the root."""
    try:
        return reached(path)[0].is_relative_to(root)
    except (OSError, ValueError):
        return False
