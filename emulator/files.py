"""The files of a task or node as Batch's files API shows them, and nothing outside its directory."""

from __future__ import annotations

import errno
import mimetypes
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from azure.batch.models import BatchNodeFile

from emulator.clock import written
from emulator.errors import FileNotFound, InvalidRange, NodeFileError
from emulator.removal import Removal

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_MOST_LISTED = 100_000  # entries of one directory tree
_UNREADABLE = "\ufffd"  # stands for what is no UTF-8


def inside(root: Path, path: str) -> Path:
    """The file or directory that a path names below a root.

    Raises:
        FileNotFound: when there is none, the path (or a link on it) leads elsewhere, or it is a pipe or the like,
            which nobody could read to its end.
    """
    named = path.replace("\\", "/").lstrip("/")
    try:
        resolved, mode = reached(root / named)
    except (OSError, ValueError):
        if _UNREADABLE not in named:
            raise FileNotFound from None
        return inside(root, _spelled(root, named))
    # Of the root itself no link is followed: a task can put one in its own directory's place.
    if not resolved.is_relative_to(root) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FileNotFound
    return resolved


def reached(path: Path) -> tuple[Path, int]:
    """Where a path leads when links are followed, and the mode of what is there.

    Asked of the kernel at once: Path.resolve asks it for each directory on the way, and so takes long for a deep one.

    Raises:
        OSError, ValueError: when there is nothing, or its path is too long.
    """
    descriptor = os.open(path, os.O_PATH)
    try:
        status = os.fstat(descriptor)
        if not status.st_nlink:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return Path(f"/proc/self/fd/{descriptor}").readlink(), status.st_mode
    finally:
        os.close(descriptor)


def _spelled(root: Path, named: str) -> str:
    """A path as it is on the disk, whose names that are no UTF-8 a client knows with replacement characters.

    Raises:
        FileNotFound: when there is none.
    """
    parts: list[str] = []
    for part in named.split("/"):
        if _UNREADABLE not in part:
            parts.append(part)
            continue
        directory = inside(root, "/".join(parts))
        try:
            alike = [name for name in os.listdir(directory) if legible(name) == part]  # noqa: PTH208 - names are enough
        except OSError:
            raise FileNotFound from None
        if not alike:
            raise FileNotFound
        parts.append(min(alike))
    found = "/".join(parts)
    if found == named:
        raise FileNotFound  # it is spelled so, and was not there
    return found


def legible(name: str) -> str:
    """A file's name as text, though it may be no UTF-8 on the disk."""
    return os.fsencode(name).decode(errors="replace")


@dataclass(frozen=True)
class Listed:
    """The files in a directory, for a page of them: the names of all are looked up, but only what is shown is read."""

    root: Path
    url: str
    recursive: bool

    def page(self, after: int, size: int, wanted: Callable[[Any], bool] | None) -> tuple[list[Entry], int | None]:
        """As that of other listings; the serial is the place among the sorted names."""
        names = listed(self.root, recursive=self.recursive)
        found: list[Entry] = []
        for serial, name in enumerate(names[after:], start=after + 1):
            try:
                model = BatchNodeFile(
                    item(inside(self.root, name), legible(name), f"{self.url}/files/{quote(os.fsencode(name))}")
                )
            except (FileNotFound, OSError):
                continue  # gone meanwhile
            if wanted is not None and not wanted(model):
                continue
            if len(found) == size:
                return found, found[-1].serial
            found.append(Entry(serial, model))
        return found, None


@dataclass(frozen=True)
class Entry:
    """A file in a list, and its place there."""

    serial: int
    model: BatchNodeFile


def listed(root: Path, *, recursive: bool, most: int = _MOST_LISTED) -> list[str]:
    """The names, at most so many, of what is in a directory, sorted.

    Left out are links that lead out of it, pipes, and what is deeper than a path can be long.
    """
    found: list[str] = []
    pending = [""]
    while pending:
        above = pending.pop()
        for name, is_directory in _entries(root, above):
            found.append(name)
            if len(found) == most:
                return sorted(found)
            if is_directory and recursive:
                pending.append(f"{name}/")
    return sorted(found)


def _entries(root: Path, above: str) -> Iterator[tuple[str, bool]]:
    """The name of each file and directory in a directory below a root, and whether it is a directory and no link."""
    try:
        directory = os.open(f"{root}/{above}".rstrip("/"), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return  # gone meanwhile, not to be read, or too deep
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = above + entry.name
                is_directory = entry.is_dir(follow_symlinks=False)
                if is_directory or entry.is_file(follow_symlinks=False) or (entry.is_symlink() and _leads(root, name)):
                    yield name, is_directory
    except OSError:
        return
    finally:
        os.close(directory)


def _leads(root: Path, name: str) -> bool:
    """Whether a link leads to a file or directory below the root."""
    try:
        inside(root, name)
    except FileNotFound:
        return False
    return True


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


def remove(path: Path, removal: Removal, *, recursive: bool) -> None:
    """Remove a file, or a directory that is empty or may go with all in it.

    Raises:
        NodeFileError: when it cannot be removed.
    """
    try:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
        elif recursive:
            removal.discard(path)
        else:
            path.rmdir()
    except OSError as error:
        raise NodeFileError(Reason=error.strerror) from None
