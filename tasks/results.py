"""Step 7: the results, downloaded, checked and kept in a folder of the run's own."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Annotated

from azure.core.exceptions import AzureError, ResourceNotFoundError
from prefect import get_run_logger, task
from pydantic import AliasChoices, BaseModel, Field, ValidationError

from tasks.clients import Clients
from tasks.concurrency import for_each
from tasks.errors import RunFailed, TopnError, brief
from tasks.monitor import Monitor, Outcome, stderr_tail
from tasks.plan import FORMAT, InputFile, Plan
from tasks.retries import STEP
from tasks.run import Run

AT_ONCE = 16  # downloads
LONGEST_NAME_BYTES = 255  # of a file, on the file systems people use

WordCounts = list[tuple[str, Annotated[int, Field(ge=1)]]]


class NodeResult(BaseModel):
    """The JSON that the node task writes; whatever else it says is not read here."""

    format: int
    key: str
    num_words: int
    words: WordCounts
    total_words: int
    distinct_words: int


class FileResult(BaseModel):
    """What was counted in one file."""

    name: str
    key: str
    words: WordCounts
    total_words: int
    distinct_words: int
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
    left_behind: list[str] = []

    def save(self, folder: Path) -> Path:
        """Write results.json, whole or not at all."""
        path = folder / "results.json"
        passing = path.with_suffix(".json.part")
        passing.write_text(self.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
        passing.replace(path)
        return path


@task(name="results", **STEP)
async def download_results(clients: Clients, run: Run, plan: Plan, monitor: Monitor, folder: Path) -> Results:
    """Download each file's result to `folder`/NAME_OUTPUT.txt, once it is checked; tell why the others have none.

    Raises RunFailed when the folder cannot be written.
    """
    get_run_logger().info("Downloading all files from container [%s]...", run.output_container)
    counted: dict[str, FileResult] = {}
    failed: dict[str, FailedFile] = {}

    async def download(file: InputFile) -> None:
        outcome = None
        try:
            outcome = await monitor.outcome(file.batch_task_id)
            if outcome.failure:
                failed[file.name] = await _failed_file(clients, monitor.job_id, file, outcome)
                return
            result, text = await _download(clients, run, plan, file)
        except TopnError as error:
            late = outcome is None
            failed[file.name] = FailedFile(
                name=file.name,
                failure="timeout" if late else "result",
                exit_code=outcome.exit_code if outcome else None,
                message="not counted within the run's timeout" if late else str(error),
            )
            return
        await asyncio.to_thread(_write, folder, file.name, text)
        counted[file.name] = FileResult(
            name=file.name,
            node=outcome.node_id,
            seconds=round(outcome.seconds, 3),
            **result.model_dump(include={"key", "words", "total_words", "distinct_words"}),
        )

    await for_each(download, plan.files, AT_ONCE)
    return Results(
        run_key=run.key,
        num_words=plan.num_words,
        files=[counted[file.name] for file in plan.files if file.name in counted],
        failed=[failed[file.name] for file in plan.files if file.name in failed],
    )


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


def output_name(name: str) -> str:
    """Where a file's result goes below the run's folder: NAME_OUTPUT.txt, shortened where no file system takes it."""
    path = Path(name + "_OUTPUT.txt")
    if len(os.fsencode(path.name)) <= LONGEST_NAME_BYTES:
        return str(path)
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    room = LONGEST_NAME_BYTES - len(f"~{digest}_OUTPUT.txt")
    short = os.fsencode(Path(name).name)[:room].decode("utf-8", "ignore")
    return str(path.with_name(f"{short}~{digest}_OUTPUT.txt"))


def prepare_folder(outputs: Path, run: Run) -> Path:
    """The run's folder OUTPUTS/RUN_KEY, made now, so that a run whose results could not be kept never starts.

    Raises RunFailed when it cannot be made.
    """
    folder = outputs / run.key
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailed(f"The folder {folder} for the results cannot be made: {error.strerror}.") from None
    return folder


def point_latest(folder: Path) -> None:
    """Let OUTPUTS/latest point at this run's folder; it points at some whole run at any moment."""
    link = folder.parent / "latest"
    passing = folder.parent / f".latest-{folder.name}"
    passing.unlink(missing_ok=True)
    passing.symlink_to(folder.name, target_is_directory=True)
    passing.replace(link)


def _write(folder: Path, name: str, text: bytes) -> None:
    path = folder / output_name(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    except OSError as error:
        raise RunFailed(f"The result {path} cannot be written: {error.strerror}.") from error
