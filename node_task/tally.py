"""Words and their counts within a memory limit: what there is no room for goes to sorted runs on disk."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

from failures import on_disk
from tables import Row, merged, read_run, write_run

RUNS_AT_ONCE = 32  # open at a time
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FEWEST_SPILLED = 20_000  # words: memory that Python does not give back must not make each word a run


def resident_bytes() -> int:
    """The memory that this process holds; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as stream:  # noqa: PTH123  # asked a thousand times in a gigabyte
            return int(stream.read().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


class Tally:
    """The counts of words. `words` may be added to directly, if `make_room` is called from time to time."""

    def __init__(self, limit_bytes: int, directory: pathlib.Path, name: str = "run") -> None:
        self.words: dict[str, int] = {}
        self.runs: list[pathlib.Path] = []
        self.spilled_bytes = 0
        self._levels: list[int] = []  # of the runs: how often merged
        self._limit_bytes = limit_bytes
        self._directory = directory
        self._name = name
        self._made = 0

    def make_room(self) -> None:
        """Spill when the process holds more than its limit. Raises Failure."""
        if len(self.words) >= FEWEST_SPILLED and resident_bytes() > self._limit_bytes:
            self.spill()

    def spill(self) -> None:
        """Write the words to a sorted run, and forget them. Raises Failure."""
        self._write(self.in_order(), 0)
        self.words.clear()
        while len(self._levels) >= RUNS_AT_ONCE and self._levels[-RUNS_AT_ONCE] == self._levels[-1]:
            level, oldest = self._levels[-1] + 1, self.runs[-RUNS_AT_ONCE:]
            del self.runs[-RUNS_AT_ONCE:], self._levels[-RUNS_AT_ONCE:]
            self._write(merged([read_run(path) for path in oldest]), level)
            for path in oldest:
                path.unlink()

    def adopt(self, run: pathlib.Path) -> None:
        """Take a run that another process has spilled."""
        self.runs.insert(0, run)
        self._levels.insert(0, max(self._levels, default=0) + 1)

    def in_order(self) -> Iterator[Row]:
        """The words in memory, sorted by code point, which is the order of their UTF-8."""
        words = self.words
        for word in sorted(words):
            yield word.encode(), words[word]

    def rows(self, *, ordered: bool) -> Iterator[Row]:
        """All words, each once. Raises Failure."""
        if self.runs:
            while len(self.runs) > RUNS_AT_ONCE:
                oldest = self.runs[:RUNS_AT_ONCE]
                del self.runs[:RUNS_AT_ONCE], self._levels[:RUNS_AT_ONCE]
                self._write(merged([read_run(path) for path in oldest]), 0)
                for path in oldest:
                    path.unlink()
            return merged([self.in_order(), *(read_run(path) for path in self.runs)])
        if ordered:
            return self.in_order()
        return ((word.encode(), count) for word, count in self.words.items())

    def _write(self, rows: Iterator[Row], level: int) -> None:
        path = self._directory / f"{self._name}-{self._made}"
        self._made += 1
        try:
            self._directory.mkdir(exist_ok=True)
        except OSError as error:
            raise on_disk(error, "making a directory for sorted words") from None
        write_run(path, rows)
        self.runs.append(path)
        self._levels.append(level)
        self.spilled_bytes += path.stat().st_size
