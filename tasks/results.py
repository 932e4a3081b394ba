"""Step 7: the results, downloaded, checked and kept in a folder of the run's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

from azure.core.exceptions import AzureError, ResourceNotFoundError
from prefect import get_run_logger, task
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from tasks.clients import Clients
from tasks.concurrency import for_each
from tasks.errors import RunFailed, TopnError, brief
from tasks.monitor import Monitor, Outcome, stderr_tail
from tasks.outputs import write_output
from tasks.overall import Overall, OverallWords
from tasks.pictures import Picture
from tasks.plan import FORMAT, InputFile, Plan
from tasks.retries import STEP
from tasks.run import Run
from tasks.timeline import Span

AT_ONCE = 16  # downloads

WordCounts = list[tuple[str, Annotated[int, Field(ge=1)]]]


class NodeResult(BaseModel):
    """The JSON that the node task writes; whatever else it says is not read here."""

    format: int
    key: str
    num_words: int
    words: WordCounts
    listed: WordCounts  # at least `words`, and more for the merge over all files
    first_left_out: Annotated[int, Field(ge=0)]
    total_words: int
    distinct_words: int
    overlong_words: int
    bytes: int
    started: datetime  # of the counting, by the node's clock
    counted: datetime


class FileResult(BaseModel):
    """What was counted in one file."""

    name: str
    key: str
    words: WordCounts
    total_words: int
    distinct_words: int
    overlong_words: int  # of more than 64 KiB: counted here and nowhere else
    node: str
    seconds: float


class FailedFile(BaseModel):
    """Why one file was not counted."""

    name: str
    failure: str = Field(serialization_alias="class", validation_alias=AliasChoices("class", "failure"))
    exit_code: int | None
    message: str = ""
    stderr_tail: str = ""

    @property
    def sentence(self) -> str:
        """The failure on one line: name, cause, exit code and the last line of stderr."""
        code = f" (exit code {self.exit_code})" if self.exit_code is not None else ""
        last = self.stderr_tail.strip().splitlines()[-1:]
        return f"{self.name}: {self.message}{code}{': ' + last[0] if last else ''}"


class Results(BaseModel):
    """All that a run found out: `results.json`."""

    run_key: str
    num_words: int
    files: list[FileResult]
    failed: list[FailedFile]
    overall: OverallWords
    left_behind: list[str] = []

    def save(self, folder: Path) -> Path:
        """Write results.json, whole or not at all."""
        path = folder / "results.json"
        passing = path.with_suffix(".json.part")
        passing.write_text(self.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
        passing.replace(path)
        return path


@dataclass(frozen=True)
class Counted:
    """The results of a run, and how it came to them."""

    results: Results
    spans: list[Span]  # one per Batch task that has ended
    retries: int = 0
    requeues: int = 0
    pictures: Mapping[str, Picture] = field(default_factory=dict)


def nothing_counted(run: Run, plan: Plan, cause: Exception) -> Counted:
    """What there is when the run could not go on."""
    failed = [FailedFile(name=file.name, failure="run", exit_code=None, message=str(cause)) for file in plan.files]
    overall = Overall().top(plan.num_words)
    return Counted(Results(run_key=run.key, num_words=plan.num_words, files=[], failed=failed, overall=overall), [])


@task(name="results", **STEP)
async def download_results(clients: Clients, run: Run, plan: Plan, monitor: Monitor, folder: Path) -> Counted:
    """Download each file's result to `folder`/NAME_OUTPUT.txt, once it is checked; tell why the others have none."""
    get_run_logger().info("Downloading all files from container [%s]...", run.output_container)
    download = Download(clients, run, plan, monitor, folder)
    await for_each(download.take, plan.files, AT_ONCE)
    return download.counted()


