"""The pictures of a run's report: how they are drawn, and the chart of the top words.

matplotlib, a second and a half of import, is imported by what draws, not with this module.
"""

from __future__ import annotations

import base64
import re
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.ft2font import FT2Font
    from matplotlib.typing import RcKeyType

WIDTH = 10.0  # inches: 960 CSS pixels
TEXT = 9.0  # points
INK, FAINT, GRID = "#24292f", "#6e7781", "#e4e7eb"
MOST_WORDS = 30  # bars of a chart that is read at a glance
WORD_EMS = 16.0  # room for a word beside its bar
MARKS = 4  # combining marks on one character; more only paint over the lines above and below

_STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in whatever script the viewer has a font for
    "svg.hashsalt": "topn",  # ids that are the same each time
    "path.simplify": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": TEXT,
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "axes.edgecolor": GRID,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": INK,
}
_DRAWING = threading.Lock()  # matplotlib's settings and fonts are the whole program's


@dataclass(frozen=True)
class Picture:
    """A finished picture, as the bytes of a file."""

    content: bytes
    media_type: str
    suffix: str

    def data_uri(self) -> str:
        """The whole picture as an address, for a markdown artifact: nothing needs to be hosted."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode('ascii')}"


class Drawing:
    """One figure of given inches, and the words in it that matplotlib must not see.

    Words of the inputs may be in scripts that its font lacks, may look like its mathematics, may be anything. They are
    measured and shortened here, drawn as a token, and written into the SVG at the end; the viewer's own fonts show
    them, in their own direction.
    """

    def __init__(self, height: float, *, left: float, right: float, top: float, bottom: float) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(WIDTH, height), facecolor="white")
        self.axes: Axes = self.figure.add_axes(
            (left / WIDTH, bottom / height, 1 - (left + right) / WIDTH, 1 - (top + bottom) / height)
        )
        self.height = height
        self.axes.tick_params(length=0)
        self.axes.set_axisbelow(True)
        for side in ("top", "right", "left", "bottom"):
            self.axes.spines[side].set_visible(False)
        self._texts: list[str] = []

    def title(self, text: str) -> None:
        """Write the picture's heading."""
        self.figure.text(
            0.15 / WIDTH, 1 - 0.14 / self.height, text, fontsize=TEXT * 1.25, fontweight="bold", va="top", ha="left"
        )

    def foreign(self, text: str, ems: float, *, keep_end: bool = False) -> str:
        """A token to draw in place of text that others wrote, which is shown in at most so many ems of width."""
        self._texts.append(isolated(shortened(text, ems, keep_end=keep_end)))
        return f"@{len(self._texts) - 1}@"

    def svg(self) -> Picture:
        """The drawing as SVG; the same drawing gives the same bytes."""
        buffer = BytesIO()
        self.figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        text = buffer.getvalue().decode("utf-8")
        text = text[text.index("<svg") :]  # without the document type, an address that nobody needs to ask
        text = re.sub(r"(\d\.\d\d)\d+", r"\1", text)  # hundredths of a point suffice
        text = re.sub(r"@(\d+)@", lambda token: escape(self._texts[int(token[1])]), text)
        return Picture(text.encode("utf-8"), "image/svg+xml", ".svg")

    def png(self, dpi: int) -> Picture:
        """The drawing as PNG, which has no way to show foreign text."""
        assert not self._texts
        buffer = BytesIO()
        self.figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"optimize": True})
        return Picture(buffer.getvalue(), "image/png", ".png")


@contextmanager
def drawing() -> Iterator[None]:
    """What is drawn inside looks the same everywhere, whatever the user's matplotlibrc says; one picture at a time."""
    import matplotlib

    with _DRAWING, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def notice(text: str) -> Picture:
    """A small picture of one sentence, for where there is nothing to draw."""
    with drawing():
        picture = Drawing(0.6, left=0, right=0, top=0, bottom=0)
        picture.axes.axis("off")
        picture.axes.text(0.015, 0.5, text, color=FAINT, va="center", ha="left")
        return picture.svg()


