"""What a run is going to count: the input files, their names and their keys. Creates nothing."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import BadInput

NODE_TASK = Path(__file__).parent.parent / "node_task" / "top_words.py"
FORMAT = 1  # of the node task's JSON result; a new one makes new keys
BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class InputFile:
    """One input file: one Batch task, one result.

    `name` is unique in the run and safe as a path below a folder. `key` names what is counted and how, so
    identical files share it; `batch_task_id` is per file.
    """

    path: Path
    name: str  # relative to the folder that all inputs share
    size_bytes: int
    key: str  # 40 hex digits
    batch_task_id: str  # 40 hex digits


@dataclass(frozen=True)
class Plan:
    """The node task's script and the files that it will count, in the order given."""

    script: Path
    num_words: int
    files: tuple[InputFile, ...]

    @property
    def size_bytes(self) -> int:
        """All inputs together."""
        return sum(file.size_bytes for file in self.files)


def make_plan(inputs: Iterable[str], num_words: int) -> Plan:
    """Find and read the inputs (paths or globs) to name and key them. Raises BadInput naming the input at fault."""
    paths = find_files(inputs)
    script_digest = hashlib.sha256(NODE_TASK.read_bytes()).hexdigest()
    files = []
    for path, name in zip(paths, relative_names(paths), strict=True):
        digest, size_bytes = _digest(path)
        key = result_key(digest, script_digest, num_words)
        files.append(InputFile(path, name, size_bytes, key, batch_task_id(name, key)))
    return Plan(NODE_TASK, num_words, tuple(files))


def result_key(content_sha256: str, script_sha256: str, num_words: int) -> str:
    """What was counted and how: the same key, the same result."""
    counted = f"{content_sha256}\n{script_sha256}\nwords={num_words}\nformat={FORMAT}"
    return hashlib.sha256(counted.encode()).hexdigest()[:40]


def batch_task_id(name: str, key: str) -> str:
    """Two identical files are two Batch tasks. Ids take 64 characters of [A-Za-z0-9_-], so names do not fit."""
    return hashlib.sha256(f"{name}\n{key}".encode()).hexdigest()[:40]


def find_files(inputs: Iterable[str]) -> list[Path]:
    """The readable files that these paths and globs name, each once, in order. Raises BadInput."""
    found: dict[Path, None] = {}
    for pattern in inputs:
        for path in _matches(pattern):
            found[Path(os.path.abspath(path))] = None  # noqa: PTH100 - resolve() would make one of two symlinks
    if not found:
        raise BadInput("There is no input: name at least one file or pattern.")
    return list(found)


def _matches(pattern: str) -> Iterator[Path]:
    path = Path(pattern).expanduser()
    if path.exists() or path.is_symlink():  # a name with * or [ in it, as it stands
        yield _readable(path)
        return
    if not glob.has_magic(pattern):
        raise BadInput(f"{pattern}: there is no such file.")
    # Like a shell's, a pattern speaks of files: the folders that it matches too are passed over.
    files = [match for match in sorted(glob.glob(str(path), recursive=True)) if not Path(match).is_dir()]  # noqa: PTH207 - Path.glob is relative
    if not files:
        raise BadInput(f"{pattern}: no file matches this pattern.")
    for match in files:
        yield _readable(Path(match))


def _readable(path: Path) -> Path:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise BadInput(f"{path} is a folder: name files, or a pattern such as '{path}/*'.")
        if not stat.S_ISREG(mode):
            raise BadInput(f"{path} is not a regular file.")
        path.open("rb").close()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    return path


def relative_names(paths: list[Path]) -> list[str]:
    """Names relative to the deepest folder that all files share; bytes that are no UTF-8 as \\xHH.

    Raises BadInput when two files would have one name.
    """
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    names: dict[str, Path] = {}
    for path in paths:
        name = os.fsencode(path.relative_to(shared)).decode("utf-8", "backslashreplace")
        if name in names:
            raise BadInput(f"{name} would name two inputs: rename one of them.")
        names[name] = path
    return list(names)


def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and size (bytes) of a file, read once."""
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
                size_bytes += len(block)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from None
    return digest.hexdigest(), size_bytes
