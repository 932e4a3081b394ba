"""The files of a task or node as Batch's files API shows them, and nothing outside its directory."""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from emulator.clock import written
from emulator.errors import FileNotFound, InvalidRange, NodeFileError

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MOST_LISTED = 100_000  # entries of one directory tree


def inside(root: Path, path: str) -> Path:
    """The file or directory that a path names below a root.

    Raises:
        FileNotFound: when there is none, the path (or a link on it) leads elsewhere, or it is a pipe or the like,
            which nobody could read to its end.
    """
    found = root / path.replace("\\", "/").lstrip("/")
    try:
        resolved = found.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        raise FileNotFound from None
    # Of the root itself no link is followed: a task can put one in its own directory's place.
    if not resolved.is_relative_to(root) or not (resolved.is_file() or resolved.is_dir()):
        raise FileNotFound
    return resolved


def legible(name: str) -> str:
    """A file's name as text, though it may be no UTF-8 on the disk."""
    return os.fsencode(name).decode(errors="replace")


def listed(root: Path, url: str, *, recursive: bool, most: int = _MOST_LISTED) -> list[dict[str, Any]]:
    """What is in a directory, as at most so many list items; links that lead out of it, and pipes, are left out."""
    found = []
    for entry in _entries(root, recursive=recursive):
        name = entry.relative_to(root).as_posix()
        try:
            path = inside(root, name)
            found.append(item(path, legible(name), f"{url}/files/{quote(os.fsencode(name))}"))
        except (FileNotFound, OSError):
            continue  # gone meanwhile, a pipe, or a link out of the directory
        if len(found) == most:
            break
    return sorted(found, key=lambda entry: entry["name"])


def _entries(root: Path, *, recursive: bool) -> Iterator[Path]:
    if not recursive:
        yield from root.iterdir()
        return
    for directory, directories, names in os.walk(root):
        for name in directories + names:
            yield Path(directory, name)


def item(path: Path, name: str, url: str) -> dict[str, Any]:
    """One file or directory as a list shows it; directories have no properties."""
    if path.is_dir():
        return {"name": name, "url": url, "isDirectory": True}
    return {"name": name, "url": url, "isDirectory": False, "properties": properties(path)}


def properties(path: Path) -> dict[str, Any]:
    """Size, times, type and mode of a file."""
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    kind = mimetypes.guess_type(path.name)[0]
    return {
        "lastModified": written(modified),
        "contentLength": str(status.st_size),
        "contentType": "text/plain" if kind == "text/plain" else "application/octet-stream",
        "fileMode": f"{status.st_mode:o}",
    }


def byte_range(header: str | None, size: int) -> tuple[int, int]:
    """The first byte and the one after the last that an `ocp-range` asks for.

    Raises:
        InvalidRange: when the file has no such part.
    """
    if not header:
        return 0, size
    found = _RANGE.fullmatch(header.strip())
    if not found or len(header) > 60 or not (found[1] or found[2]):
        raise InvalidRange
    if not found[1]:
        return max(0, size - int(found[2])), size
    start = int(found[1])
    stop = min(size, int(found[2]) + 1) if found[2] else size
    if start >= stop and not start == size == 0:
        raise InvalidRange
    return start, stop


def remove_tree(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove what is at a path of the emulator's own; a task's link there, or on the way, is not followed.

    Raises:
        OSError: when it cannot be removed, or a link is on the way to it; unless errors are ignored.
    """
    try:
        if path.parent.resolve() != path.parent:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        if path.is_dir() and not path.is_symlink():
            _remove_directory(path)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        if not ignore_errors:
            raise


def _remove_directory(path: Path) -> None:
    """Remove a directory, also one that a task took the permissions from: Azure's agent, as root, is above those."""
    try:
        shutil.rmtree(path)
    except PermissionError:
        for directory in _directories(path):
            directory.chmod(stat.S_IRWXU)
        shutil.rmtree(path)


def _directories(path: Path) -> Iterator[Path]:
    """A directory and all below it, each before what is in it is looked for; no link is followed."""
    yield path
    for entry in list(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            yield from _directories(entry)


def remove(path: Path, *, recursive: bool) -> None:
    """Remove a file, or a directory that is empty or may go with all in it.

    Raises:
        NodeFileError: when it cannot be removed.
    """
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
        elif recursive:
            _remove_directory(path)
        else:
            path.rmdir()
    except OSError as error:
        raise NodeFileError(Reason=error.strerror) from None
