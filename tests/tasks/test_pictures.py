"""The report's pictures: what they show, of whatever words and at whatever size."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.drawing_process import PicturesNotDrawn, draw
from tasks.pictures import Picture, em_width, shortened, top_words_chart
from tasks.timeline import Span, timeline

WORDS = [("the", 6821), ("of", 3540), ("and", 998)]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPANS = [Span("a.txt", "node", NOON, NOON, None, None, NOON + timedelta(seconds=3), failed=False)]
ANYTHING = st.text(st.characters(), max_size=40)  # lone surrogates, controls and noncharacters included


def texts(picture: Picture) -> list[str]:
    """What is written in an SVG, in the order of drawing."""
    assert picture.media_type == "image/svg+xml"
    root = ElementTree.fromstring(picture.content)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def bars(picture: Picture) -> list[float]:
    """The lengths of a chart's bars, in points."""
    paths = re.findall(
        r'<path d="M ([\d.]+) [\d.]+ \nL ([\d.]+) [^"]*" clip-path=[^>]*#0072b2', picture.content.decode()
    )
    return [float(end) - float(begin) for begin, end in paths]


def test_each_word_has_a_bar_as_long_as_its_count_which_stands_beside_it() -> None:
    picture = top_words_chart(WORDS, "Top words of 3 files")
    assert texts(picture) == ["the", "6,821", "of", "3,540", "and", "998", "Top words of 3 files"]
    lengths = bars(picture)
    assert len(lengths) == 3
    assert [length / lengths[0] for length in lengths] == pytest.approx([1, 3540 / 6821, 998 / 6821], abs=1e-3)


def test_a_chart_of_very_many_words_says_that_it_shows_the_first_ones() -> None:
    picture = top_words_chart([(f"word{number}", 20_000 - number) for number in range(10_000)], "Top words")
    assert "the first 30 of 10,000 words" in texts(picture)
    assert len(bars(picture)) == 30
    assert "word29" in texts(picture)
    assert "word30" not in texts(picture)
    assert len(picture.content) < 25_000


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("日本語", "日本語"),
        ("हिन्दी", "हिन्दी"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u2068\u05e9\u05dc\u05d5\u05dd\u2069"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u2068\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645\u2069",
        ),
        ("$x^2$", "$x^2$"),
        (r"$\frac{$", r"$\frac{$"),
        ("<b>&amp;\"'", "<b>&amp;\"'"),
        ("]]><!--", "]]><!--"),
        ("@1@@0@", "@1@@0@"),
        ("1.23456789", "1.23456789"),
        ("\x00\x1b[31m", r"\x00\x1b[31m"),
        ("\ud800\ufffe", r"\ud800\ufffe"),
        ("\u202egnp", r"\u202egnp"),
        ("W" * 65536, "W" * 15 + "…"),
        ("e" + "\u0301" * 65535, "e" + "\u0301" * 4 + "…"),
        ("", ""),
    ],
)
def test_a_word_is_shown_as_it_is_and_what_has_no_shape_is_escaped(word: str, shown: str) -> None:
    assert texts(top_words_chart([(word, 2), ("plain", 1)], word)) == [shown, "2", "plain", "1", title_of(word, shown)]


def title_of(word: str, shown: str) -> str:
    return "W" * 49 + "…" if word.startswith("WW") else shown


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(ANYTHING, st.integers(1, 10**15)), max_size=8), ANYTHING)
def test_whatever_the_words_the_chart_is_a_well_formed_picture(words: list[tuple[str, int]], title: str) -> None:
    assert len(texts(top_words_chart(words, title))) == (2 * len(words) + 1 if words else 1)


@settings(deadline=None)  # the first example imports matplotlib
@given(ANYTHING, st.floats(1, 20), st.booleans())
def test_a_shortened_text_fits_and_is_fit_for_xml(text: str, ems: float, keep_end: bool) -> None:
    short = shortened(text, ems, keep_end=keep_end)
    assert em_width(short) <= ems + 1e-6
    ElementTree.fromstring(f"<text>{short.replace('&', '&amp;').replace('<', '&lt;')}</text>")


@settings(deadline=None)  # the first example imports matplotlib
@given(st.text("abcxyz0189/._-", max_size=200), st.floats(5, 20))
def test_a_text_is_whole_or_keeps_the_asked_for_end(text: str, ems: float) -> None:
    begin, end = shortened(text, ems), shortened(text, ems, keep_end=True)
    if em_width(text) <= ems:
        assert begin == end == text
    else:
        assert begin.endswith("…")
        assert text.startswith(begin[:-1])
        assert end.startswith("…")
        assert text.endswith(end[1:])


def test_nothing_counted_gives_a_picture_that_says_so() -> None:
    picture = top_words_chart([], "Top words")
    assert texts(picture) == ["There are no words to chart: nothing was counted."]
    assert len(picture.content) < 1000


def test_a_data_uri_is_the_whole_picture() -> None:
    picture = top_words_chart(WORDS, "Top words")
    head, content = picture.data_uri().split(",")
    assert head == "data:image/svg+xml;base64"
    assert base64.b64decode(content, validate=True) == picture.content
    assert picture.suffix == ".svg"


def test_the_same_words_give_the_same_bytes_under_any_settings_and_from_many_threads() -> None:
    picture = top_words_chart(WORDS, "Top words")
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.facecolor": "red"}):
        assert top_words_chart(WORDS, "Top words") == picture
        assert matplotlib.rcParams["font.size"] == 30
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: top_words_chart(WORDS, "Top words"), range(8))) == {picture}


def test_only_drawing_imports_matplotlib_and_never_its_global_state() -> None:
    code = (
        "import sys, tasks.pictures, tasks.timeline\n"
        "assert 'matplotlib' not in sys.modules\n"
        "tasks.pictures.top_words_chart([('a', 1)], 'a')\n"
        "assert 'matplotlib' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[2], timeout=120)


async def test_a_process_of_its_own_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    words = [(f"{word}\ud800", count) for word, count in WORDS]
    drawn = await draw(words, SPANS)
    assert drawn == {"top-words": top_words_chart(words, "Top 3 words of all files"), "timeline": timeline(SPANS)}


async def test_a_process_that_cannot_draw_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise SystemExit('no room for pictures')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(PicturesNotDrawn, match=r"status 1: no room for pictures\.$"):
        await draw(WORDS, SPANS)
