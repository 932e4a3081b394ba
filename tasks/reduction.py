"""The top words of all files, exact: where the files' lists do not tell, their whole tables are merged on Batch.

Each task leaves the table of all its words in the output container, sorted and compressed; the kept results have theirs
beside them. Reduce tasks, added to the run's own job once the counting has settled, merge them, two hundred a task; of
more there is a tree of them. Only the last one's top words ever come here, and are kept as results are. Reduce tasks
depend on no other task: Batch would hold them back for ever behind one that failed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from azure.batch.models import (
    BatchTask,
    BatchTaskConstraints,
    BatchTaskCreateOptions,
    BatchTaskState,
)
from azure.core.exceptions import AzureError, ResourceExistsError, ResourceNotFoundError
from prefect import get_run_logger, task
from pydantic import BaseModel, ValidationError

from tasks.access import NodeAccess
from tasks.application import TRAVELLED, resource_file
from tasks.errors import RunFailed, brief, error_code
from tasks.node_result import WordCounts
from tasks.outcome import FIELDS, read_outcome, stderr_tail
from tasks.overall import OverallWords
from tasks.plan import Plan, table_name
from tasks.pool import in_shell
from tasks.results_cache import Damaged, ResultsCache
from tasks.retries import STEP, patiently
from tasks.run import Run

Exact = Literal["when_needed", "always", "never"]

FORMAT = 1  # of a reduce task's JSON
TABLES_PER_TASK = 200  # a node opens all of them at once
RETRIES = 2  # by Batch, of a task that exits with another status than 0
INTERVAL = timedelta(seconds=1)
MANIFEST_ON_NODE = "manifest.json"  # in the task's working directory


@dataclass(frozen=True, slots=True)
class Table:
    """The table of all words of one file, or of several, in Blob Storage."""

    container: str
    name: str
    sha256: str | None  # of its bytes, where they are known here
    times: int = 1  # how many input files have this very content

    @property
    def identity(self) -> str:
        """What is in it, wherever it is: the names of merged tables tell that too."""
        return f"{self.sha256 or self.name} {self.times}"


class Reduced(BaseModel):
    """The JSON that the last reduce task writes."""

    format: int
    key: str
    words: WordCounts
    total_words: int
    distinct_words: int

    def check(self, total_words: int) -> None:
        """Raises RunFailed when these are not the top words of so many."""
        if self.format != FORMAT or self.total_words != total_words:
            raise RunFailed(f"The tables hold {self.total_words} words, but {total_words} were counted.")


def is_needed(exact: Exact, merged: OverallWords) -> bool:
    """Whether the tables are to be merged, after the files' lists were."""
    return exact == "always" or (exact == "when_needed" and not merged.exact)


