"""The node task: counts the words of one file on a compute node and uploads the top ones.

It runs on the node's own Python (3.10 or newer) and imports the standard library only.
The SAS comes in the environment, never on the command line, where `ps` and Batch would show it:

    TOPN_BLOB_ENDPOINT   https://ACCOUNT.blob.core.windows.net
    TOPN_OUTPUT_SAS      a create-and-write SAS of the output container

What a word is: UTF-8 text (a leading BOM dropped, invalid bytes replaced by U+FFFD), split on Unicode white
space, ASCII punctuation stripped from both ends, empty strings dropped, case kept. Words of more than 64 KiB
are not words that anybody wrote: they are counted as overlong and not listed.
Order: count descending, then word (by code point).

Exit status: 0 counted and uploaded, 2 bad arguments, 3 the input cannot be read, 4 the upload failed.
"""

import argparse
import heapq
import io
import json
import os
import pathlib
import re
import string
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from typing import BinaryIO

FORMAT = 1  # of the JSON result; part of a result's key
LISTED = 500  # words in the JSON result, at the least: the more, the surer the top words over all files
BLOCK_BYTES = 64 * 1024  # 16-64 KiB measured best: the block and its tokens stay in the processor's cache
LONGEST_WORD_BYTES = 64 * 1024

EXIT_INPUT = 3
EXIT_UPLOAD = 4

BOM = b"\xef\xbb\xbf"
ASCII_WHITE_SPACE = b" \t\n\r\x0b\x0c"
# What str.split() takes for white space, in UTF-8. No lead byte of UTF-8 is ever a continuation byte, so a
# match in any bytes is the same white space that decoding with errors="replace" would find.
WHITE_SPACE = re.compile(
    rb"[\t-\r\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80"
)

CUT_WHITE_SPACE_BYTES = 2  # how much of white space, which is three bytes at most, a block may end with


class WordCount:
    """The exact number of times each word occurs in a file, read once in blocks.

    Bytes are split on ASCII white space and counted raw; only each *distinct* token is then decoded, split on
    Unicode white space and stripped. That equals decoding first, as ASCII bytes never occur inside a UTF-8
    sequence, and costs a fraction of it. Memory: one block, one word and the distinct words.
    """

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()
        self.overlong_words = 0
        self.bytes = 0

    def read(self, stream: BinaryIO) -> None:
        """Count all words of a binary stream."""
        tokens: Counter[bytes] = Counter()
        pending = b""  # the token that the last block ended in, perhaps cut
        skipping = False  # inside an overlong word, whose beginning is forgotten already
        block = stream.read(BLOCK_BYTES)
        if block.startswith(BOM):
            self.bytes += len(BOM)
            block = block[len(BOM) :] or stream.read(BLOCK_BYTES)
        while block:
            self.bytes += len(block)
            if skipping:
                end = WHITE_SPACE.search(pending + block)
                if end is None:
                    pending = (pending + block)[-CUT_WHITE_SPACE_BYTES:]
                    block = stream.read(BLOCK_BYTES)
                    continue
                block = (pending + block)[end.start() :]
                pending, skipping = b"", False
            pieces = (pending + block).split()
            pending = b"" if block[-1] in ASCII_WHITE_SPACE or not pieces else pieces.pop()
            tokens.update(pieces)
            if len(pending) > LONGEST_WORD_BYTES:
                pending, skipping = self._cut(pending, tokens)
            block = stream.read(BLOCK_BYTES)
        if pending and not skipping:
            tokens[pending] += 1
        self._finish(tokens)

    def _cut(self, pending: bytes, tokens: Counter[bytes]) -> tuple[bytes, bool]:
        """Count what is complete in a token with no ASCII white space for 64 KiB; return (rest, skipping)."""
        *complete, last = WHITE_SPACE.split(pending)
        tokens.update(piece for piece in complete if piece)
        if len(last) - CUT_WHITE_SPACE_BYTES <= LONGEST_WORD_BYTES:
            return last, False  # its last bytes may be the beginning of white space
        self.overlong_words += 1
        return last[-CUT_WHITE_SPACE_BYTES:], True

    def _finish(self, tokens: Counter[bytes]) -> None:
        for token, count in tokens.items():
            for piece in WHITE_SPACE.split(token) if len(token) > LONGEST_WORD_BYTES else (token,):
                if len(piece) > LONGEST_WORD_BYTES:
                    self.overlong_words += count
                    continue
                for word in piece.decode("utf-8", "replace").split():
                    stripped = word.strip(string.punctuation)
                    if stripped:
                        self.words[stripped] += count

    def first_left_out(self, number: int) -> int:
        """The count of the most frequent word that `top(number)` leaves out; 0 when it leaves none out."""
        return self.top(number + 1)[-1][1] if len(self.words) > number else 0

    def top(self, number: int) -> list[tuple[str, int]]:
        """The `number` most frequent words: [(word, count), ...]."""
        return heapq.nsmallest(number, self.words.items(), key=lambda item: (-item[1], item[0]))


class UploadError(Exception):
    """A result could not be uploaded."""


