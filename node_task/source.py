"""The input: a file or a pipe, plain text or gzip, which is unpacked while it is read."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator

from failures import BOMB, GZIP, INPUT, Failure, why

BLOCK_BYTES = 64 * 1024  # 16-64 KiB measured best for Python: the block and its tokens stay in the processor's cache
UNPACKED_BYTES = 256 * 1024
GZIP_MAGIC = b"\x1f\x8b\x08"
GZIP_STREAM = 31  # zlib's name for a gzip stream
# Text packs to a tenth, a log to a fiftieth; deflate's limit is a thousandth. What is small may be anything.
MOST_UNPACKED = 200  # times the packed size
ALWAYS_UNPACKED_BYTES = 1 << 30


class Source:
    """An input that is open, and how much of it was read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.bytes = 0  # of the input itself, packed as it is
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            about = os.fstat(self._file)
            self._beginning = self._begin()
        except OSError as error:
            raise Failure(INPUT, f"cannot read {path}: {why(error)}") from None
        self.packed = self._beginning == GZIP_MAGIC
        self.regular = stat.S_ISREG(about.st_mode)
        self.size = about.st_size if self.regular else None

    @property
    def divisible(self) -> bool:
        """Whether any part of its text can be read by its place: a file, and not packed."""
        return self.regular and not self.packed

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)

    def _begin(self) -> bytes:
        beginning = b""
        while len(beginning) < len(GZIP_MAGIC) and (more := os.read(self._file, len(GZIP_MAGIC) - len(beginning))):
            beginning += more
        return beginning

    def blocks(self) -> Iterator[bytes]:
        """The text in blocks, from its beginning. Raises Failure."""
        return self._unpacked() if self.packed else self._read()

    def part(self, start: int, end: int) -> Iterator[bytes]:
        """Blocks with all tokens between ASCII white space that begin in [start, end), and none else.

        Each byte of a file is in one part, wherever parts are cut. Raises Failure.
        """
        from words import ASCII_WHITE_SPACE

        inside = start > 0 and not ASCII_WHITE_SPACE.match(self._read_at(start - 1, 1))
        at = start
        while block := self._read_at(at, BLOCK_BYTES if at >= end else min(BLOCK_BYTES, end - at)):
            beyond = at >= end
            at += len(block)
            if not beyond:
                self.bytes += len(block)
            if inside:  # the part before this one counts that token to its end
                white = ASCII_WHITE_SPACE.search(block)
                if white is not None:
                    inside, block = False, block[white.start() :]
            elif beyond and (white := ASCII_WHITE_SPACE.search(block)) is not None:
                yield block[: white.end()]
                return
            if not inside:
                yield block
            if at >= end and (inside or ASCII_WHITE_SPACE.match(block[-1:])):
                return

    def _read_at(self, place: int, size: int) -> bytes:
        try:
            return os.pread(self._file, size, place)
        except OSError as error:
            raise Failure(INPUT, f"cannot read {self.path}: {why(error)}") from None

    def _read(self) -> Iterator[bytes]:
        block = self._beginning
        while block:
            self.bytes += len(block)
            yield block
            try:
                block = os.read(self._file, BLOCK_BYTES)
            except OSError as error:
                raise Failure(INPUT, f"cannot read {self.path}: {why(error)}") from None

    def _unpacked(self) -> Iterator[bytes]:
        unpack, unpacked_bytes = zlib.decompressobj(GZIP_STREAM), 0
        for block in self._read():
            while block:
                if unpack.eof:  # a gzip file may be several streams, and zeros behind them
                    block = block.lstrip(b"\0")
                    if not block:
                        break
                    unpack = zlib.decompressobj(GZIP_STREAM)
                try:
                    text = unpack.decompress(block, UNPACKED_BYTES)
                    while text:
                        unpacked_bytes += len(text)
                        if unpacked_bytes > max(ALWAYS_UNPACKED_BYTES, MOST_UNPACKED * self.bytes):
                            raise Failure(BOMB, f"{self.path} is a gzip bomb: {self.bytes} bytes hold {unpacked_bytes}")
                        yield text
                        text = b"" if unpack.eof else unpack.decompress(unpack.unconsumed_tail, UNPACKED_BYTES)
                except zlib.error as error:
                    raise Failure(GZIP, f"{self.path} is a corrupt gzip file: {error}") from None
                block = unpack.unused_data
        if not unpack.eof:
            raise Failure(GZIP, f"{self.path} is a truncated gzip file")