class Download:
    """Takes the results one by one."""

    def __init__(self, clients: Clients, run: Run, plan: Plan, monitor: Monitor, folder: Path) -> None:
        self._clients, self._run, self._plan, self._monitor, self._folder = clients, run, plan, monitor, folder
        self._files: dict[str, FileResult] = {}
        self._failed: dict[str, FailedFile] = {}
        self._overall = Overall()
        self._spans: list[Span] = []
        self._outcomes: list[Outcome] = []

    async def take(self, file: InputFile) -> None:
        """Download one file's result, or find out why there is none."""
        try:
            outcome = await self._monitor.outcome(file.batch_task_id)
        except TopnError:
            self._failed[file.name] = FailedFile(
                name=file.name, failure="timeout", exit_code=None, message="not counted within the run's timeout"
            )
            return
        self._outcomes.append(outcome)
        result = None
        if outcome.failure:
            self._failed[file.name] = await _failed_file(self._clients, self._monitor.job_id, file, outcome)
        else:
            result = await self._take_result(file, outcome)
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
                    failed=file.name in self._failed,
                )
            )

    async def _take_result(self, file: InputFile, outcome: Outcome) -> NodeResult | None:
        try:
            result, text = await _download(self._clients, self._run, self._plan, file)
            await asyncio.to_thread(write_output, self._folder, file.name, text)
        except RunFailed as error:
            self._failed[file.name] = FailedFile(
                name=file.name, failure="result", exit_code=outcome.exit_code, message=str(error)
            )
            return None
        self._overall.add(result.listed, result.first_left_out)
        self._files[file.name] = FileResult(
            name=file.name,
            node=outcome.node_id,
            seconds=round(outcome.seconds, 3),
            **result.model_dump(include={"key", "words", "total_words", "distinct_words", "overlong_words"}),
        )
        return result

    def counted(self) -> Counted:
        """All that was taken, in the plan's order."""
        results = Results(
            run_key=self._run.key,
            num_words=self._plan.num_words,
            files=[self._files[file.name] for file in self._plan.files if file.name in self._files],
            failed=[self._failed[file.name] for file in self._plan.files if file.name in self._failed],
            overall=self._overall.top(self._plan.num_words),
        )
        retries = sum(outcome.retries for outcome in self._outcomes)
        return Counted(results, self._spans, retries, sum(outcome.requeues for outcome in self._outcomes))


async def _download(clients: Clients, run: Run, plan: Plan, file: InputFile) -> tuple[NodeResult, bytes]:
    """The checked result and the text for people. Raises RunFailed when they are not there or not this file's."""
    container = clients.blobs.get_container_client(run.output_container)
    try:
        content = await (await container.download_blob(f"{file.key}.json")).readall()
        text = await (await container.download_blob(f"{file.key}.txt")).readall()
    except ResourceNotFoundError:
        raise RunFailed("the task succeeded, but its result is not in the output container") from None
    except AzureError as error:  # after the client's own retries, more than a minute of them
        raise RunFailed(f"the result could not be downloaded: {brief(error)}") from error
    try:
        result = NodeResult.model_validate_json(content)
    except ValidationError as error:
        raise RunFailed(f"the result is damaged: {error.errors()[0]['msg']}") from None
    if (result.format, result.key, result.num_words) != (FORMAT, file.key, plan.num_words):
        raise RunFailed("the result is not this file's: its format, key or number of words differs")
    if result.bytes != file.size_bytes:
        raise RunFailed(f"the file changed during the run: it had {file.size_bytes} bytes, {result.bytes} were counted")
    return result, text


async def _failed_file(clients: Clients, job_id: str, file: InputFile, outcome: Outcome) -> FailedFile:
    tail = ""
    if outcome.exit_code is not None:
        try:
            tail = await stderr_tail(clients, job_id, file.batch_task_id)
        except AzureError as error:
            tail = f"(stderr could not be read from the node: {brief(error)})"
    return FailedFile(
        name=file.name,
        failure=outcome.failure or "",
        exit_code=outcome.exit_code,
        message=outcome.message,
        stderr_tail=tail,
    )