def number_of_tasks(tables: int) -> int:
    """How many reduce tasks merge so many tables."""
    tasks = 1
    while tables > TABLES_PER_TASK:
        tables = -(-tables // TABLES_PER_TASK)
        tasks += tables
    return tasks


async def read_kept(
    cache: ResultsCache, tables: Iterable[Table], num_words: int, total_words: int
) -> OverallWords | None:
    """The top words of these tables, where an earlier run has kept them. Raises azure-core's errors."""
    try:
        reduced = Reduced.model_validate_json(await cache.read(reduced_key(_distinct(tables), num_words)))
        reduced.check(total_words)
    except (Damaged, ValidationError, RunFailed):
        return None
    return OverallWords(words=reduced.words, exact=True, largest_error=0)


@task(name="reduce", **STEP)
async def reduce_tables(
    access: NodeAccess,
    run: Run,
    plan: Plan,
    cache: ResultsCache,
    tables: Iterable[Table],
    *,
    total_words: int,
    staged: bool,
    patience: timedelta,
) -> OverallWords:
    """Merge the tables of all counted files by reduce tasks in the run's job, and keep what comes out.

    Args:
        access: how reduce tasks reach their blobs.
        tables: one for each file.
        total_words: of all files, which the tables must hold.
        staged: the pool's start task has staged the application; else it travels with each task.
        patience: for all reduce tasks together.

    Raises:
        RunFailed: a reduce task failed, was late, or does not give what the tables must hold.
    """
    all_tables = level = _distinct(tables)
    reduction = Reduction(access, run, plan, staged)
    try:
        async with asyncio.timeout(patience.total_seconds()):
            while len(level) > TABLES_PER_TASK:
                level = await reduction.merge(_groups(level))
            content = await reduction.finish(level)
    except TimeoutError:
        minutes = patience.total_seconds() / 60
        raise RunFailed(f"The reduce tasks of job {run.job_id} did not complete within {minutes:g} minutes.") from None
    try:
        reduced = Reduced.model_validate_json(content)
    except ValidationError as error:
        raise RunFailed(f"The reduce task's result is damaged: {error.errors()[0]['msg']}.") from None
    reduced.check(total_words)
    await cache.keep(reduced_key(all_tables, plan.num_words), content)
    return OverallWords(words=reduced.words, exact=True, largest_error=0, reduce_tasks=reduction.tasks)


def _distinct(tables: Iterable[Table]) -> list[Table]:
    """The tables with how often each occurs, as identical files share one; in the same order for the same tables."""
    distinct = [replace(table, times=times) for table, times in Counter(tables).items()]
    return sorted(distinct, key=lambda table: table.identity)


def _groups(tables: Sequence[Table]) -> list[Sequence[Table]]:
    return [tables[start : start + TABLES_PER_TASK] for start in range(0, len(tables), TABLES_PER_TASK)]


def reduced_key(tables: Iterable[Table], num_words: int) -> str:
    """Names what is merged from these tables; the same tables, the same key, wherever they are."""
    merged = "\n".join([*(table.identity for table in tables), f"words={num_words}"])
    return hashlib.sha256(merged.encode()).hexdigest()[:40]


def manifest(run: Run, tables: Iterable[Table]) -> bytes:
    """What a reduce task is to merge; a table elsewhere than in the run's output container says where."""
    rows = [
        {"name": table.name, "times": table.times, "sha256": table.sha256}
        | ({} if table.container == run.output_container else {"container": table.container})
        for table in tables
    ]
    return json.dumps({"container": run.output_container, "tables": rows}).encode()


class Reduction:
    """Adds reduce tasks to a run's job and waits for them; repeated, it finds those that it has added before."""

    def __init__(self, access: NodeAccess, run: Run, plan: Plan, staged: bool) -> None:
        self._access, self._clients, self._run, self._plan = access, access.clients, run, plan
        self._staged = staged
        self.tasks = 0

    async def merge(self, groups: Sequence[Sequence[Table]]) -> list[Table]:
        """Merge each group into one table, side by side."""
        keys = [
            await self._add(group, f"reduce {number} of {len(groups)}", whole=True)
            for number, group in enumerate(groups, start=1)
        ]
        for key in keys:
            await self._wait(key)
        return [Table(self._run.output_container, table_name(key), None) for key in keys]

    async def finish(self, tables: Sequence[Table]) -> bytes:
        """Merge the last tables; what the last task has written. Raises RunFailed."""
        key = await self._add(tables, "reduce all", whole=False)
        await self._wait(key)
        blob = self._clients.blobs.get_blob_client(self._run.output_container, f"{key}.json")
        try:
            return await (await blob.download_blob()).readall()
        except ResourceNotFoundError:
            raise RunFailed("The reduce task succeeded, but its result is not in the output container.") from None

    async def _add(self, tables: Sequence[Table], name: str, *, whole: bool) -> str:
        """Add one reduce task to the job, whose result has this key; it leaves a table when that is asked."""
        key = reduced_key(tables, 0 if whole else self._plan.num_words)
        get_run_logger().info("Adding task %s: %d tables to merge...", name, len(tables))
        container, blob = self._run.application_container, f"reduce/{key}.json"
        await self._clients.blobs.get_blob_client(container, blob).upload_blob(
            manifest(self._run, tables), overwrite=True
        )
        files = [await self._access.blob(container, blob, MANIFEST_ON_NODE)]
        if not self._staged:
            files.append(await resource_file(self._access, self._run))
        batch_task = BatchTaskCreateOptions(
            id=_id(key),
            display_name=name,
            command_line=self._command_line(key, whole=whole),
            resource_files=files,
            environment_settings=await self._access.environment(self._run.output_container, **self._read(tables)),
            constraints=BatchTaskConstraints(max_task_retry_count=RETRIES),
        )
        try:
            await self._clients.batch.create_task(self._run.job_id, batch_task)
        except ResourceExistsError as error:
            if error_code(error) != "TaskExists":
                raise
        self.tasks += 1
        return key

    def _command_line(self, key: str, *, whole: bool) -> str:
        folder = self._plan.application.staged if self._staged else TRAVELLED
        counting, table = self._plan.counting, " --table" if whole else ""
        return in_shell(
            f'set -e; python3 "{folder}/reduce_tables.py" {MANIFEST_ON_NODE} --words {counting.num_words} --key {key}'
            f" --output-container {self._run.output_container} --memory-mib {counting.memory_mib}{table}"
        )

    def _read(self, tables: Iterable[Table]) -> dict[str, str]:
        """Where a reduce task reads: tables in the output container, and those of other runs in one more."""
        containers = {"TOPN_TABLES_SAS": self._run.output_container}
        for container in {table.container for table in tables} - {self._run.output_container}:
            containers["TOPN_CACHE_SAS"] = container
        return containers

    async def _wait(self, key: str) -> None:
        """Wait until a reduce task has ended. Raises RunFailed when it has failed."""

        async def look() -> BatchTask:
            return await self._clients.batch.get_task(self._run.job_id, _id(key), select=FIELDS)

        while True:
            batch_task = await patiently(look)
            if batch_task.state == BatchTaskState.COMPLETED:
                break
            await asyncio.sleep(INTERVAL.total_seconds())
        outcome = read_outcome(batch_task)
        if outcome.failure:
            code = f" (exit code {outcome.exit_code})" if outcome.exit_code is not None else ""
            cause = f"{outcome.message.removesuffix('.')}{code}{await self._last_words(key)}"
            raise RunFailed(f"A reduce task failed: {cause}.")

    async def _last_words(self, key: str) -> str:
        try:
            lines = (await stderr_tail(self._clients, self._run.job_id, _id(key))).strip().splitlines()
        except AzureError as error:
            return f"; its stderr could not be read from the node: {brief(error)}"
        return f": {lines[-1]}" if lines else ""


def _id(key: str) -> str:
    return f"reduce-{key}"
