"""The input files of a run: found on this machine or in Blob Storage, named, and keyed by what is in them."""

from __future__ import annotations

import asyncio
import glob
import hashlib
import os
import stat
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob.aio import BlobServiceClient

from tasks.errors import BadInput, brief

MANIFEST = "@"  # @FILE: a file with one input a line
SCHEME = "az://"  # az://CONTAINER/PREFIX: the blobs of a container whose names begin with a prefix
BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Blob:
    """A blob that is in the cloud already. Its ETag changes whenever its content does."""

    container: str
    name: str
    etag: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.container}/{self.name}"


@dataclass(frozen=True)
class Source:
    """Where an input file is, and what stands for its content in its result's key."""

    place: Path | Blob
    parts: tuple[str, ...]  # its whole path, each part safe as a file's name
    size_bytes: int
    content: str
    modified_ns: int = 0  # of a local file, since 1970


async def find_sources(inputs: Iterable[str], blobs: BlobServiceClient) -> list[Source]:
    """The files that paths, globs and az://container/prefix name, each once, in order. Raises BadInput."""
    found: dict[Path | Blob, Source] = {}
    for pattern in expanded(inputs):
        if pattern.startswith(SCHEME):
            for source in await _listed(pattern, blobs):
                found[source.place] = source
            continue
        for source in await asyncio.to_thread(_local_files, pattern, found.keys()):
            found[source.place] = source
    if not found:
        raise BadInput("There is no input: name at least one file or pattern.")
    return list(found.values())


def check_local_inputs(inputs: Iterable[str]) -> None:
    """Make sure that the inputs on this machine are there and can be read; blobs are not looked at. Raises BadInput."""
    for pattern in expanded(inputs):
        for path in [] if pattern.startswith(SCHEME) else _matches(pattern):
            _open(path).close()


def expanded(inputs: Iterable[str]) -> Iterator[str]:
    """The inputs, each manifest @FILE replaced by what its lines name. Raises BadInput."""
    for one in inputs:
        if not one.startswith(MANIFEST):
            yield one
            continue
        path = Path(one.removeprefix(MANIFEST)).expanduser()
        try:
            with _open(path) as stream:
                lines = stream.read().decode("utf-8").splitlines()
        except UnicodeDecodeError:
            raise BadInput(f"The manifest {path} is not UTF-8.") from None
        yield from (line for line in lines if line.strip())


async def _listed(pattern: str, blobs: BlobServiceClient) -> list[Source]:
    container, _, prefix = pattern.removeprefix(SCHEME).partition("/")
    if not container:
        raise BadInput(f"{pattern} names no container: it must be {SCHEME}CONTAINER/PREFIX.")
    try:
        listing = blobs.get_container_client(container).list_blobs(name_starts_with=prefix or None)
        # Names that end in a slash are folders as some tools mark them: empty blobs.
        listed = [blob async for blob in listing if not blob.name.endswith("/")]
    except ResourceNotFoundError:
        raise BadInput(f"{pattern}: there is no container {container} in {blobs.account_name}.") from None
    except HttpResponseError as error:
        reader = "the identity needs the role Storage Blob Data Reader" if error.status_code == 403 else "it answered"
        raise BadInput(f"{pattern} cannot be listed in {blobs.account_name}: {reader} ({brief(error)}).") from None
    if not listed:
        raise BadInput(f"{pattern}: no blob begins with this prefix.")
    return [
        Source(
            Blob(container, blob.name, blob.etag),
            (SCHEME, container, *map(safe_part, blob.name.split("/"))),
            blob.size,
            f"{blobs.account_name}\n{container}\n{blob.name}\n{blob.etag}",
        )
        for blob in listed
    ]


def safe_part(part: str) -> str:
    """A part of a blob's name as a file's name: what a file system takes for something else is %-encoded."""
    if part in ("", ".", ".."):
        return part.replace(".", "%2E") or "%2F"
    return part.replace("\0", "%00")


def _local_files(pattern: str, known: Container[Path | Blob]) -> list[Source]:
    # abspath, as resolve() would make one file of two symlinks.
    paths = [Path(os.path.abspath(match)) for match in _matches(pattern)]  # noqa: PTH100
    return [_local(path) for path in paths if path not in known]


def _matches(pattern: str) -> Iterator[Path]:
    try:
        path = Path(pattern).expanduser()
        as_it_stands = path.exists() or path.is_symlink()  # perhaps with * or [ in its name
    except PermissionError as error:
        raise _unreadable(Path(pattern), error) from None
    except (OSError, RuntimeError, ValueError) as error:  # too long; nobody's home; a NUL
        raise BadInput(f"{pattern} cannot be a file's name: {getattr(error, 'strerror', None) or error}.") from None
    if as_it_stands:
        yield path
        return
    if not glob.has_magic(pattern):
        raise BadInput(f"{pattern}: there is no such file.")
    # Like a shell's, a pattern speaks of files: the folders that it matches too are passed over.
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = [Path(match) for match in matches if not os.path.isdir(match)]  # noqa: PTH112 - Path.is_dir may raise
    if not files:
        raise BadInput(f"{pattern}: no file matches this pattern.")
    yield from files


def _local(path: Path) -> Source:
    """A file on this machine, read once for its SHA-256. Raises BadInput."""
    digest, size_bytes = hashlib.sha256(), 0
    with _open(path) as stream:
        modified_ns = os.fstat(stream.fileno()).st_mtime_ns
        try:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
                size_bytes += len(block)
        except OSError as error:
            raise _unreadable(path, error) from None
    # Bytes that are no UTF-8 are shown as \xHH.
    parts = tuple(os.fsencode(part).decode("utf-8", "backslashreplace") for part in path.parts)
    return Source(path, parts, size_bytes, digest.hexdigest(), modified_ns)


def _open(path: Path) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise BadInput(f"{path} is a folder: name files, or a pattern such as '{path}/*'.")
        if not stat.S_ISREG(mode):
            raise BadInput(f"{path} is not a regular file.")
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> BadInput:
    return BadInput(f"{path} cannot be read: {error.strerror}.")


def relative_names(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """Names relative to the deepest folder that all paths share. Raises BadInput when two would have one name."""
    shared = 0
    for level in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(level)) > 1:
            break
        shared += 1
    names: set[str] = set()
    for path in paths:
        name = "/".join(path[shared:])
        if name in names:
            raise BadInput(f"{name} would name two inputs: rename one of them.")
        names.add(name)
    return ["/".join(path[shared:]) for path in paths]
