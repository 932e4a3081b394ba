"""The classes of failure of a Batch task, and how often and after which wait each is tried again.

| class | recognised by | again, by default |
|---|---|---|
| `exit_code` | the node task ended with another status than 0 | once; never for a status that says the same each time |
| `resource_file` | the node could not fetch the input | twice: the new attempt has a fresh SAS |
| `upload` | an output file could not be uploaded | twice |
| `wall_clock` | Batch ended it at its time limit | never |
| `scheduling` | Batch could not start it | twice |
| `result` | it succeeded, but its result is missing, damaged or another file's | once |

A node that is lost or pre-empted is none of them: Batch itself runs the task again, and that is not counted.
Each new attempt is a Batch task of its own, `ID-a2`, so that the first one's story stays to be read.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

FailureClass = Literal["exit_code", "resource_file", "upload", "wall_clock", "scheduling", "result"]
CLASSES: tuple[FailureClass, ...] = get_args(FailureClass)


class _ByClass(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: object) -> object:
        """Take "upload=3,exit_code=0" for an object, as a command line has it."""
        if not isinstance(given, str):
            return given
        pairs = [pair.partition("=") for pair in given.split(",") if pair.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise ValueError("it should be like upload=3,exit_code=0, with " + ", ".join(CLASSES))
        return {name.strip(): value.strip() for name, _, value in pairs}

    def __str__(self) -> str:
        return ",".join(f"{name}={value:g}" for name, value in self)


class Retries(_ByClass):
    """How many more attempts a file gets after a failure of each class."""

    exit_code: int = Field(default=1, ge=0, le=20)
    resource_file: int = Field(default=2, ge=0, le=20)
    upload: int = Field(default=2, ge=0, le=20)
    wall_clock: int = Field(default=0, ge=0, le=20)
    scheduling: int = Field(default=2, ge=0, le=20)
    result: int = Field(default=1, ge=0, le=20)


class RetryWaits(_ByClass):
    """How many seconds a file waits for its next attempt after a failure of each class."""

    exit_code: float = Field(default=1, ge=0, le=3600)
    resource_file: float = Field(default=5, ge=0, le=3600)
    upload: float = Field(default=5, ge=0, le=3600)
    wall_clock: float = Field(default=5, ge=0, le=3600)
    scheduling: float = Field(default=10, ge=0, le=3600)
    result: float = Field(default=1, ge=0, le=3600)


class Policies(BaseModel):
    """What becomes of a file whose Batch task failed."""

    model_config = ConfigDict(frozen=True)

    retries: Retries = Retries()
    waits: RetryWaits = RetryWaits()
    never_again: frozenset[int] = frozenset()  # exit codes

    def wait(self, failure: str, exit_code: int | None, failed_before: int) -> timedelta | None:
        """How long to wait before the next attempt; None when there shall be none.

        Args:
            failed_before: how often this file has failed by this class before.
        """
        if failure not in CLASSES or failed_before >= getattr(self.retries, failure):
            return None
        if failure == "exit_code" and exit_code in self.never_again:
            return None
        return timedelta(seconds=getattr(self.waits, failure))


def failure_class(code: str) -> FailureClass:
    """The class of a failure, by the code that Batch gives for it (BatchErrorCodeStrings of the .NET SDK)."""
    if code == "FailureExitCode":
        return "exit_code"
    if code == "TaskEnded":
        return "wall_clock"
    if code.startswith("FileUpload"):
        return "upload"
    if code.startswith(("Blob", "Resource")) or code == "DiskFull":
        return "resource_file"
    return "scheduling"
