"""Removes directory trees: however deep, whatever a task did to them, and while the emulator goes on.

What is to go is renamed into a directory of its own, so that its place is free at once; a thread removes it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

_PLACE = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_BATCH = 10_000  # entries of a directory that are held in memory at once
_ATTEMPTS = 10  # at a directory in which somebody goes on writing
_PAUSE = 0.1  # seconds between them: until then, what an ended task left behind is ended
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)
_LOG = logging.getLogger("emulator")


class Removal:
    """Where goes what is to be removed, on the file system that it is on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._place: int | None = None  # the descriptor of the directory, once it is made
        self._names = map(str, itertools.count())
        self._thread = ThreadPoolExecutor(1, "remove")
        self._closing = False

    def discard(self, path: Path, *, ignore_errors: bool = False) -> None:
        """Take away what is at a path of the emulator's own, if anything; it is removed in the background.

        A task's link there, or on the way, is not followed.

        Raises:
            OSError: when it cannot be taken away, or a link is on the way to it; unless errors are ignored.
        """
        try:
            if self._taken_away(path):
                self._thread.submit(self._empty).add_done_callback(_tell)
        except OSError:
            if not ignore_errors:
                raise

    def _taken_away(self, path: Path) -> bool:
        """Whether there was something that has been renamed."""
        parent = _parent(path)
        if parent is None:
            return False
        try:
            _renamed(path.name, parent, next(self._names), self._made())
        except FileNotFoundError:
            if os.path.lexists(path):
                raise  # so it is the directory to rename to that is not there
            return False
        finally:
            os.close(parent)
        return True

    def _made(self) -> int:
        if self._place is None:
            self._directory.mkdir(exist_ok=True)
            self._place = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        return self._place

    def _empty(self) -> None:
        """Remove all that was taken away, also what could not be removed before."""
        place = self._made()
        for name in [] if self._closing else _listed(place):
            try:
                for _ in _removing(place, name):
                    if self._closing:
                        return  # the next emulator with this root removes it
            except OSError as error:
                _LOG.warning("%s cannot be removed yet: %s", self._directory / name, error.strerror)

    def close(self) -> None:
        """Remove no more."""
        self._closing = True
        self._thread.shutdown()
        if self._place is not None:
            os.close(self._place)


def _tell(done: Future[None]) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        _LOG.error("a fault of the emulator", exc_info=error)


def remove(path: Path) -> None:
    """Remove what is at a path of the emulator's own, if anything; a task's link there, or on the way, is not followed.

    Raises:
        OSError: when it cannot be removed, or a link is on the way to it.
    """
    parent = _parent(path)
    if parent is None:
        return
    try:
        for _ in _removing(parent, path.name):
            pass
    finally:
        os.close(parent)


def _parent(path: Path) -> int | None:
    """The directory that a path is in, opened; None when there is none.

    Raises:
        NotADirectoryError: when a link is on the way to it.
    """
    try:
        parent = os.open(path.parent, _PLACE)
    except FileNotFoundError:
        if path.parent.resolve() != path.parent:
            raise _led_astray(path) from None
        return None
    if Path(f"/proc/self/fd/{parent}").readlink() != path.parent:
        os.close(parent)
        raise _led_astray(path)
    return parent


def _led_astray(path: Path) -> NotADirectoryError:
    return NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def _removing(parent: int, name: str) -> Iterator[None]:
    """Remove what an open directory has by a name, step by step; no link is followed.

    Unlike shutil.rmtree without recursion: the directories in a tree are moved to its top, so neither the length of a
    path nor the number of open files grows with its depth. A task may have taken the permissions from some: Azure's
    agent, as root, is above those.
    """
    try:
        top = _opened(name, parent)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent)
        return
    try:
        for left in reversed(range(_ATTEMPTS)):
            yield from _emptying(top)
            try:
                os.rmdir(name, dir_fd=parent)
                return
            except OSError as error:
                if error.errno not in _TAKEN or not left:
                    raise
            time.sleep(_PAUSE)
            yield
    finally:
        os.close(top)


def _emptying(top: int) -> Iterator[None]:
    """Remove all that is in a directory, but for what comes into it meanwhile."""
    fresh = itertools.count()
    directories: list[str] = []
    for name, is_directory in _entries(top):
        if is_directory:
            directories.append(name)
        else:
            _unlink(name, top)
        yield
    while directories:
        place = directories.pop()
        try:
            directory = _opened(place, top)
        except (FileNotFoundError, NotADirectoryError):
            continue  # somebody else was quicker, or put something else there
        try:
            for name, is_directory in _entries(directory):
                if is_directory:
                    directories += _moved_up(name, directory, top, fresh)
                else:
                    _unlink(name, directory)
                yield
        finally:
            os.close(directory)
        with _still_written_to():
            os.rmdir(place, dir_fd=top)


@contextlib.contextmanager
def _still_written_to() -> Iterator[None]:
    """Leave a directory that is not empty again, or is gone: the one that it is in is looked through once more."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*_TAKEN, errno.ENOENT):
            raise


def _entries(directory: int) -> Iterator[tuple[str, bool]]:
    """The names in a directory whose entries are removed one after the other, and which are directories."""
    while True:
        with os.scandir(directory) as found:
            batch = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in itertools.islice(found, _BATCH)]
        yield from batch
        if len(batch) < _BATCH:
            return


def _listed(directory: int) -> list[str]:
    with os.scandir(directory) as found:
        return [entry.name for entry in found]


def _unlink(name: str, directory: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def _moved_up(name: str, directory: int, top: int, fresh: Iterator[int]) -> list[str]:
    """The name, if any, by which a directory is in the top one now."""
    for number in fresh:
        try:
            _renamed(name, directory, f".{number}", top)
        except FileNotFoundError:
            return []
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        else:
            return [f".{number}"]
    raise AssertionError("numbers do not end")


def _renamed(name: str, source: int, new: str, target: int) -> None:
    """Rename, also a directory that may not be written to, as its `..` has to be."""
    try:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
    except PermissionError:
        os.close(_opened(name, source))
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)


def _opened(name: str, parent: int) -> int:
    """A directory in an open one, opened to be emptied: its owner may do everything with it from then on.

    Raises:
        NotADirectoryError: when it is none, but a link to one, say.
    """
    place = os.open(name, _PLACE, dir_fd=parent)
    try:
        if os.fstat(place).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(f"/proc/self/fd/{place}", stat.S_IRWXU)  # noqa: PTH101 - this very directory, whatever its name
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=place)
    finally:
        os.close(place)
