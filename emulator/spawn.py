"""Starts a program by posix_spawn, called so that other threads go on while the program is being loaded.

`subprocess` and `os.posix_spawn` hold the interpreter still until the new program has been loaded: half a millisecond
and, on a busy machine, many. Everything that a task's process needs before it can be done by posix_spawn itself: its
own session, its directory, its three files.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence

_LIBC = ctypes.CDLL(None, use_errno=False)  # CDLL lets other threads run during a call, unlike PyDLL
_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80  # spawn.h of glibc and musl
_STRUCTURE = 1024  # bytes; glibc's structures have at most 336
_SIGSET = 128
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # a program expects them not to be


def program(name: str, environment: Mapping[str, str]) -> str:
    """The file of a program: as it is named, or looked up on the environment's PATH.

    Raises:
        FileNotFoundError: when it is not there.
    """
    if "/" in name:
        return name
    path = environment.get("PATH", os.defpath)
    found = shutil.which(name, path=path) or shutil.which(name, mode=os.F_OK, path=path)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return found


def prepared(
    arguments: Sequence[str], environment: Mapping[str, str], directory: str, files: Sequence[tuple[str, int]]
) -> Callable[[], int]:
    """A call, for any thread, that starts a program in a session of its own and returns its process id.

    `files` are the paths and flags to open as its descriptors 0, 1, ...; of this process's descriptors it gets those
    that are inheritable, and Python makes none so. The call raises OSError when the program cannot be started.

    Raises:
        FileNotFoundError: when there is no such program on the PATH.
        ValueError: when a text holds a NUL character.
    """
    path = _encoded(program(arguments[0], environment))
    argv = _vector(arguments)
    envp = _vector(f"{name}={value}" for name, value in environment.items())
    opened = [(_encoded(name), flags) for name, flags in files]
    cwd = _encoded(directory)

    def start() -> int:
        actions, attributes = ctypes.create_string_buffer(_STRUCTURE), ctypes.create_string_buffer(_STRUCTURE)
        _check(_LIBC.posix_spawn_file_actions_init(actions), directory)
        _check(_LIBC.posix_spawnattr_init(attributes), directory)
        try:
            _attributes(attributes)
            for descriptor, (name, flags) in enumerate(opened):
                _check(_LIBC.posix_spawn_file_actions_addopen(actions, descriptor, name, flags, 0o666), directory)
            _check(_LIBC.posix_spawn_file_actions_addchdir_np(actions, cwd), directory)
            pid = ctypes.c_int()
            _check(_LIBC.posix_spawn(ctypes.byref(pid), path, actions, attributes, argv, envp), arguments[0])
            return pid.value
        finally:
            _LIBC.posix_spawn_file_actions_destroy(actions)
            _LIBC.posix_spawnattr_destroy(attributes)

    return start


def _attributes(attributes: ctypes.Array[ctypes.c_char]) -> None:
    signals = ctypes.create_string_buffer(_SIGSET)
    _LIBC.sigemptyset(signals)
    _LIBC.posix_spawnattr_setsigmask(attributes, signals)
    for signum in _IGNORED_BY_PYTHON:
        _LIBC.sigaddset(signals, int(signum))
    _LIBC.posix_spawnattr_setsigdefault(attributes, signals)
    flags = ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID)
    _check(_LIBC.posix_spawnattr_setflags(attributes, flags), "")


def _check(error: int, name: str) -> None:
    if error:
        raise OSError(error, os.strerror(error), name)  # FileNotFoundError and the like, by the number


def _encoded(text: str) -> bytes:
    if "\0" in text:
        raise ValueError("embedded null byte")
    return os.fsencode(text)


def _vector(texts: Iterable[str]) -> ctypes.Array[ctypes.c_char_p]:
    encoded = [_encoded(text) for text in texts]
    return (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)
