"""The node task: counts the words of one file on a compute node and uploads the top ones.

It runs on the node's own Python (3.10 or newer) and imports the standard library and its siblings only.
The SAS comes in the environment, never on the command line, where `ps` and Batch would show it:

    TOPN_BLOB_ENDPOINT   https://ACCOUNT.blob.core.windows.net
    TOPN_OUTPUT_SAS      a create-and-write SAS of the output container
    TOPN_IDENTITY        instead of any SAS: the resource id of an identity of the pool (identity.py)

What a word is says words.py, which exit status means what failures.py. Order: count descending, then word (by code
point). The native counter beside this file counts if it can be trusted, else Python; the result says which, and why.
A file of up to 64 KiB is Python's, for which no reason is given.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pathlib
import sys
import time

import options as command_line
import stdlib_counter
from counted import Counted
from failures import INPUT, Failure, exit_status, on_disk, why
from source import Source
from tables import TableFile
from words import Rules, stop_words_of

FORMAT = 1  # of the JSON result; part of a result's key
LISTED = 500  # words in the JSON result, at the least: the more, the surer the top words over all files
SMALL_BYTES = 64 * 1024  # Python has counted as much before another program has started
HERE = pathlib.Path(__file__).resolve().parent


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


def rules_of(options: argparse.Namespace) -> Rules:
    """Which words count. Raises Failure when the stop words cannot be read."""
    stop_words: frozenset[str] = frozenset()
    if options.stop_words:
        try:
            text = pathlib.Path(options.stop_words).read_bytes()
        except OSError as error:
            raise Failure(INPUT, f"cannot read the stop words {options.stop_words}: {why(error)}") from None
        stop_words = stop_words_of(text, fold_case=options.fold_case)
    return Rules(fold_case=options.fold_case, min_length=options.min_length, stop_words=stop_words)


def count(
    options: argparse.Namespace, source: Source, table: TableFile | None, work: pathlib.Path
) -> tuple[Counted, str, str]:
    """Count with the best engine there is; (what came out, the engine, why not the native one). Raises Failure."""
    listed, memory_bytes = max(options.words, LISTED) + 1, options.memory_mib << 20
    rules, note = rules_of(options), ""
    small = source.divisible and (source.size or 0) <= SMALL_BYTES
    if options.engine == "native" or (options.engine == "auto" and not small):
        import native_counter

        try:
            engine = native_counter.find_engine(HERE, work)
        except native_counter.Refused as refusal:
            note = str(refusal)
            if options.engine == "native":
                raise Failure(1, note) from None
        else:
            counted = native_counter.count(
                engine,
                source,
                rules,
                listed=listed,
                table=table,
                memory_bytes=memory_bytes,
                threads=options.threads,
                directory=work,
            )
            return counted, "native", ""
    counted = stdlib_counter.count(
        source,
        rules,
        listed=listed,
        table=table,
        memory_bytes=memory_bytes,
        processes=options.threads,
        directory=work,
    )
    return counted, "stdlib", note


def results(options: argparse.Namespace, record: dict[str, object], top: list[tuple[str, int]]) -> list[pathlib.Path]:
    """Write the results for people and for programs; the JSON last, as it is the evidence of success.

    Raises Failure.
    """
    text, evidence = pathlib.Path(f"{options.key}.txt"), pathlib.Path(f"{options.key}.json")
    shown = as_text(top, where())
    try:
        text.write_text(shown, "utf-8")
        evidence.write_text(json.dumps(record), "utf-8")
    except OSError as error:
        raise on_disk(error, "writing the result") from None
    print(shown)
    return [text, *([pathlib.Path(f"{options.key}.table.gz")] if options.table else []), evidence]


def run(options: argparse.Namespace, work: pathlib.Path) -> None:
    """Count, write the results, upload them. Raises Failure."""
    time.sleep(options.delay_seconds)
    started, source = time.time(), Source(options.file)
    table = TableFile(pathlib.Path(f"{options.key}.table.gz")) if options.table else None
    try:
        counted, engine, note = count(options, source, table, work)
        written = None if table is None else table.finish()
    except BaseException:
        if table is not None:
            table.path.unlink(missing_ok=True)
        raise
    if note:
        print(f"Counted without the native counter: {note}.", flush=True)
    listed = max(options.words, LISTED)
    record = {
        "format": FORMAT,
        "key": options.key,
        "num_words": options.words,
        "words": counted.top[: options.words],
        "listed": counted.top[:listed],
        "first_left_out": counted.first_left_out(listed),
        "total_words": counted.total,
        "distinct_words": counted.distinct,
        "overlong_words": counted.overlong,
        "bytes": source.bytes,
        "text_bytes": counted.text_bytes,
        "started": round(started, 3),
        "counted": round(time.time(), 3),
        "engine": engine,
        "engine_note": note,
        "table": written,
        **where(),
    }
    paths = results(options, record, counted.top[: options.words])
    if options.output_container:
        import blobs  # its imports take longer than counting a small file

        for path in paths:
            blobs.upload(options.output_container, path)


def main() -> int:
    """Do it all; return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # whatever the node's locale is
    options, work = command_line.parse(), pathlib.Path(f"topn-work-{os.getpid()}")
    try:
        return exit_status(lambda: run(options, work))
    finally:
        if work.exists():
            import shutil  # not needed for a small file, which may take less time than this

            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
