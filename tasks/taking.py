"""Step 7: the results, taken as they come: downloaded, checked, kept in the cache and in a folder of the run's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from azure.core.exceptions import AzureError, ResourceNotFoundError
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from tasks.clients import Clients
from tasks.concurrency import for_each
from tasks.errors import RunFailed, TimedOut, brief
from tasks.in_flight import JobInFlight
from tasks.inputs import changed_blob
from tasks.node_result import NodeResult, read_node_result
from tasks.outcome import Outcome, stderr_tail
from tasks.outputs import write_output
from tasks.overall import Overall
from tasks.plan import InputFile, Plan, table_name
from tasks.reduction import Table
from tasks.results import Counted, FailedFile, FileResult, Results
from tasks.results_cache import Damaged, ResultsCache
from tasks.retries import patiently
from tasks.run import Run
from tasks.timeline import Span

AT_ONCE = 16  # downloads


class Changed(Exception):
    """What was counted may not be what the plan has."""


class Taking:
    """Takes the result of each file, from the cache or from the job in flight; lets any number of readers await it."""

    def __init__(self, clients: Clients, run: Run, plan: Plan, cache: ResultsCache, folder: Path) -> None:
        loop = asyncio.get_running_loop()
        self._clients, self._run, self._plan, self._cache, self._folder = clients, run, plan, cache, folder
        self._done: dict[str, asyncio.Future[FileResult | FailedFile]] = {
            file.name: loop.create_future() for file in plan.files
        }
        self._overall = Overall()
        self._spans: list[Span] = []
        self._retries = self._requeues = 0
        self._tables: list[Table] = []

    async def done(self, file: InputFile) -> FileResult | FailedFile:
        """Wait until a file is counted, or known not to be."""
        return await asyncio.shield(self._done[file.name])

    async def take_kept(self, files: Collection[InputFile]) -> list[InputFile]:
        """Take the results that the cache has; return the files whose kept result is damaged."""
        return await self._take_stored(files, "kept", self._cache.read)

    async def take_delivered(self, files: Collection[InputFile]) -> list[InputFile]:
        """Take what a run that died has left in the output container; return the files whose result is damaged."""
        return await self._take_stored(files, "delivered", self._download)

    async def delivered(self) -> set[str]:
        """The keys of the results in the output container. Raises azure-core's errors."""
        names = self._clients.blobs.get_container_client(self._run.output_container).list_blob_names()
        return {name.removesuffix(".json") async for name in names if name.endswith(".json")}

    async def _take_stored(
        self, files: Collection[InputFile], how: str, read: Callable[[str], Awaitable[bytes]]
    ) -> list[InputFile]:
        damaged: list[InputFile] = []

        async def take(file: InputFile) -> None:
            try:
                content = await read(file.key)
                result = await asyncio.to_thread(read_node_result, content, file, self._plan)
            except (Damaged, RunFailed, AzureError) as error:
                cause = brief(error) if isinstance(error, AzureError) else error
                get_run_logger().warning("%s: its %s result is no good (%s): counting it again", file.name, how, cause)
                damaged.append(file)
                return
            if how == "delivered":
                await self._keep(file, content, result)
            await self._accept(file, result, cached=how == "kept")

        await for_each(take, files, AT_ONCE)
        return damaged

    async def take_counted(self, job: JobInFlight, number: int) -> None:
        """Take the results of so many files of the job in flight, as their tasks end."""
        left = number
        one_waits = asyncio.Lock()

        async def take(_taker: int) -> None:
            nonlocal left
            while True:
                async with one_waits:
                    if left == 0:
                        return
                    file = await job.settled.get()
                    if left == number:
                        get_run_logger().info(
                            "Downloading all files from container [%s]...", self._run.output_container
                        )
                    left -= 1
                if await self._take_counted(job, file):
                    job.finish(file)
                else:
                    left += 1  # another attempt follows

        await for_each(take, range(AT_ONCE), AT_ONCE)

    async def _take_counted(self, job: JobInFlight, file: InputFile) -> bool:
        """Take one file's result, or tell why there is none; False when another attempt was asked for."""
        attempts = job.attempts[file.batch_task_id]
        try:
            outcome = await job.outcome(file)
        except TimedOut:
            self._fail(file, "timeout", "not counted within the run's timeout", attempts=attempts)
            return True
        except RunFailed as error:
            self._fail(file, "run", str(error), attempts=attempts)
            return True
        ended = {"exit_code": outcome.exit_code, "attempts": attempts}
        result = None
        if outcome.failure:
            tail = await self._stderr_tail(outcome)
            self._fail(file, outcome.failure, outcome.message, stderr_tail=tail, **ended)
        else:
            try:
                content, result = await self._checked(file)
            except Changed as error:
                self._fail(file, "changed", str(error), **ended)
            except (RunFailed, Damaged, AzureError) as error:
                cause = brief(error) if isinstance(error, AzureError) else str(error)
                if job.reopen(file, outcome):
                    get_run_logger().warning("%s: %s; another attempt follows", file.name, cause)
                    return False
                self._fail(file, "result", cause, **ended)
            else:
                await self._keep(file, content, result)
                await self._accept(file, result, outcome=outcome, attempts=attempts)
        self._note(outcome, attempts)
        self._span(file, outcome, result)
        return True

    async def _checked(self, file: InputFile) -> tuple[bytes, NodeResult]:
        """What a node has delivered for a file, if it is good. Raises Changed, Damaged, RunFailed, AzureError."""
        content = await patiently(lambda: self._download(file.key))
        result = await asyncio.to_thread(read_node_result, content, file, self._plan)
        if sentence := await patiently(lambda: changed_blob(self._clients, file)):
            raise Changed(sentence)
        return content, result

    def _note(self, outcome: Outcome, attempts: int) -> None:
        self._retries += outcome.retries + attempts - 1
        self._requeues += outcome.requeues

    def _span(self, file: InputFile, outcome: Outcome, result: NodeResult | None) -> None:
        if outcome.started and outcome.ended:
            self._spans.append(
                Span(
                    name=file.name,
                    node_id=outcome.node_id,
                    added=outcome.added,
                    started=outcome.started,
                    counting=result and result.started,
                    counted=result and result.counted,
                    ended=outcome.ended,
                    failed=isinstance(self._done[file.name].result(), FailedFile),
                )
            )

    async def _accept(
        self,
        file: InputFile,
        result: NodeResult,
        *,
        outcome: Outcome | None = None,
        cached: bool = False,
        attempts: int = 1,
    ) -> None:
        try:
            await asyncio.to_thread(write_output, self._folder, file.name, result.text())
        except RunFailed as error:
            self._fail(file, "result", str(error), attempts=attempts)
            return
        self._overall.add(result.listed, result.first_left_out)
        if result.table:
            place = self._cache.table(file.key) if cached else (self._run.output_container, table_name(file.key))
            self._tables.append(Table(*place, result.table.sha256))
        seconds = outcome.seconds if outcome else (result.counted - result.started).total_seconds()
        self._done[file.name].set_result(
            FileResult(
                name=file.name,
                node=outcome.node_id if outcome else result.node,
                seconds=round(seconds, 3),
                cached=cached,
                attempts=attempts,
                **result.model_dump(include={"key", "words", "total_words", "distinct_words", "overlong_words"}),
                engine=result.engine,
                engine_note=result.engine_note,
            )
        )

    async def _keep(self, file: InputFile, content: bytes, result: NodeResult) -> None:
        """Keep a checked result for later runs, and its table."""
        table = (self._run.output_container, table_name(file.key)) if result.table else None
        await self._cache.keep(file.key, content, table)

    def _fail(
        self,
        file: InputFile,
        failure: str,
        message: str,
        *,
        exit_code: int | None = None,
        attempts: int = 0,
        stderr_tail: str = "",
    ) -> None:
        self._done[file.name].set_result(
            FailedFile(
                name=file.name,
                failure=failure,
                exit_code=exit_code,
                message=message,
                stderr_tail=stderr_tail,
                attempts=attempts,
            )
        )

    def refuse(self, file: InputFile, sentence: str) -> None:
        """Let a file fail before any Batch task of it."""
        self._fail(file, "changed", sentence)

    def give_up(self, error: RunFailed) -> None:
        """Let all files that are not counted yet fail by what ended the run."""
        for file in self._plan.files:
            if not self._done[file.name].done():
                self._fail(file, "run", str(error))

    async def _download(self, key: str) -> bytes:
        container = self._clients.blobs.get_container_client(self._run.output_container)
        try:
            return await (await container.download_blob(f"{key}.json")).readall()
        except ResourceNotFoundError:
            raise Damaged("the task succeeded, but its result is not in the output container") from None

    async def _stderr_tail(self, outcome: Outcome) -> str:
        if outcome.exit_code is None:
            return ""
        try:
            return await stderr_tail(self._clients, self._run.output_container, outcome.batch_task_id)
        except AzureError as error:
            return f"(stderr is not in the output container: {brief(error)})"

    def counted(self) -> Counted:
        """All that was taken, in the plan's order."""
        taken = [self._done[file.name].result() for file in self._plan.files if self._done[file.name].done()]
        results = Results(
            run_key=self._run.key,
            num_words=self._plan.num_words,
            files=[one for one in taken if isinstance(one, FileResult)],
            failed=[one for one in taken if isinstance(one, FailedFile)],
            overall=self._overall.top(self._plan.num_words),
        )
        return Counted(results, self._spans, self._retries, self._requeues, self._tables)


@task(name="results", cache_policy=NO_CACHE)  # a repetition would wait for files that are taken already
async def take_results(taking: Taking, job: JobInFlight, number: int) -> None:
    """Download each file's result to its NAME_OUTPUT.txt, once it is checked; tell why the others have none."""
    await taking.take_counted(job, number)


@task(name="kept results", cache_policy=NO_CACHE)
async def take_kept_results(taking: Taking, files: Collection[InputFile]) -> list[InputFile]:
    """Take the results that earlier runs have kept; return the files that must be counted after all."""
    get_run_logger().info("%d files are counted already: taking their kept results", len(files))
    return await taking.take_kept(files)


@task(name="delivered results", cache_policy=NO_CACHE)
async def take_delivered_results(taking: Taking, files: Collection[InputFile]) -> list[InputFile]:
    """Take what nodes have delivered for a run that died; return the files that are still to be counted."""
    delivered = await taking.delivered()
    found = [file for file in files if file.key in delivered]
    if not found:
        return list(files)
    get_run_logger().info("%d files were counted for an earlier run with this key: taking their results", len(found))
    damaged = {file.name for file in await taking.take_delivered(found)}
    return [file for file in files if file.key not in delivered or file.name in damaged]
