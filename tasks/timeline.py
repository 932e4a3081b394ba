"""The timeline of a run: what every Batch task waited for and did, in a lane for each node slot.

matplotlib, a second and a half of import, is imported by what draws, not with this module.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Literal

from tasks.pictures import FAINT, GRID, TEXT, WIDTH, Drawing, Picture, drawing, em_width, notice

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

PhaseName = Literal["queue", "preparing", "running", "upload"]

# Okabe and Ito's colours, told apart also by those who do not see red and green as two.
COLOURS = {"preparing": "#56B4E9", "running": "#0072B2", "upload": "#009E73", "failed": "#D55E00"}
QUEUE = "#a8b0b8"
MOST_NAMED = 60  # files, whose names are written in their bars
LARGEST_SVG = 200_000  # bytes
MOST_VECTORS = 2000  # files; of more an SVG is not even tried
MOST_SHARP = 10_000  # files drawn as PNG for screens with two dots a pixel
LEFT, RIGHT, TOP, BOTTOM = 1.15, 0.3, 0.6875, 0.5625  # inches around the lanes, whole dots
SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600}

_Bar = tuple[int, float, float]  # lane, begin and end on the x axis


@dataclass(frozen=True)
class Phase:
    """One part of a Batch task's way, from `begin` until `end`."""

    name: PhaseName
    begin: datetime
    end: datetime


@dataclass(frozen=True)
class Span:
    """One Batch task's way, in aware datetimes.

    Args:
        name: of the file.
        added: when Batch got the task.
        started: Batch's start time, when the node begins to fetch resource files.
        counting: when the node task began to count, by the node's clock; None where it left no result.
        counted: when it had counted, by the same clock.
        ended: Batch's end time, after the output files were uploaded.
    """

    name: str
    node_id: str
    added: datetime
    started: datetime
    counting: datetime | None
    counted: datetime | None
    ended: datetime
    failed: bool

    @property
    def end(self) -> datetime:
        """Batch's end time, never before its start time."""
        return max(self.started, self.ended)

    @cached_property
    def phases(self) -> list[Phase]:
        """The phases, each beginning where the one before it ends, none shorter than nothing.

        Clocks differ: Batch's start and end times stand, and the time of adding gives way to them. Of the node's
        clock only the length of counting is taken for true; its place is moved between Batch's two times.
        """
        begin, end = self.started, self.end
        queue = Phase("queue", min(self.added, begin), begin)
        if self.counting is None or self.counted is None:
            return [queue, Phase("running", begin, end)]
        length = min(max(self.counted - self.counting, timedelta()), end - begin)
        counting = min(max(self.counting, begin), end - length)
        counted = counting + length
        return [
            queue,
            Phase("preparing", begin, counting),
            Phase("running", counting, counted),
            Phase("upload", counted, end),
        ]


@dataclass(frozen=True)
class Lane:
    """What one slot of a node did, in order."""

    label: str
    node_id: str
    spans: list[Span]


def lanes(spans: Iterable[Span]) -> list[Lane]:
    """The spans in as few lanes as do not overlap, node by node, nodes in the order of their first start.

    Batch does not say which slot of its node a task had: a task gets the first that is free at its start time.
    """
    nodes: defaultdict[str, list[list[Span]]] = defaultdict(list)
    free: defaultdict[str, list[int]] = defaultdict(list)  # lanes of a node, by number
    taken: defaultdict[str, list[tuple[datetime, int]]] = defaultdict(list)  # lanes of a node, by when they end
    for span in sorted(spans, key=lambda span: (span.started, span.end, span.node_id, span.name)):
        node, ends, idle = nodes[span.node_id], taken[span.node_id], free[span.node_id]
        while ends and ends[0][0] <= span.started:
            heapq.heappush(idle, heapq.heappop(ends)[1])
        if not idle:
            node.append([])
            idle.append(len(node) - 1)
        lane = heapq.heappop(idle)
        node[lane].append(span)
        heapq.heappush(ends, (span.end, lane))
    return [
        Lane(f"node {number}" if slot == 1 else f"node {number} / {slot}", node_id, lane)
        for number, (node_id, slots) in enumerate(nodes.items(), 1)
        for slot, lane in enumerate(slots, 1)
    ]


def timeline(spans: Sequence[Span]) -> Picture:
    """A Gantt chart: a lane for each node slot, the phases in colours, failures also crossed.

    An SVG while that stays below 200 KB, with the files' names up to 60 of them; else a PNG. Measured, three phases
    each: 3 files 8 KB, 40 files 17 KB, 1,000 files in 52 lanes 134 KB, all as SVG; 5,000 files in 200 lanes 146 KB,
    100,000 in 800 lanes 182 KB, as PNG.
    """
    if not spans:
        return notice("There is no timeline: no Batch task started.")
    rows = lanes(spans)
    with drawing():
        return _draw(rows, len(spans))


