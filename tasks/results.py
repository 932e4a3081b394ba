"""What a run found out: `results.json`, and what the report tells beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import AliasChoices, BaseModel, Field

from tasks.node_result import WordCounts
from tasks.overall import Overall, OverallWords
from tasks.pictures import Picture
from tasks.plan import Plan
from tasks.reduction import Table
from tasks.run import Run
from tasks.timeline import Span


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
    engine: str  # of the node task, that counted: native, or stdlib, which is as quick for small files
    engine_note: str  # why the native one could not
    cached: bool = False  # counted by an earlier run, in the same way
    attempts: int = 1


class FailedFile(BaseModel):
    """Why one file was not counted."""

    name: str
    failure: str = Field(serialization_alias="class", validation_alias=AliasChoices("class", "failure"))
    exit_code: int | None
    message: str = ""
    stderr_tail: str = ""
    attempts: int = 0

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

    @property
    def engines(self) -> str:
        """How many files each engine of the node task has counted."""
        counted = Counter(file.engine for file in self.files)
        return ", ".join(f"{engine} {files:,}" for engine, files in sorted(counted.items()))

    @property
    def fallback(self) -> str:
        """How many files the native engine could not count, and why, in one sentence; empty when there are none."""
        notes = Counter(file.engine_note for file in self.files if file.engine_note)
        if not notes:
            return ""
        (note, _), *others = notes.most_common()
        more = f" (and {len(others)} other reasons)" if others else ""
        return (
            f"{notes.total():,} of {len(self.files):,} files were counted by the slower standard-library engine: "
            f"{note}{more}"
        )

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
    tables: Sequence[Table] = ()  # of all words, one for each file that was counted
    pictures: Mapping[str, Picture] = field(default_factory=dict)


def nothing_counted(run: Run, plan: Plan, cause: Exception) -> Counted:
    """What there is when the run could not go on."""
    failed = [FailedFile(name=file.name, failure="run", exit_code=None, message=str(cause)) for file in plan.files]
    overall = Overall().top(plan.num_words)
    return Counted(Results(run_key=run.key, num_words=plan.num_words, files=[], failed=failed, overall=overall), [])
