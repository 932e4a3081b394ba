"""The native counter, topn-count: chosen by this machine's architecture, checked, tried on a sample, then run.

Beside this file lie `count-MACHINE-static` or `count-MACHINE-system` and `engines.json`, which has their SHA-256.
The program reads a file, or text from its stdin, and writes to stdout lines `NAME TAB NUMBER`, an empty line, and
rows of the top words; all rows, sorted, go to the file descriptor of `--table-file`. It ends with the exit statuses
of failures.py and a line on stderr.
"""

from __future__ import annotations

import json
import os
import pathlib
import select
import signal
import threading
import time
from collections.abc import Iterable, Sequence

from counted import Counted
from failures import MEMORY, Failure, on_disk, why
from source import Source
from tables import TableFile
from words import BOM, Rules, folded_characters

KINDS = ("static", "system")  # the static one runs on any distribution
PYTHON_BYTES = 24 << 20  # what this process itself holds of the memory limit
THREAD_FEWEST_BYTES = 16 << 20  # memory worth a thread
PART_FEWEST_BYTES = 64 << 20  # of a file; below, one thread is as fast
READ_BYTES = 1 << 20
TRIAL_SECONDS = 10
SAMPLE = (
    BOM + "The the THE, (the) don't\tStraße STRASSE İ ΐ\u00a0x\u2003y\r\ne\u0301 žluťoučký \u3000".encode()
    + b"\xff\xfe \xc3 \xe2\x80 \xf0\x9f\x98 a\x00b \x1c z\x85z " + b"... w" + b"o" * 40 + b"rd wo\n\n" * 3
)  # fmt: skip


class Refused(Exception):
    """There is no native counter that can be trusted here; the text says why."""