@dataclass(frozen=True)
class _Scale:
    """Where things are on the x axis."""

    origin: datetime
    unit: Literal["seconds", "minutes", "hours"]
    length: float  # in units; 1 where nothing took any time

    def __call__(self, moment: datetime) -> float:
        """How many units after the origin a moment is."""
        return (moment - self.origin).total_seconds() / SECONDS[self.unit]

    def points(self, begin: datetime, end: datetime) -> float:
        """How many points on paper lie between two moments."""
        return (self(end) - self(begin)) / self.length * (WIDTH - LEFT - RIGHT) * 72

    @classmethod
    def of(cls, spans: Iterable[Span]) -> _Scale:
        """The scale on which all of these have room."""
        spans = list(spans)
        origin = min(span.phases[0].begin for span in spans)
        seconds = (max(span.end for span in spans) - origin).total_seconds()
        unit = "seconds" if seconds <= 180 else "minutes" if seconds <= 3 * 3600 else "hours"
        return cls(origin, unit, seconds / SECONDS[unit] or 1.0)


def _draw(rows: list[Lane], number: int) -> Picture:
    dpi = 144 if number <= MOST_SHARP else 96
    dots = max(1, round(min(0.32, 8 / len(rows)) * dpi))  # a lane, whole ones so that all lanes look alike
    height = min(dots * len(rows) / dpi, 12)  # inches
    gap = 2 * max(1, round(dots / 10)) if dots > 3 else 0  # even, so that the middle of lane and bar are one
    thickness = height * 72 / len(rows) * (1 - gap / dots)
    picture = Drawing(height + TOP + BOTTOM, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM)
    scale = _Scale.of(span for row in rows for span in row.spans)
    failed = sum(span.failed for row in rows for span in row.spans)
    took = max(scale(row.spans[-1].end) for row in rows)
    nodes = len({row.node_id for row in rows})
    picture.title(
        f"{number:,} {'file' if number == 1 else 'files'} on {nodes:,} {'node' if nodes == 1 else 'nodes'}"
        f" in {took:.1f} {scale.unit}" + (f", {failed:,} failed" if failed else "")
    )
    axes = picture.axes
    axes.set_xlim(0, scale.length)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(f"{scale.unit} since the first was added")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    _label_lanes(axes, rows, height)
    _draw_queue(axes, rows, scale, thickness)
    longer = median(scale.points(span.started, span.end) for row in rows for span in row.spans) > 6  # than a few pixels
    crisp = number > MOST_VECTORS or (longer and thickness > 2)
    _draw_phases(axes, rows, scale, thickness, crisp=crisp)
    if longer:
        _draw_seams(axes, rows, scale, thickness, crisp=crisp)
    _draw_failures(axes, rows, scale, thickness)
    if number <= MOST_NAMED:
        _write_names(picture, rows, scale)
    _draw_legend(axes, rows, height)
    if number <= MOST_VECTORS and len((svg := picture.svg()).content) <= LARGEST_SVG:
        return svg
    return picture.png(dpi)


def _label_lanes(axes: Axes, rows: list[Lane], height: float) -> None:
    """Label as many lanes as can be read, first those that begin a node; shade every other node that has many."""
    space = height * 72 / len(rows)  # points a lane
    first = [place for place, row in enumerate(rows) if not place or rows[place - 1].node_id != row.node_id]
    places = list(range(len(rows)))
    if space < TEXT:
        places = first[:: max(1, round(1.6 * TEXT * len(first) / (height * 72) + 0.5))]
    axes.set_yticks(places, [rows[place].label for place in places], fontsize=min(TEXT, max(space, 7)))
    if len(first) < len(rows):
        for begin, end in list(pairwise([*first, len(rows)]))[1::2]:
            axes.axhspan(begin - 0.5, end - 0.5, color="#f4f6f8", linewidth=0, zorder=0)


def _draw_queue(axes: Axes, rows: list[Lane], scale: _Scale, thickness: float) -> None:
    """A thin line while a task that came to this lane was waiting; it lies under the bars and shows where none ran."""
    waits: list[_Bar] = []
    for place, row in enumerate(rows):
        begin = end = scale.origin
        for queue in sorted((span.phases[0] for span in row.spans), key=lambda phase: phase.begin):
            if queue.begin > end:
                waits.append((place, scale(begin), scale(end)))
                begin = queue.begin
            end = max(end, queue.end)
        waits.append((place, scale(begin), scale(end)))
    _draw_bars(axes, waits, QUEUE, min(0.9, thickness / 3), layer=1)


