"""The report's text, which others' names and words must not take over."""

from __future__ import annotations

from tasks.application import Application
from tasks.counting import Counting
from tasks.overall import OverallWords
from tasks.plan import Plan
from tasks.report import write_report
from tasks.results import Counted, FailedFile, FileResult, Results
from tasks.run import Run

ODD_WORDS = {"snake_case_word": r"snake\_case\_word", "<img": r"\<img", "a|b": r"a\|b", "C#": r"C\#"}


def report_of(words: list[tuple[str, int]], failed: list[FailedFile]) -> str:
    counted = FileResult(
        name="a.txt",
        key="0",
        words=words,
        total_words=1,
        distinct_words=1,
        overlong_words=0,
        node="n",
        seconds=1,
        engine="native",
        engine_note="",
    )
    overall = OverallWords(words=words, exact=True, largest_error=0)
    results = Results(run_key="odd", num_words=3, files=[counted], failed=failed, overall=overall)
    return write_report(
        Run("odd", "owner"), Plan(Application({}, "0"), Counting(3), ()), Counted(results, []), None, []
    )


def test_names_and_words_are_escaped_as_prefects_renderer_understands_it() -> None:
    failed = FailedFile(name="__init__.py", failure="result", exit_code=0, message="*no* file.")
    report = report_of([(word, 1) for word in ODD_WORDS], [failed])
    for escaped in ODD_WORDS.values():
        assert f"| {escaped} | 1 |\n" in report
    assert "### \\_\\_init\\_\\_.py\n" in report
    assert "exit code 0: \\*no\\* file. run again" in report
    assert "&#" not in report  # it shows them as they are


def test_a_long_word_leaves_room_for_its_count() -> None:
    assert f"| {'x' * 59}… | 7 |\n" in report_of([("x" * 70_000, 7)], [])
