"""Draws a run's pictures in a process of its own: `python -m tasks.drawing_process`.

matplotlib and the bars of ten thousand Batch tasks take about 100 MiB, which the run's process would hold to its end.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio

from tasks.pictures import Picture, top_words_chart
from tasks.timeline import Span, timeline

_ROOT = Path(__file__).parents[1]
_LONGEST_CHART = 25  # bars that stay readable


class PicturesNotDrawn(Exception):
    """The pictures could not be drawn; the text says why."""


async def draw(words: Sequence[tuple[str, int]], spans: Sequence[Span]) -> dict[str, Picture]:
    """The top words of all files, and the way of each Batch task, by the pictures' names.

    Raises:
        PicturesNotDrawn: when the process does not come to its end, for want of memory or otherwise.
    """
    finished = await anyio.run_process(
        [sys.executable, "-m", "tasks.drawing_process"],
        input=pickle.dumps((words[:_LONGEST_CHART], spans)),
        check=False,
        cwd=_ROOT,
        start_new_session=True,  # Ctrl-C at a terminal is for the run, which then stops this
    )
    if finished.returncode != 0:
        last = finished.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise PicturesNotDrawn(f"The process that draws ended with status {finished.returncode}: {last or 'no word'}.")
    return pickle.loads(finished.stdout)


def main() -> None:
    """Draw what is described on standard input, onto standard output."""
    words, spans = pickle.load(sys.stdin.buffer)
    pictures = {
        "top-words": top_words_chart(words, f"Top {len(words)} words of all files"),
        "timeline": timeline(spans),
    }
    pickle.dump(pictures, sys.stdout.buffer)


if __name__ == "__main__":
    main()