def top_words_chart(words: Sequence[tuple[str, int]], title: str) -> Picture:
    """A bar for each word, in the order given, its count beside it; the first 30 words of more.

    Characters that cannot be shown are written as Python escapes (`\\x07`), long words end in an ellipsis. The
    picture is an SVG whose words are text: a script for which the viewer has no font shows as that viewer's boxes.
    """
    if not words:
        return notice("There are no words to chart: nothing was counted.")
    shown = words[:MOST_WORDS]
    with drawing():
        pitch = 0.26 if len(shown) > 5 else 0.32
        labels = [shortened(word, WORD_EMS) for word, _ in shown]
        left = 0.3 + max(em_width(label) for label in labels) * TEXT / 72
        right = 0.35 + max(len(f"{count:,}") for _, count in shown) * 0.65 * TEXT / 72
        more = len(words) > len(shown)
        picture = Drawing(
            0.65 + pitch * len(shown) + (0.35 if more else 0.12),
            left=left,
            right=right,
            top=0.55,
            bottom=0.38 if more else 0.15,
        )
        picture.title(picture.foreign(title, 50))
        axes = picture.axes
        rows = range(len(shown))
        axes.barh(rows, [count for _, count in shown], height=0.72, color="#0072B2", linewidth=0)
        for row, (word, count) in enumerate(shown):
            axes.annotate(
                picture.foreign(word, WORD_EMS), (0, row), (-6, 0), textcoords="offset points", ha="right", va="center"
            )
            axes.annotate(
                f"{count:,}", (count, row), (4, 0), textcoords="offset points", ha="left", va="center", color=FAINT
            )
        axes.set_xlim(0, max(1, *(count for _, count in shown)))
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xticks([])
        axes.set_yticks([])
        if more:
            axes.set_xlabel(f"the first {len(shown)} of {len(words):,} words")
        return picture.svg()


def shortened(text: str, ems: float, *, keep_end: bool = False) -> str:
    """As much of a text as fits, with an ellipsis for what does not.

    Controls, lone surrogates and whatever else has no shape of its own become Python escapes, so that the text is fit
    for XML; of many combining marks on a character the first four stay.
    """
    most = int(ems * 10)  # characters, generously: of 64 KiB only what may be seen is looked at
    part = text[-most:] if keep_end else text[:most]
    clusters = _clusters(part)
    widths = [em_width(cluster) for cluster in clusters]
    if len(part) == len(text) and sum(widths) <= ems:
        return "".join(clusters)
    room = ems - em_width("…")
    order = range(len(clusters) - 1, -1, -1) if keep_end else range(len(clusters))
    kept: list[str] = []
    for place in order:
        room -= widths[place]
        if room < 0:
            break
        kept.append(clusters[place])
    return "…" + "".join(reversed(kept)) if keep_end else "".join(kept) + "…"


def isolated(text: str) -> str:
    """A text that is written from right to left between Unicode's isolates, so that its ellipsis stays at its end."""
    backwards = any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
    return f"\u2068{text}\u2069" if backwards else text


def em_width(text: str) -> float:
    """About how wide a text is, in ems: as in DejaVu Sans, wider than most; one em where that has no such character."""
    return sum(0.0 if _joins(character) else _advance(character) for character in text)


def _joins(character: str) -> bool:
    """Whether a character is drawn upon the one before it: marks, variation selectors, joiners."""
    return unicodedata.category(character) in ("Mn", "Me") or character in "\u200c\u200d"


def _clusters(text: str) -> list[str]:
    clusters: list[str] = []
    for character in text:
        if _joins(character) and clusters:
            if len(clusters[-1]) <= MARKS:
                clusters[-1] += character
        elif character.isprintable() or _joins(character):
            clusters.append(character)
        else:
            clusters.append(character.encode("unicode_escape").decode("ascii"))
    return clusters


@lru_cache(maxsize=4096)
def _advance(character: str) -> float:
    from matplotlib.ft2font import LoadFlags

    font = _font()
    if not font.get_char_index(ord(character)):
        return 1.0
    return font.load_char(ord(character), LoadFlags.NO_SCALE).horiAdvance / font.units_per_EM


@cache
def _font() -> FT2Font:
    import matplotlib
    from matplotlib.ft2font import FT2Font

    return FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")
