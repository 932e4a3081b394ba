"""The timeline: phases that follow one another, lanes that do not overlap, and the picture of them."""

from __future__ import annotations

import dataclasses
import re
import struct
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.pictures import Picture
from tasks.timeline import Lane, Span, lanes, timeline

BEGIN = datetime(2026, 11, 23, 2, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"
COLOURS = {"queue": "#a8b0b8", "preparing": "#56b4e9", "running": "#0072b2", "upload": "#009e73", "failed": "#d55e00"}

moments = st.integers(0, 60).map(lambda seconds: BEGIN + timedelta(seconds=seconds))
any_spans = st.builds(
    Span,
    name=st.text(max_size=3),
    node_id=st.sampled_from(["tvm-a", "tvm-b", "tvm-c"]),
    added=moments,
    started=moments,
    counting=st.none() | moments,
    counted=st.none() | moments,
    ended=moments,
    failed=st.booleans(),
)


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def span(*times: float | None, name: str = "a.txt", node_id: str = "tvm-a", failed: bool = False) -> Span:
    """A span of its five times in seconds: added, started, counting, counted, ended."""
    added, started, counting, counted, ended = (None if time is None else at(time) for time in times)
    assert added
    assert started
    assert ended
    return Span(name, node_id, added, started, counting, counted, ended, failed)


def a_run(files: int, nodes: int, slots: int) -> list[Span]:
    """A run in which each slot always has a task, of lengths that vary."""
    free = [(60.0 + slot, slot % nodes) for slot in range(nodes * slots)]
    spans = []
    for number in range(files):
        start, node = free.pop(0)
        length = 20 + number * 7919 % 101
        times = (number // 100, start, start + length * 0.12, start + length * 0.9, start + length)
        name, node_id = f"part-{number:05}.txt", f"tvmps_{node:064x}_d"
        spans.append(span(*times, name=name, node_id=node_id, failed=number % 100 == 99))
        free.append((start + length + 0.7, node))
        free.sort()
    return spans


def texts(picture: Picture) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(picture.content).iter(f"{SVG}text")]


def bars(picture: Picture, name: str) -> list[tuple[float, float, float]]:
    """The bars of a phase as (lane's y, begin, end) in points."""
    found = []
    for path in ElementTree.fromstring(picture.content).iter(f"{SVG}path"):
        if f"stroke: {COLOURS[name]}" in path.get("style", "") and "clip-path" in path.attrib:
            points = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d", ""))
            found += [
                (float(y), float(x), float(end)) for (x, y), (end, _) in zip(points[::2], points[1::2], strict=True)
            ]
    return found


@settings(deadline=None)
@given(any_spans)
def test_phases_follow_one_another_and_are_never_negative_whatever_the_clocks_say(span: Span) -> None:
    phases = span.phases
    names = (
        ["queue", "running"] if None in (span.counting, span.counted) else ["queue", "preparing", "running", "upload"]
    )
    assert [phase.name for phase in phases] == names
    assert all(before.end == after.begin for before, after in pairwise(phases))
    assert all(phase.begin <= phase.end for phase in phases)
    assert phases[0].end == span.started
    assert phases[-1].end == max(span.started, span.ended)
    assert phases[0].begin == min(span.added, span.started)


def test_a_node_whose_clock_is_off_still_shows_how_long_it_counted() -> None:
    late = span(0, 10, 1012, 1017, 20).phases
    assert [(phase.begin, phase.end) for phase in late[1:]] == [(at(10), at(15)), (at(15), at(20)), (at(20), at(20))]
    early = span(0, 10, -500, -495, 20).phases
    assert [(phase.begin, phase.end) for phase in early[1:]] == [(at(10), at(10)), (at(10), at(15)), (at(15), at(20))]


@settings(deadline=None)
@given(st.lists(any_spans, max_size=30))
def test_lanes_hold_every_span_once_and_none_overlaps(spans: list[Span]) -> None:
    rows = lanes(spans)
    assert Counter(one for row in rows for one in row.spans) == Counter(spans)
    assert len({row.label for row in rows}) == len(rows)
    for row in rows:
        assert row.spans
        assert {one.node_id for one in row.spans} == {row.node_id}
        assert all(before.end <= after.started for before, after in pairwise(row.spans))


@settings(deadline=None)
@given(st.lists(any_spans, max_size=30))
def test_a_node_has_as_few_lanes_as_it_had_tasks_at_once(spans: list[Span]) -> None:
    slots = Counter(row.node_id for row in lanes(spans))
    for node_id, count in slots.items():
        own = [one for one in spans if one.node_id == node_id]
        at_once = [
            sum(other.started <= one.started < other.end for other in own)
            if one.started < one.end
            else 1 + sum(other.started < one.started < other.end for other in own)  # a moment takes a lane too
            for one in own
        ]
        assert count == max(at_once)


@settings(deadline=None)
@given(st.lists(any_spans, max_size=30))
def test_lanes_lie_node_by_node_in_the_order_of_first_start(spans: list[Span]) -> None:
    rows = lanes(spans)
    first: dict[str, datetime] = {}
    for row in rows:
        first.setdefault(row.node_id, min(one.started for one in spans if one.node_id == row.node_id))
    assert list(first.values()) == sorted(first.values())
    assert [row.node_id for row in rows] == [node for node in first for row in rows if row.node_id == node]


def test_lanes_are_labelled_by_node_and_slot() -> None:
    rows = lanes(
        [
            span(0, 5, None, None, 9, node_id="tvm-b"),
            span(0, 2, None, None, 9, node_id="tvm-a", name="x"),
            span(0, 3, None, None, 9, node_id="tvm-a", name="y"),
            span(0, 9, None, None, 10, node_id="tvm-a", name="z"),
        ]
    )
    assert [(row.label, row.node_id, [one.name for one in row.spans]) for row in rows] == [
        ("node 1", "tvm-a", ["x", "z"]),
        ("node 1 / 2", "tvm-a", ["y"]),
        ("node 2", "tvm-b", ["a.txt"]),
    ]


def test_each_phase_is_drawn_where_it_was() -> None:
    spans = [span(0, 20, 30, 70, 100, name="first.txt"), span(0, 50, None, None, 90, name="second.txt", failed=True)]
    picture = timeline(spans)
    assert texts(picture)[-6:-1] == ["queue", "preparing", "running", "upload", "failed"]
    shown = set(texts(picture))
    assert {"2 files on 1 node in 100.0 seconds, 1 failed", "node 1", "node 1 / 2", "first.txt", "second.txt"} <= shown
    ((upper, left, begin),) = [bar for bar in bars(picture, "queue") if bar[0] < bars(picture, "failed")[0][0]]
    second = (begin - left) / 20
    for name, start, end in (("preparing", 20, 30), ("running", 30, 70), ("upload", 70, 100)):
        assert bars(picture, name) == [pytest.approx((upper, left + start * second, left + end * second), abs=0.05)]
    ((lower, *failed),) = bars(picture, "failed")
    assert lower > upper
    assert failed == pytest.approx([left + 50 * second, left + 90 * second], abs=0.05)


def test_a_failed_task_is_crossed_and_only_it() -> None:
    def crosses(spans: Sequence[Span]) -> int:
        root = ElementTree.fromstring(timeline(spans).content)
        return len(list(root.iter(f"{SVG}use")))

    spans = a_run(40, 3, 2)
    assert crosses([dataclasses.replace(one, failed=False) for one in spans]) == 0
    failed = [dataclasses.replace(one, failed=number % 10 == 3) for number, one in enumerate(spans)]
    assert crosses(failed) == 4 + 1  # and the legend's


def test_the_queue_of_a_lane_is_one_line_until_its_last_task_starts() -> None:
    picture = timeline([span(0, 10, None, None, 20), span(0, 30, None, None, 40), span(35, 90, None, None, 100)])
    ((_, begin, end), (_, again, last)) = bars(picture, "queue")
    second = (last - begin) / 90
    assert [end, again] == pytest.approx([begin + 30 * second, begin + 35 * second], abs=0.05)


@pytest.mark.parametrize(
    ("seconds", "title", "unit"),
    [
        (0, "1 file on 1 node in 0.0 seconds", "seconds"),
        (150, "1 file on 1 node in 150.0 seconds", "seconds"),
        (1500, "1 file on 1 node in 25.0 minutes", "minutes"),
        (72 * 3600, "1 file on 1 node in 72.0 hours", "hours"),
    ],
)
def test_the_axis_has_a_unit_that_people_would_choose(seconds: float, title: str, unit: str) -> None:
    shown = texts(timeline([span(0, 0, None, None, seconds)]))
    assert title in shown
    assert f"{unit} since the first was added" in shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$x$ & <日本>\x00", "$x$ & <日本>\\x00"),
        ("\u05e9\u05dc\u05d5\u05dd.txt", "\u2068\u05e9\u05dc\u05d5\u05dd.txt\u2069"),
        ("folder/" * 10_000 + "end.txt", "end.txt"),
        ("@0@", "@0@"),
    ],
)
def test_a_file_may_have_any_name(name: str, shown: str) -> None:
    assert [text for text in texts(timeline([span(0, 1, None, None, 9, name=name)])) if text.endswith(shown)]


