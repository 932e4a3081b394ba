"""Step 6: one task run watches the job; each file, or each chunk of many files, has one that awaits its result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from prefect import get_run_logger, task
from prefect.client.schemas.objects import State
from prefect.states import Failed
from prefect.utilities.annotations import quote

from tasks.in_flight import JobInFlight
from tasks.plan import InputFile
from tasks.results import FailedFile
from tasks.retries import STEP
from tasks.taking import Taking

MOST_TASK_RUNS = 1000  # of a flow run: beyond, Prefect's UI draws no more and its server's queue may lose some
CHUNK = 100  # files; chunks are multiples of it

Argument = TypeVar("Argument")
Summary = dict[str, Any]


@task(name="monitor", **STEP)
async def monitor_batch_tasks(job: JobInFlight) -> None:
    """Watch until all Batch tasks have ended. Raises RunFailed at the timeout, or when nothing can run."""
    get_run_logger().info(
        "Monitoring all tasks for 'Completed' state, timeout in %s...",
        job.timeout,
        extra={"done": 0, "total": 0},
    )
    await job.watch()


def chunks(files: Sequence[InputFile]) -> list[Sequence[InputFile]]:
    """What one task run each stands for: a file, or for more than a thousand files a chunk of them."""
    size = 1
    if len(files) > MOST_TASK_RUNS:
        size = -(-len(files) // (MOST_TASK_RUNS * CHUNK)) * CHUNK
    return [files[start : start + size] for start in range(0, len(files), size)]


def chunk_name(first: int, chunk: Sequence[InputFile]) -> str:
    """How its task run is called: a file's name, or the chunk's place among all files."""
    return f"files {first + 1:06d}-{first + len(chunk):06d}" if len(chunk) > 1 else chunk[0].name


def chunk_key(chunk: Sequence[InputFile]) -> str:
    """The key of what a task run counts, for Prefect's cache: the file's own, or that of all in the chunk."""
    if len(chunk) == 1:
        return f"topn-{chunk[0].key}"
    return "topn-" + hashlib.sha256("\n".join(file.key for file in chunk).encode()).hexdigest()[:40]


@task(
    name="count",
    task_run_name="{name}",
    cache_key_fn=lambda _context, parameters: chunk_key(parameters["chunk"]),
    persist_result=True,
    result_serializer="json",
)
async def count_chunk(name: str, taking: Taking, chunk: Sequence[InputFile]) -> State[Summary] | Summary:
    """Await the results of a file, or of the files of a chunk: this task run, of this name, is their line in the UI."""
    results = [await taking.done(file) for file in chunk]
    failed = [one for one in results if isinstance(one, FailedFile)]
    if failed:
        more = f", and {len(failed) - 1} more of {len(chunk)}" if len(failed) > 1 else ""
        return Failed(message=f"{failed[0].sentence}{more}")
    return {"files": len(results), "keys": [file.key for file in chunk[:CHUNK]]}


recount_chunk = count_chunk.with_options(refresh_cache=True)  # which does not look for what was counted before


def unsearched(argument: Argument) -> Argument:
    """The same for a task; Prefect looks for futures in each field of others, and a thousand files have many."""
    return cast(Argument, quote(argument))
