"""The counter that needs nothing but Python: the fallback, and what the native one is compared with.

Bytes are split on ASCII white space and counted raw; only each *distinct* token is then decoded, split on Unicode
white space, stripped and folded. That equals decoding first, as ASCII bytes never occur inside a UTF-8 sequence, and
costs a fraction of it. Several processes count parts of a file side by side, each within its share of the memory.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections import Counter
from collections.abc import Iterable

from counted import Counted, summed_up
from failures import MEMORY, Failure
from source import Source
from tables import TableFile, read_run, write_run
from tally import Tally, resident_bytes
from words import BOM, CUT_WHITE_SPACE_BYTES, LONGEST_WORD_BYTES, WHITE_SPACE, Rules

LOOK_EVERY_BLOCKS = 8  # at the memory
FEWEST_TOKENS = 50_000  # worth turning into words before the end
FOLD_AT_ONCE = 10_000  # tokens
PART_FEWEST_BYTES = 32 << 20  # a second process costs less than it brings


class StdlibCounter:
    """Counts one stream of blocks within a memory limit for this process."""

    def __init__(self, rules: Rules, limit_bytes: int, directory: pathlib.Path, name: str = "run") -> None:
        self.overlong = 0
        self.text_bytes = 0
        self.tally = Tally(limit_bytes * 6 // 10, directory, name)
        self._rules = rules
        self._tokens: Counter[bytes] = Counter()
        self._full_bytes = limit_bytes * 4 // 10  # a dict that grows holds three times its size for a moment

    def read(self, blocks: Iterable[bytes], *, from_beginning: bool = True) -> None:
        """Count all words. A token may lie in any number of blocks. Raises Failure."""
        pending = b""  # the token that the last block ended in, perhaps cut
        skipping = False  # inside an overlong word, whose beginning is forgotten already
        tokens, maybe_bom = self._tokens, from_beginning
        for number, block in enumerate(blocks):
            self.text_bytes += len(block)
            if skipping:
                end = WHITE_SPACE.search(pending + block)
                if end is None:
                    pending = (pending + block)[-CUT_WHITE_SPACE_BYTES:]
                    continue
                block = (pending + block)[end.start() :]
                pending, skipping = b"", False
            text = pending + block
            if maybe_bom:
                if len(text) < len(BOM) and BOM.startswith(text):
                    pending = text
                    continue
                text, maybe_bom = text.removeprefix(BOM), False
            pieces = text.split()
            pending = b"" if text[-1:].isspace() or not pieces else pieces.pop()
            tokens.update(pieces)
            if len(pending) > LONGEST_WORD_BYTES:
                pending, skipping = self._cut(pending)
            if number % LOOK_EVERY_BLOCKS == 0 and len(tokens) > FEWEST_TOKENS:
                self._make_room()
        if pending and not skipping:
            tokens[pending] += 1
        self._turn_into_words()

    def _cut(self, pending: bytes) -> tuple[bytes, bool]:
        """Count what is complete in a token with no ASCII white space for 64 KiB; return (rest, skipping)."""
        *complete, last = WHITE_SPACE.split(pending)
        self._tokens.update(piece for piece in complete if piece)
        if len(last) - CUT_WHITE_SPACE_BYTES <= LONGEST_WORD_BYTES:
            return last, False  # its last bytes may be the beginning of white space
        self.overlong += 1
        return last[-CUT_WHITE_SPACE_BYTES:], True

    def _make_room(self) -> None:
        if resident_bytes() > self._full_bytes:
            self._turn_into_words()

    def _turn_into_words(self) -> None:
        """Move the tokens' counts to their words, and spill those when memory is full. Raises Failure."""
        tokens, words, words_of = self._tokens, self.tally.words, self._rules.words_of
        known = words.get
        while tokens:
            for _ in range(min(FOLD_AT_ONCE, len(tokens))):
                token, count = tokens.popitem()
                if len(token) > LONGEST_WORD_BYTES:
                    pieces = WHITE_SPACE.split(token)
                    self.overlong += count * sum(len(piece) > LONGEST_WORD_BYTES for piece in pieces)
                    found = [word for p in pieces if len(p) <= LONGEST_WORD_BYTES for word in words_of(p)]
                else:
                    found = words_of(token)
                for word in found:
                    words[word] = known(word, 0) + count
            self.tally.make_room()
        tokens.clear()  # its empty table, too


