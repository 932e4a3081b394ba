"""Starts a task's processes and sees to it that none outlives its task, the emulator, or a kill -9 of it.

Each task gets a session of its own, so its process group can be ended at once. What leaves the group becomes
a child of the emulator (a "subreaper") when its parent dies, and is found by a sweep after a task's end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from emulator import spawn

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_STARTERS = 4  # threads, each waiting for a program to be loaded
_SWEEP_AFTER = 0.2  # seconds between a task's end and another search for what it left behind
_LONGEST_CLEARING = 5.0  # seconds
_CLEARING_PAUSE = 0.002  # seconds
_PF_EXITING = 0x4  # linux/sched.h
_PART = 1 << 16  # bytes


class Process:
    """One started command, the leader of its own session."""

    def __init__(self, pid: int, pidfd: int, directory: Path) -> None:
        self.pid = pid
        self.directory = directory
        self.usage: resource.struct_rusage | None = None  # of it and of those that it waited for, when it has ended
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = pidfd
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        # The leader is a zombie until it is waited for, so its id cannot name another group yet.
        kill_group(self.pid)
        _, status, self.usage = os.wait4(self.pid, 0)
        self._ended.set_result(os.waitstatus_to_exitcode(status))

    async def wait(self) -> int:
        """The exit code; negative is the signal that ended it. The rest of its group is gone then."""
        return await asyncio.shield(self._ended)

    async def end(self) -> None:
        """Kill the process group and wait until its leader is gone."""
        if not self._ended.done():
            kill_group(self.pid)
        await self.wait()


class Processes:
    """All processes of the tasks under one root directory."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: dict[int, Process] = {}
        self._starting: set[Path] = set()  # the directories of tasks whose processes are about to be
        self._starters = ThreadPoolExecutor(_STARTERS, "start")
        self._sweep: asyncio.TimerHandle | None = None
        self._limit: tuple[int, int] | None = None  # of open files, for tasks, where it is not the emulator's own
        self._orphans: int | None = None  # the descriptor of the file that lists them, where the kernel has it

    def adopt(self) -> None:
        """Become the parent of whatever the tasks' processes orphan, instead of process 1."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot become the parent of orphaned processes")
        with contextlib.suppress(FileNotFoundError):
            # Kept open, so that it can be read when no more files can be opened.
            self._orphans = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)

    def raise_limit(self) -> None:
        """Let this process have as many open files as it may, one for each running command; tasks keep their limit."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            with contextlib.suppress(ValueError, OSError):  # the hard one may be more than the kernel allows by now
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                self._limit = soft, hard

    async def start(self, command_line: str, directory: Path, environment: dict[str, str]) -> Process:
        """Start a command in `directory`/wd, its output in `directory`/stdout.txt and stderr.txt.

        There is no shell: the line is split as a POSIX shell would and the program looked up on the PATH.

        Raises:
            FileNotFoundError: when there is no such program.
            OSError, ValueError: when it cannot be started, or the line cannot be split.
        """
        arguments = shlex.split(command_line)
        if not arguments:
            raise FileNotFoundError("the command line is empty")
        outputs = [(f"{directory}/{name}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("stdout", "stderr")]
        call = spawn.prepared(arguments, environment, f"{directory}/wd", [(os.devnull, os.O_RDONLY), *outputs])
        self._starting.add(directory)
        starting = asyncio.get_running_loop().run_in_executor(self._starters, started, call, self._limit)
        try:
            pid, pidfd = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await self._stillborn(starting, directory)
            raise
        finally:
            self._starting.discard(directory)
        process = self._running[pid] = Process(pid, pidfd, directory)
        return process

    @staticmethod
    async def _stillborn(starting: asyncio.Future[tuple[int, int]], directory: Path) -> None:
        """A task was ended while its process was being started: end that, once it is there."""
        await asyncio.wait([starting])
        if starting.exception() is None:
            await Process(*starting.result(), directory).end()

    def close(self) -> None:
        """Start no more."""
        self._starters.shutdown()
        if self._orphans is not None:
            os.close(self._orphans)
            self._orphans = None

    def ended(self, process: Process) -> None:
        """Forget a process that ended, and look for what it left behind a little later."""
        self._running.pop(process.pid, None)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_AFTER, self._swept)

    async def clear(self) -> None:
        """Wait until what ended tasks left behind is gone; a single system call when they left nothing."""
        deadline = time.monotonic() + _LONGEST_CLEARING
        while self.sweep():
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(_CLEARING_PAUSE)

    def _swept(self) -> None:
        self._sweep = None
        if self.sweep():
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_AFTER, self._swept)

    def sweep(self) -> int:
        """Kill the children that no running task accounts for; how many there were.

        A child whose environment still names its task is spared while that task runs; one that hid its origin
        is spared while any task runs.
        """
        found = 0
        for pid in self._adopted():
            if not self._spared(pid):
                found += 1
                _kill_tree(pid)
            elif _ending(pid):
                found += 1  # it tells nothing any more, and its children are not yet this process's
        return found

    def _spared(self, pid: int) -> bool:
        """Whether a running task may account for a child: by its environment, or else by where it is."""
        origin, place = _origin(pid), _cwd(pid) + "/"
        if origin is None and not place.startswith(f"{self._root}/"):
            return bool(self._running or self._starting)
        return any(
            origin == str(live) or (origin is None and place.startswith(f"{live}/"))
            for live in (*self._starting, *(process.directory for process in self._running.values()))
        )

    def _adopted(self) -> list[int]:
        """The children that were started by tasks; those that have ended are waited for, and left out."""
        living = []
        for pid in self._children():
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                    living.append(pid)
                elif self._orphans is not None or not self._starting:  # else it may have been started just now
                    os.waitpid(pid, os.WNOHANG)
        return living

    def _children(self) -> list[int]:
        """The children of this process that it did not start itself, zombies too.

        The kernel gives orphans to its main thread, and keeps a list for each thread; tasks are started by others.
        Not every kernel shows that list; then each process of the machine is asked for its parent.
        """
        if self._orphans is None:
            return [pid for pid in _pids() if pid not in self._running and _parent(pid) == os.getpid()]
        listed = b""
        while part := os.pread(self._orphans, _PART, len(listed)):
            listed += part
        return [int(pid) for pid in listed.split()]

    def strays(self) -> list[int]:
        """Every process on this machine that was started for a task under this root."""
        return self.strays_under(self._root)

    def strays_under(self, directory: Path) -> list[int]:
        """Every process that was started for a task with its directory below this one.

        One that hides its origin is known by being there, but only as an orphan: it is not somebody's shell.
        """
        inside = f"{directory}/"
        return [
            pid
            for pid in _pids()
            if pid != os.getpid()
            and ((_origin(pid) or "").startswith(inside) or (_cwd(pid).startswith(inside) and _orphaned(pid)))
        ]

    def end_strays(self, *, children: bool = False, seconds: float = 5.0) -> int:
        """Kill what still runs for tasks under this root, from whichever emulator; how many processes.

        With `children`, every child of this process too, whether or not it tells where it comes from.
        """
        ended: set[int] = set()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            strays = {*self.strays(), *(self._adopted() if children else ())}
            if not strays:
                break
            ended |= strays
            for pid in strays:
                _kill_tree(pid)
            time.sleep(0.02)
        return len(ended)


