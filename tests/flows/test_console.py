"""What a run shows at its end, without a run."""

from __future__ import annotations

import re

import pytest
from rich.console import Console as RichConsole

from flows.console import MOST_SHOWN, Console
from tasks.overall import OverallWords
from tasks.results import FailedFile, FileResult, Results


def _result(name: str) -> FileResult:
    return FileResult(
        name=name,
        key="0",
        words=[("word", 1)],
        total_words=1,
        distinct_words=1,
        overlong_words=0,
        node="n",
        seconds=1,
        engine="native",
        engine_note="",
    )


def _shown(files: int, failed: int) -> str:
    results = Results(
        run_key="odd",
        num_words=1,
        files=[_result(f"file{number}.txt") for number in range(files)],
        failed=[
            FailedFile(name=f"bad{number}.txt", failure="exit", exit_code=3, message="no text")
            for number in range(failed)
        ],
        overall=OverallWords(words=[("word", files)], exact=True, largest_error=0),
    )
    console = Console()
    console.out = RichConsole(width=200)
    with console.out.capture() as captured:
        console.show(results)
    return captured.get()


@pytest.mark.parametrize(("files", "shown"), [(2, 2), (MOST_SHOWN, MOST_SHOWN), (10_000, MOST_SHOWN)])
def test_of_very_many_files_the_first_are_shown_and_the_others_told_of(files: int, shown: int) -> None:
    said = _shown(files, files)
    rows = re.findall(r"^│ (file|bad)\d", said, re.MULTILINE)
    assert (rows.count("file"), rows.count("bad")) == (shown, shown)
    assert said.count(f"and {files - shown:d} more files") == (2 if shown < files else 0)
    assert f"word {files}" in said
