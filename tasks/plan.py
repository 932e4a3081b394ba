"""What a run is going to count: the files, their names and their keys. Creates nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from azure.storage.blob.aio import BlobServiceClient

from tasks.application import Application
from tasks.counting import Counting
from tasks.files import Blob, Source, find_sources, relative_names

FORMAT = 1  # of the node task's JSON result; a new one makes new keys


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input file: one Batch task, one result.

    `name` is unique in the run and safe as a path below a folder. `key` names what is counted and how, so
    identical files share it; `batch_task_id` is per file.
    """

    place: Path | Blob
    name: str  # relative to the folder that all inputs share
    size_bytes: int
    key: str  # 40 hex digits
    batch_task_id: str  # 40 hex digits
    modified_ns: int = 0  # of a local file: what tells whether it is still the one that was keyed


@dataclass(frozen=True)
class Plan:
    """The application and the files that it will count, in the order given."""

    application: Application
    counting: Counting
    files: tuple[InputFile, ...]
    kept: frozenset[str] = frozenset()  # keys whose results an earlier run has kept

    @property
    def to_count(self) -> list[InputFile]:
        """The files whose results nobody has kept yet."""
        return [file for file in self.files if file.key not in self.kept]

    @property
    def how(self) -> str:
        """What counts and how, in 16 hex digits: results that share it may be kept together."""
        counted = f"{self.application.sha256}\n{self.counting.identity}\nformat={FORMAT}"
        return hashlib.sha256(counted.encode()).hexdigest()[:16]

    @property
    def num_words(self) -> int:
        """How many top words of each file are asked for."""
        return self.counting.num_words

    @property
    def size_bytes(self) -> int:
        """All inputs together."""
        return sum(file.size_bytes for file in self.files)


async def make_plan(
    inputs: Sequence[str], counting: Counting, application: Application, blobs: BlobServiceClient
) -> Plan:
    """Find the inputs, name and key them. Raises BadInput naming the input at fault."""
    sources = await find_sources(inputs, blobs)
    return await asyncio.to_thread(name_files, sources, counting, application)


def name_files(sources: Sequence[Source], counting: Counting, application: Application) -> Plan:
    """The plan for these sources. Raises BadInput when two would have one name."""
    names = relative_names([source.parts for source in sources])
    files = []
    for source, name in zip(sources, names, strict=True):
        key = result_key(source.content, application.sha256, counting)
        files.append(
            InputFile(source.place, name, source.size_bytes, key, batch_task_id(name, key), source.modified_ns)
        )
    return Plan(application, counting, tuple(files))


def result_key(content: str, application_sha256: str, counting: Counting) -> str:
    """What was counted and how: the same key, the same result.

    Args:
        content: the SHA-256 of a file; of a blob its account, container, name and ETag.
    """
    counted = f"{content}\n{application_sha256}\n{counting.identity}\nformat={FORMAT}"
    return hashlib.sha256(counted.encode()).hexdigest()[:40]


def table_name(key: str) -> str:
    """What the table of all words is called beside the result of this key."""
    return f"{key}.table.gz"


def batch_task_id(name: str, key: str) -> str:
    """Two identical files are two Batch tasks. Ids take 64 characters of [A-Za-z0-9_-], so names do not fit."""
    return hashlib.sha256(f"{name}\n{key}".encode()).hexdigest()[:40]