@pytest.mark.parametrize(("files", "nodes", "slots", "largest"), [(3, 1, 2, 10_000), (40, 3, 2, 25_000)])
def test_a_few_files_are_named_in_a_small_svg(files: int, nodes: int, slots: int, largest: int) -> None:
    picture = timeline(a_run(files, nodes, slots))
    assert len(picture.content) < largest
    assert any("part-000" in text for text in texts(picture))
    assert b"tvmps_" not in picture.content


def test_a_thousand_files_in_fifty_lanes_stay_a_small_svg() -> None:
    picture = timeline(a_run(1000, 25, 2))
    assert len(picture.content) <= 200_000
    assert len(bars(picture, "running")) == 990
    assert len(bars(picture, "failed")) == 10
    assert sum(text.startswith("node ") for text in texts(picture)) == 50


@pytest.mark.parametrize("failed", [True, False])
def test_what_would_be_a_large_svg_is_a_png(failed: bool) -> None:
    spans = a_run(1000, 13, 4) if failed else a_run(5000, 50, 4)
    picture = timeline([dataclasses.replace(one, failed=failed) for one in spans])
    assert picture.media_type == "image/png"
    assert picture.suffix == ".png"
    assert picture.content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture.content[16:24])
    assert width == 1440
    assert 1000 < height < 1500
    assert len(picture.content) < 300_000


def test_the_picture_stays_of_a_size_whatever_the_number_of_lanes() -> None:
    picture = timeline([dataclasses.replace(one, node_id=str(number)) for number, one in enumerate(a_run(3000, 1, 1))])
    _, height = struct.unpack(">II", picture.content[16:24])
    assert height < 2000


def test_the_same_run_gives_the_same_bytes_whatever_the_order_and_the_settings() -> None:
    for spans in (a_run(40, 3, 2), a_run(2500, 13, 4)):
        picture = timeline(spans)
        with matplotlib.rc_context({"font.size": 30, "savefig.facecolor": "red", "lines.linestyle": ":"}):
            assert timeline(spans[::-1]) == picture


def test_no_task_gives_a_picture_that_says_so() -> None:
    assert texts(timeline([])) == ["There is no timeline: no Batch task started."]
    assert lanes([]) == list[Lane]()