def find_engine(here: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """The native counter for this machine, checked and tried. Raises Refused."""
    import hashlib

    machine = os.uname().machine
    path = next((p for kind in KINDS if (p := here / f"count-{machine}-{kind}").exists()), None)
    if path is None:
        raise Refused(f"there is no native counter for {machine}")
    try:
        known = json.loads((here / "engines.json").read_text("utf-8"))
        content = path.read_bytes()
        if not isinstance(known, dict) or hashlib.sha256(content).hexdigest() != known.get(path.name):
            raise Refused(f"{path.name} is not the file that engines.json tells of")
        if not os.access(path, os.X_OK):  # a resource file comes without that permission
            work.mkdir(exist_ok=True)
            path = work / path.name
            path.write_bytes(content)
            path.chmod(0o700)
    except (OSError, ValueError) as error:
        raise Refused(f"{path.name} cannot be checked: {error}") from None
    try_engine(path)
    return path


def try_engine(path: pathlib.Path) -> None:
    """Count a small sample and compare. Raises Refused, whatever the program does."""
    from stdlib_counter import StdlibCounter

    try:
        said = Running(path, ["--top", "100", "-"], text=SAMPLE, seconds=TRIAL_SECONDS).result()
    except (Failure, OSError) as error:
        raise Refused(f"{path.name} does not work here: {error}") from None
    oracle = StdlibCounter(Rules(), 64 << 20, path.parent)
    oracle.read([SAMPLE])
    words = sorted(oracle.tally.words.items(), key=lambda item: (-item[1], item[0]))
    if (said.top, said.total, said.text_bytes) != (words, sum(oracle.tally.words.values()), len(SAMPLE)):
        raise Refused(f"{path.name} counts a sample wrongly")


def count(
    engine: pathlib.Path,
    source: Source,
    rules: Rules,
    *,
    listed: int,
    table: TableFile | None,
    memory_bytes: int,
    threads: int,
    directory: pathlib.Path,
) -> Counted:
    """Count the words of a source with a checked engine. Raises Failure."""
    memory_bytes -= PYTHON_BYTES
    most = min(threads, memory_bytes // THREAD_FEWEST_BYTES, (source.size or 0) // PART_FEWEST_BYTES)
    arguments = ["--top", str(listed), "--memory-bytes", str(memory_bytes), "--directory", os.curdir]
    arguments += ["--threads", str(max(1, most) if source.divisible else 1)]
    arguments += rule_arguments(rules, directory)
    if source.divisible:
        counted = Running(engine, [*arguments, "--", source.path], table=table).result()
        source.bytes = counted.text_bytes
        return counted
    return Running(engine, [*arguments, "-"], blocks=source.blocks(), table=table).result()


def merge_rows(
    engine: pathlib.Path, rows: Iterable[bytes], *, listed: int, table: TableFile | None, memory_bytes: int
) -> Counted:
    """Add up rows of any order; a row of no word and a number says how often those that follow count.

    Raises Failure.
    """
    arguments = ["--rows", "--top", str(listed), "--memory-bytes", str(memory_bytes), "--directory", os.curdir, "-"]
    return Running(engine, arguments, blocks=rows, table=table).result()


def rule_arguments(rules: Rules, directory: pathlib.Path) -> list[str]:
    """The options for words. What folding and stop words are is this Python's word, so it goes in files."""
    arguments = []
    try:
        if rules.fold_case or rules.stop_words:
            directory.mkdir(exist_ok=True)
        if rules.min_length > 1:
            arguments += ["--min-length", str(rules.min_length)]
        if rules.fold_case:
            lines = "".join(f"{code}\t{folded}\n" for code, folded in folded_characters())
            (directory / "fold").write_text(lines, "utf-8")
            arguments += ["--fold", str(directory / "fold")]
        if rules.stop_words:
            (directory / "stop-words").write_text("".join(f"{word}\n" for word in rules.stop_words), "utf-8")
            arguments += ["--stop-words", str(directory / "stop-words")]
    except OSError as error:
        raise on_disk(error, "writing the options for the native counter") from None
    return arguments


class Running:
    """The native counter at work. It gets `text`, or `blocks` while it reads, or nothing on its stdin.

    subprocess would do this, and cost as much as counting a small file.
    """

    def __init__(
        self,
        engine: pathlib.Path,
        arguments: Sequence[str],
        *,
        text: bytes | None = None,
        blocks: Iterable[bytes] | None = None,
        table: TableFile | None = None,
        seconds: float | None = None,
    ) -> None:
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._blocks, self._table = blocks, table
        self._broken: BaseException | None = None  # what ended the blocks
        fed = text is not None or blocks is not None
        stdin, self._stdin = os.pipe() if fed else (os.open(os.devnull, os.O_RDONLY), -1)
        self._stdout, stdout = os.pipe()
        self._stderr, stderr = os.pipe()
        given = [stdin, stdout, stderr]
        if table is not None:
            self._rows, rows = os.pipe()
            os.set_inheritable(rows, True)
            given.append(rows)
            arguments = ["--table-file", str(rows), *arguments]
        actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(given[:3])]
        try:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("TOPN_")}
            self._process = os.posix_spawn(engine, [str(engine), *arguments], environment, file_actions=actions)
        except OSError as error:
            self._close()
            raise Failure(1, f"cannot start {engine.name}: {why(error)}") from None
        finally:
            for end in given:
                os.close(end)
        if text is not None:
            self._feed([text])

    def result(self) -> Counted:
        """Wait for its end. Raises Failure."""
        feeding = threading.Thread(target=self._feed, args=(self._blocks,)) if self._blocks is not None else None
        if feeding:
            feeding.start()
        try:
            if self._table is not None:
                while rows := os.read(self._rows, READ_BYTES):
                    self._table.write(rows)
            said, complaint = self._read(self._stdout), self._read(self._stderr)
        except BaseException:
            os.kill(self._process, signal.SIGKILL)
            raise
        finally:
            _, status = os.waitpid(self._process, 0)
            if feeding:
                feeding.join()
            self._close()
        if self._broken:
            raise self._broken
        self._check(os.waitstatus_to_exitcode(status), complaint.decode("utf-8", "replace").strip())
        try:
            return as_counted(said)
        except (ValueError, KeyError):
            raise Failure(1, "the native counter's answer makes no sense") from None

    def _feed(self, blocks: Iterable[bytes]) -> None:
        try:
            for block in blocks:
                view = memoryview(block)
                while view:
                    view = view[os.write(self._stdin, view) :]
        except BrokenPipeError:
            pass  # it has ended, and its status says why
        except BaseException as error:  # told by result(), in the main thread
            self._broken = error
        finally:
            os.close(self._stdin)
            self._stdin = -1

    def _read(self, pipe: int) -> bytes:
        pieces = []
        while True:
            if self._deadline is not None:
                left = max(0.0, self._deadline - time.monotonic())
                if not select.select([pipe], [], [], left)[0]:
                    raise Failure(1, "it did not end in time")
            piece = os.read(pipe, READ_BYTES)
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)

    def _check(self, code: int, complaint: str) -> None:
        if code == -signal.SIGKILL:
            raise Failure(MEMORY, "the native counter was killed (signal 9), most likely for its memory")
        if code != 0:
            raise Failure(code if code > 0 else 1, complaint or f"the native counter ended with {code}")

    def _close(self) -> None:
        for pipe in (self._stdout, self._stderr, self._stdin, getattr(self, "_rows", -1)):
            if pipe >= 0:
                os.close(pipe)


def as_counted(said: bytes) -> Counted:
    """What the program said. Raises ValueError or KeyError when it is something else."""
    head, _, rows = said.partition(b"\n\n")
    figures = {name: int(number) for name, number in (line.split(b"\t") for line in head.split(b"\n"))}
    top = []
    for row in rows.split(b"\n")[:-1]:
        word, number = row.split(b"\t")
        top.append((word.decode("utf-8"), int(number)))
    return Counted(
        top,
        total=figures[b"total"],
        distinct=figures[b"distinct"],
        overlong=figures[b"overlong"],
        text_bytes=figures[b"bytes"],
    )