def _draw_phases(axes: Axes, rows: list[Lane], scale: _Scale, thickness: float, *, crisp: bool) -> None:
    bars: dict[str, list[_Bar]] = {name: [] for name in COLOURS}
    for place, row in enumerate(rows):
        for span in row.spans:
            if span.failed:
                bars["failed"].append((place, scale(span.started), scale(span.end)))
                continue
            for phase in span.phases[1:]:
                bars[phase.name].append((place, scale(phase.begin), scale(phase.end)))
    for name in ("preparing", "upload", "running", "failed"):  # where phases share a pixel, it is the last one's
        _draw_bars(axes, bars[name], COLOURS[name], thickness, layer=2, crisp=crisp)


def _draw_seams(axes: Axes, rows: list[Lane], scale: _Scale, thickness: float, *, crisp: bool) -> None:
    """White between one task of a lane and the next, which may begin the moment that the first ends."""
    half = 0.4 / 72 / (WIDTH - LEFT - RIGHT) * scale.length
    starts = [(place, scale(span.started)) for place, row in enumerate(rows) for span in row.spans[1:]]
    seams = [(place, start - half, start + half) for place, start in starts]
    _draw_bars(axes, seams, "white", thickness, layer=3, crisp=crisp)


def _draw_bars(axes: Axes, bars: list[_Bar], colour: str, thickness: float, layer: int, *, crisp: bool = False) -> None:
    """Bars of one colour as one broken, thick line: two points a bar, where a rectangle takes five.

    Crisp edges suit bars of some pixels, of smaller ones they drop some; smooth edges make a PNG four times as large.
    """
    drawn = [bar for bar in bars if bar[2] > bar[1]]
    xs = [x for _, begin, end in drawn for x in (begin, end, float("nan"))]
    ys = [y for place, _, _ in drawn for y in (place, place, float("nan"))]
    axes.plot(xs, ys, color=colour, linewidth=thickness, solid_capstyle="butt", zorder=layer, antialiased=not crisp)


def _draw_failures(axes: Axes, rows: list[Lane], scale: _Scale, thickness: float) -> None:
    """A cross at the end of each failed task, inside its bar where that is long enough."""
    size = min(8.0, max(4.0, 0.75 * thickness))
    inset = size / 72 / (WIDTH - LEFT - RIGHT) * scale.length
    crosses = [
        (max(scale(span.end) - inset, (scale(span.started) + scale(span.end)) / 2), place)
        for place, row in enumerate(rows)
        for span in row.spans
        if span.failed
    ]
    cross = _cross(size)
    cross.set_data([x for x, _ in crosses], [y for _, y in crosses])
    cross.set_clip_on(False)
    axes.add_line(cross)


def _cross(size: float) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        linestyle="none",
        marker="X",
        markersize=size,
        markerfacecolor="black",
        markeredgecolor="white",
        markeredgewidth=0.6,
        zorder=4,
    )


def _write_names(picture: Drawing, rows: list[Lane], scale: _Scale) -> None:
    """Write each file's name in the longest phase of its bar, or after the bar where the lane ends."""
    size = TEXT * 0.85
    for place, row in enumerate(rows):
        for span in row.spans:
            begin, end = span.started, span.end
            if not span.failed:
                longest = max(span.phases[1:], key=lambda phase: phase.end - phase.begin)
                begin, end = longest.begin, longest.end
            inside = scale.points(begin, end) / size - (2 if span.failed else 1)
            after = (scale.length - scale(span.end)) / scale.length * (WIDTH - LEFT - RIGHT) * 72 / size - 1
            if inside >= min(em_width(span.name[:1000]), 6):
                at, ems, colour = begin, inside, "white"
            elif span is row.spans[-1] and after >= 6:
                at, ems, colour = span.end, after, FAINT
            else:
                continue
            picture.axes.annotate(
                picture.foreign(span.name, ems, keep_end=True),
                (scale(at), place),
                (4, 0),
                textcoords="offset points",
                va="center",
                ha="left",
                fontsize=size,
                color=colour,
                zorder=5,
            )


def _draw_legend(axes: Axes, rows: list[Lane], height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    spans = [span for row in rows for span in row.spans]
    names = {phase.name for span in spans if not span.failed for phase in span.phases[1:]}
    entries: list[tuple[str, Artist | tuple[Artist, ...]]] = [("queue", Line2D([], [], color=QUEUE, linewidth=1.5))]
    entries += [(name, Patch(facecolor=colour)) for name, colour in COLOURS.items() if name in names]
    if any(span.failed for span in spans):
        entries.append(("failed", (Patch(facecolor=COLOURS["failed"]), _cross(7.0))))
    axes.legend(
        [handle for _, handle in entries],
        [name for name, _ in entries],
        ncols=len(entries),
        loc="lower left",
        bbox_to_anchor=(0, 1 + 0.03 / height),
        frameon=False,
        borderaxespad=0,
        borderpad=0.2,
        handlelength=1.8,
        columnspacing=1.6,
    )
