"""Tables of all words and their counts: rows "word TAB count NEWLINE", sorted by the UTF-8 bytes of the word.

As files on disk they are plain while counting (runs); what is uploaded is one gzip stream. A word contains neither
TAB nor NEWLINE, as both are white space.
"""

from __future__ import annotations

import heapq
import pathlib
import zlib
from collections.abc import Iterable, Iterator

from failures import on_disk

Row = tuple[bytes, int]
COMPRESSION = 6
GZIP = 31  # zlib's name for a gzip stream with the largest window
ROWS_AT_ONCE = 2000


class TableFile:
    """A compressed table on its way to disk. The same rows always give the same bytes."""

    def __init__(self, path: pathlib.Path) -> None:
        import hashlib  # its OpenSSL is slow to load, and a table is not always asked for

        self.path = path
        self.rows = 0
        self.bytes = 0
        self._hash = hashlib.sha256()
        self._compress = zlib.compressobj(COMPRESSION, zlib.DEFLATED, GZIP)
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise on_disk(error, "writing the table") from None

    def write(self, rows: bytes) -> None:
        """Add text that consists of rows, cut anywhere. Raises Failure."""
        self.rows += rows.count(b"\n")
        self._keep(self._compress.compress(rows))

    def finish(self) -> dict[str, object]:
        """Close the file; what a result says of its table. Raises Failure."""
        self._keep(self._compress.flush())
        try:
            self._file.close()
        except OSError as error:
            raise on_disk(error, "writing the table") from None
        return {"rows": self.rows, "bytes": self.bytes, "sha256": self._hash.hexdigest()}

    def _keep(self, content: bytes) -> None:
        self._hash.update(content)
        self.bytes += len(content)
        try:
            self._file.write(content)
        except OSError as error:
            raise on_disk(error, "writing the table") from None


def as_rows(counts: Iterable[Row]) -> Iterator[bytes]:
    """Counts as text, some thousand rows at a time."""
    rows = []
    for word, count in counts:
        rows.append(b"%b\t%d\n" % (word, count))
        if len(rows) == ROWS_AT_ONCE:
            yield b"".join(rows)
            rows.clear()
    yield b"".join(rows)


def write_run(path: pathlib.Path, counts: Iterable[Row]) -> None:
    """Write a plain table. Raises Failure."""
    try:
        with path.open("wb") as stream:
            stream.writelines(as_rows(counts))
    except OSError as error:
        raise on_disk(error, "writing sorted words") from None


def read_run(path: pathlib.Path) -> Iterator[Row]:
    """The rows of a plain table. Raises Failure."""
    try:
        with path.open("rb") as stream:
            for line in stream:
                word, _, count = line.rpartition(b"\t")
                yield word, int(count)
    except OSError as error:
        raise on_disk(error, "reading sorted words") from None


def merged(runs: Iterable[Iterable[Row]]) -> Iterator[Row]:
    """Sorted rows as one sorted stream, in which each word occurs once."""
    word, total = b"", 0  # no word is empty
    for next_word, count in heapq.merge(*runs):
        if next_word == word:
            total += count
            continue
        if word:
            yield word, total
        word, total = next_word, count
    if word:
        yield word, total