def started(call: Callable[[], int], limit: tuple[int, int] | None = None) -> tuple[int, int]:
    """Start a process, in any thread; its id, and a descriptor of it.

    It is given the limits, soft and hard, of open files right after its start.

    Raises:
        OSError: when it cannot be started, or there is no descriptor left for it: then it is ended, as nobody would.
    """
    pid = call()
    if limit is not None:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
    try:
        return pid, os.pidfd_open(pid)
    except OSError:
        kill_group(pid)
        os.waitpid(pid, 0)
        raise


def kill_group(pid: int) -> None:
    """Kill the process group that a process leads, if there still is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _kill_tree(pid: int) -> None:
    """Kill a process and, when it leads one, its group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            kill_group(pid)
        os.kill(pid, signal.SIGKILL)


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - a Path for each process would triple the cost
        if name.isdecimal():
            yield int(name)


def _status(pid: int) -> list[str]:
    """State, parent and so on, as in proc(5) from the third field on; nothing when there is no such process."""
    with contextlib.suppress(OSError):
        # The name in parentheses may hold anything.
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def _parent(pid: int) -> int:
    """The parent's id; 0 when there is no such process any more."""
    status = _status(pid)
    return int(status[1]) if status else 0


def _ending(pid: int) -> bool:
    """Whether a process is on its way out, but not yet a zombie."""
    status = _status(pid)
    return bool(status) and status[0] != "Z" and bool(int(status[6]) & _PF_EXITING)


def _orphaned(pid: int) -> bool:
    """Whether a process has outlived its parent: it belongs to process 1, to a user's systemd, or to us."""
    parent = _parent(pid)
    if parent in (1, os.getpid()):
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{parent}/comm").read_text().strip() == "systemd"
    return False


def _origin(pid: int) -> str | None:
    """The directory of the task that a process was started for, if its environment says."""
    with contextlib.suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == b"AZ_BATCH_TASK_DIR":
                return os.fsdecode(value)
    return None


def _cwd(pid: int) -> str:
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/cwd").readlink())
    return ""