def upload(url: str, content: bytes, content_type: str, attempts: int = 6) -> None:
    """PUT a blob; retries what may pass (408, 429, 5xx, a lost connection), about half a minute in all.

    Raises UploadError, whose text names the cause and no URL (it would hold the SAS).
    """
    cause = ""
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-12-02", "Content-Type": content_type}
    for attempt in range(1, attempts + 1):
        request = urllib.request.Request(url, data=content, headers=headers, method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=60):
                return
        except urllib.error.HTTPError as error:
            cause = f"HTTP {error.code} {error.headers.get('x-ms-error-code') or error.reason}"
            if error.code not in (408, 429) and error.code < 500:
                raise UploadError(cause) from None
        except (urllib.error.URLError, OSError) as error:
            cause = str(getattr(error, "reason", error))
        if attempt < attempts:
            time.sleep(min(2 ** (attempt - 1), 16))
    raise UploadError(f"{cause}, after {attempts} attempts")


def where() -> dict[str, str]:
    """The node, task, job and pool this runs as; empty strings outside Batch."""
    names = ("node", "task", "job", "pool")
    return {name: os.environ.get(f"AZ_BATCH_{name.upper()}_ID", "") for name in names}


def as_text(top: list[tuple[str, int]], place: dict[str, str]) -> str:
    """The result as people read it: words and counts, then where they were counted."""
    line = "-" * 30
    words = "".join(f"{word}:\t{count}\n" for word, count in top)
    places = "".join(f"{name.capitalize() + ':':<6}{value}\n" for name, value in place.items())
    return f"Word\tCount\n{line}\n{words}{line}\n{places}"


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; a usage error ends the program with status 2."""
    parser = argparse.ArgumentParser(description="Count the words of a file and upload the top ones.")
    parser.add_argument("file", help="path of the text file")
    parser.add_argument("--words", type=int, default=3, help="how many words to list (default: 3)")
    parser.add_argument("--key", default="result", help="name of the results: KEY.txt and KEY.json")
    parser.add_argument("--output-container", help="upload the results there; without it they are only written here")
    parser.add_argument("--delay-seconds", type=float, default=0, help="wait before counting, to watch a long task")
    options = parser.parse_args(arguments)
    if options.words < 1:
        parser.error(f"--words is {options.words}, but must be 1 or more")
    if options.output_container:
        missing = [name for name in ("TOPN_BLOB_ENDPOINT", "TOPN_OUTPUT_SAS") if not os.environ.get(name)]
        if missing:
            parser.error(f"--output-container needs {' and '.join(missing)} in the environment")
    return options


def results(
    options: argparse.Namespace, count: WordCount, started: float, counted: float
) -> list[tuple[str, bytes, str]]:
    """The two results as (name, content, content type); the JSON last, as it is the evidence of success.

    `started` and `counted` are seconds since 1970, by the node's clock.
    """
    top, place, listed = count.top(options.words), where(), max(options.words, LISTED)
    record = {
        "format": FORMAT,
        "key": options.key,
        "num_words": options.words,
        "words": top,
        "listed": count.top(listed),
        "first_left_out": count.first_left_out(listed),
        "total_words": sum(count.words.values()),
        "distinct_words": len(count.words),
        "overlong_words": count.overlong_words,
        "bytes": count.bytes,
        "started": round(started, 3),
        "counted": round(counted, 3),
        **place,
    }
    return [
        (f"{options.key}.txt", as_text(top, place).encode("utf-8"), "text/plain; charset=utf-8"),
        (f"{options.key}.json", json.dumps(record).encode("utf-8"), "application/json"),
    ]


def upload_to(container: str, name: str, content: bytes, content_type: str) -> None:
    """Upload one result into the container that the environment gives a SAS for. Raises UploadError."""
    print(f"Uploading {name} to container [{container}]...", flush=True)
    endpoint, sas = os.environ["TOPN_BLOB_ENDPOINT"].rstrip("/"), os.environ["TOPN_OUTPUT_SAS"]
    upload(f"{endpoint}/{container}/{urllib.parse.quote(name)}?{sas}", content, content_type)


def main() -> int:
    """Count, write both results, upload both; return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # whatever the node's locale is
    options = parse_arguments()
    time.sleep(options.delay_seconds)
    started = time.time()
    count = WordCount()
    try:
        with pathlib.Path(options.file).open("rb", buffering=0) as stream:
            count.read(stream)
    except OSError as error:
        print(f"cannot read {options.file}: {error.strerror}", file=sys.stderr)
        return EXIT_INPUT
    for name, content, content_type in results(options, count, started, time.time()):
        pathlib.Path(name).write_bytes(content)
        if name.endswith(".txt"):
            print(content.decode("utf-8"))
        try:
            if options.output_container:
                upload_to(options.output_container, name, content, content_type)
        except UploadError as error:
            print(f"cannot upload {name} to container [{options.output_container}]: {error}", file=sys.stderr)
            return EXIT_UPLOAD
    return 0


if __name__ == "__main__":
    sys.exit(main())
