"""What counting a file comes to, whichever engine did it."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from tables import Row, TableFile, as_rows


class Counted:
    """The most frequent words of an input, and what is known of all of them."""

    def __init__(
        self, top: list[tuple[str, int]], *, total: int, distinct: int, overlong: int = 0, text_bytes: int = 0
    ) -> None:
        self.top = top  # by count descending, then word
        self.total = total
        self.distinct = distinct
        self.overlong = overlong
        self.text_bytes = text_bytes  # of the text, unpacked

    def first_left_out(self, number: int) -> int:
        """The count of the first word that a list of `number` words leaves out; 0 when it leaves none out."""
        return self.top[number][1] if len(self.top) > number else 0


def summed_up(counts: Iterable[Row], number: int, table: TableFile | None) -> Counted:
    """Go through all words once, sorted when a table is to be written; keep the `number` most frequent.

    Raises Failure.
    """
    total = distinct = 0

    def seen() -> Iterator[Row]:
        nonlocal total, distinct
        for row in counts:
            total += row[1]
            distinct += 1
            yield row

    def tabled(rows: Iterable[Row]) -> Iterator[Row]:
        assert table is not None
        pending: list[Row] = []
        for row in rows:
            pending.append(row)
            if len(pending) == 1000:
                for text in as_rows(pending):
                    table.write(text)
                pending.clear()
            yield row
        for text in as_rows(pending):
            table.write(text)

    rows = seen() if table is None else tabled(seen())
    top = heapq.nsmallest(number, rows, key=lambda row: (-row[1], row[0]))
    return Counted([(word.decode(), count) for word, count in top], total=total, distinct=distinct)