def count(
    source: Source,
    rules: Rules,
    *,
    listed: int,
    table: TableFile | None,
    memory_bytes: int,
    processes: int,
    directory: pathlib.Path,
) -> Counted:
    """Count the words of a source; `processes` share a large file and the memory. Raises Failure."""
    if source.size is None or not source.divisible:
        processes = 1
    else:
        processes = max(1, min(processes, source.size // PART_FEWEST_BYTES))
    counter = StdlibCounter(rules, memory_bytes // processes, directory, "run-0")
    if processes == 1:
        counter.read(source.blocks())
    else:
        assert source.size is not None
        bounds = [source.size * number // processes for number in range(processes)] + [source.size]
        others = [
            Part(source, rules, memory_bytes // processes, directory, number, bounds[number], bounds[number + 1])
            for number in range(1, processes)
        ]
        counter.read(source.part(0, bounds[1]))
        for other in others:
            other.join(source, counter)
    counted = summed_up(counter.tally.rows(ordered=table is not None), listed, table)
    counted.overlong = counter.overlong
    counted.text_bytes = source.bytes if source.divisible else counter.text_bytes
    return counted


class Part:
    """A part of a file that a process of its own counts; it leaves its words in files."""

    def __init__(
        self,
        source: Source,
        rules: Rules,
        limit_bytes: int,
        directory: pathlib.Path,
        number: int,
        start: int,
        end: int,
    ) -> None:
        directory.mkdir(exist_ok=True)
        self._rest = directory / f"rest-{number}"
        self._answer, answer = os.pipe()
        sys.stdout.flush()
        self._process = os.fork()
        if self._process:
            os.close(answer)
            return
        try:  # from here on this is the other process, which ends here
            counter = StdlibCounter(rules, limit_bytes, directory, f"run-{number}")
            said = self._count(counter, source, start, end)
            with os.fdopen(answer, "w", encoding="utf-8") as stream:
                json.dump(said, stream)
        except BaseException:  # the parent tells; nothing of the parent's may run here
            os._exit(1)
        os._exit(0)

    def _count(self, counter: StdlibCounter, source: Source, start: int, end: int) -> dict[str, object]:
        try:
            counter.read(source.part(start, end), from_beginning=False)
            write_run(self._rest, ((word.encode(), count) for word, count in counter.tally.words.items()))
        except Failure as failure:
            return {"failure": [failure.status, str(failure)]}
        except MemoryError:
            return {"failure": [MEMORY, "out of memory"]}
        runs = [str(path) for path in counter.tally.runs]
        return {"overlong": counter.overlong, "bytes": source.bytes, "runs": runs}

    def join(self, source: Source, counter: StdlibCounter) -> None:
        """Wait for its end and take over its counts. Raises Failure."""
        with os.fdopen(self._answer, encoding="utf-8") as stream:
            said = stream.read()
        _, status = os.waitpid(self._process, 0)
        if not said:
            code = os.waitstatus_to_exitcode(status)
            if code == -9:
                raise Failure(MEMORY, "a counting process was killed (signal 9), most likely for its memory")
            raise Failure(1, f"a counting process ended with {code}")
        answer = json.loads(said)
        if "failure" in answer:
            raise Failure(*answer["failure"])
        counter.overlong += answer["overlong"]
        source.bytes += answer["bytes"]
        for run in answer["runs"]:
            counter.tally.adopt(pathlib.Path(run))
        words = counter.tally.words
        for number, (word, times) in enumerate(read_run(self._rest)):
            text = word.decode()
            words[text] = words.get(text, 0) + times
            if number % FOLD_AT_ONCE == 0:
                counter.tally.make_room()
        self._rest.unlink()
