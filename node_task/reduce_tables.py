"""The reduce task: adds up the tables of many files, for the exact top words over all of them.

A manifest names the tables; they are fetched, a few at a time, and added up within a memory limit:

    {"container": NAME, "tables": [{"name": BLOB, "times": NUMBER, "sha256": HEX or null,
                                     "container": NAME or missing}, ...]}

`times` is how many input files have this very content; `container` is where an earlier run has kept the table. The SAS
come in the environment:

    TOPN_BLOB_ENDPOINT   https://ACCOUNT.blob.core.windows.net
    TOPN_TABLES_SAS      a read SAS of the manifest's container
    TOPN_CACHE_SAS       one of the container of kept tables, where the manifest names any
    TOPN_OUTPUT_SAS      a create-and-write SAS of the output container
    TOPN_IDENTITY        instead of all of these: the resource id of an identity of the pool (identity.py)

The last task uploads KEY.json; an inner one of the tree, with --table, uploads KEY.table.gz and nothing else.
Which exit status means what says failures.py.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pathlib
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import blobs
import native_counter
from counted import Counted, summed_up
from failures import ARGUMENTS, INPUT, TABLE, Failure, exit_status, on_disk, why
from options import at_least, needed, or_identity
from source import Source
from tables import TableFile
from tally import Tally

FORMAT = 1  # of the JSON result
HERE = pathlib.Path(__file__).resolve().parent
PYTHON_BYTES = 40 << 20  # what this process itself holds of the memory limit: TLS alone is ten MiB
LEAST_MEMORY_MIB = 64
FETCHED_AT_ONCE = 4
FETCHED_AHEAD = 8  # tables on disk that wait


class Table:
    """One table of a manifest."""

    def __init__(self, record: dict[str, object], container: str) -> None:
        name, times, sha256 = record["name"], record["times"], record.get("sha256")
        kept_in = record.get("container", container)
        if (
            not isinstance(name, str)
            or type(times) is not int
            or times < 1
            or not isinstance(sha256, (str, type(None)))
            or not isinstance(kept_in, str)
        ):
            raise ValueError("a table has a name, how often it counts, and its SHA-256 or null")
        self.name, self.times, self.sha256, self.container = name, times, sha256, kept_in
        self.sas_in = "TOPN_TABLES_SAS" if kept_in == container else "TOPN_CACHE_SAS"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; a usage error ends the program with status 2."""
    parser = argparse.ArgumentParser(description="Add up tables of words and upload the top ones.")
    parser.add_argument("manifest", metavar="MANIFEST", help="path of the JSON file that names the tables")
    parser.add_argument("--words", type=int, default=3, help="how many words to list (default: 3)")
    parser.add_argument("--key", default="result", help="name of the result: KEY.json, or KEY.table.gz")
    parser.add_argument("--output-container", required=True, help="where to upload the result")
    parser.add_argument("--memory-mib", type=int, default=64, help="memory to stay within (default: 64)")
    parser.add_argument("--table", action="store_true", help="upload the sum as a table, and no top words")
    options = parser.parse_args(arguments)
    at_least(parser, options, {"words": 1, "memory-mib": LEAST_MEMORY_MIB})
    needed(parser, "the program", "TOPN_BLOB_ENDPOINT", *or_identity("TOPN_TABLES_SAS", "TOPN_OUTPUT_SAS"))
    return options


def read_manifest(path: str) -> list[Table]:
    """The tables. Raises Failure."""
    try:
        manifest = json.loads(pathlib.Path(path).read_text("utf-8"))
        container = manifest["container"]
        if not isinstance(container, str):
            raise ValueError("the container has no name")
        tables = [Table(record, container) for record in manifest["tables"]]
    except OSError as error:
        raise Failure(INPUT, f"cannot read {path}: {why(error)}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Failure(INPUT, f"{path} is not a manifest of tables: {error}") from None
    if missing := set(or_identity(*(table.sas_in for table in tables))) - os.environ.keys():
        raise Failure(ARGUMENTS, f"{path} needs {' and '.join(sorted(missing))} in the environment")
    return tables


def fetched(tables: Sequence[Table], work: pathlib.Path) -> Iterator[tuple[Table, pathlib.Path]]:
    """The tables in order, each in a file that is removed after use; the next ones are under way. Raises Failure."""
    waiting: deque[tuple[Table, pathlib.Path, Future[None]]] = deque()
    with ThreadPoolExecutor(FETCHED_AT_ONCE) as pool:
        try:
            for number, table in enumerate(tables):
                path = work / f"table-{number}"
                waiting.append((table, path, pool.submit(fetch, table, path)))
                if len(waiting) > FETCHED_AHEAD:
                    yield taken(*waiting.popleft())
            while waiting:
                yield taken(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def taken(table: Table, path: pathlib.Path, fetching: Future[None]) -> tuple[Table, pathlib.Path]:
    """A table whose fetching has ended. Raises Failure when it failed."""
    fetching.result()
    return table, path


def fetch(table: Table, path: pathlib.Path) -> None:
    """Download a table and check it. Raises Failure."""
    sha256 = blobs.download(table.container, table.name, path, sas_in=table.sas_in)
    if table.sha256 not in (None, sha256):
        raise Failure(TABLE, f"the table {table.name} is damaged: its SHA-256 is not what the manifest says")


def rows_of(table: Table, path: pathlib.Path) -> Iterator[bytes]:
    """The rows of a fetched table, some at a time, cut anywhere. Raises Failure."""
    try:
        source, block = Source(str(path)), b"\n"
        try:
            if not source.packed:
                raise Failure(TABLE, "it is not gzip")
            for block in source.blocks():
                yield block
        finally:
            source.close()
        if not block.endswith(b"\n"):
            raise Failure(TABLE, "its last row is cut off")
    except Failure as failure:
        raise Failure(TABLE, f"the table {table.name} is damaged: {failure}") from None
    path.unlink()


def marked_rows(tables: Sequence[Table], work: pathlib.Path) -> Iterator[bytes]:
    """All rows of all tables, each table's behind a row that says how often it counts. Raises Failure."""
    for table, path in fetched(tables, work):
        yield b"\t%d\n" % table.times
        yield from rows_of(table, path)


def add_up(tables: Sequence[Table], work: pathlib.Path, listed: int, written: TableFile | None, limit: int) -> Counted:
    """Add up with Python alone. Raises Failure."""
    tally = Tally(limit * 7 // 10, work)
    for table, path in fetched(tables, work):
        cut = b""
        for block in rows_of(table, path):
            *rows, cut = (cut + block).split(b"\n")
            try:
                add_rows(tally, rows, table.times)
            except ValueError:
                raise Failure(TABLE, f"the table {table.name} is damaged: not a row of a word and its count") from None
            tally.make_room()
    return summed_up(tally.rows(ordered=written is not None), listed, written)


def add_rows(tally: Tally, rows: Sequence[bytes], times: int) -> None:
    """Add rows to a tally. Raises ValueError when one is none."""
    words = tally.words
    known = words.get
    for row in rows:
        word, count = row.split(b"\t")
        if not word or not count.isdigit():
            raise ValueError(row)
        spelled = word.decode()
        words[spelled] = known(spelled, 0) + times * int(count)


def run(options: argparse.Namespace, work: pathlib.Path) -> None:
    """Fetch, add up, upload. Raises Failure."""
    tables = read_manifest(options.manifest)
    limit, note, engine = options.memory_mib << 20, "", None
    try:
        work.mkdir()
        engine = native_counter.find_engine(HERE, work)
    except OSError as error:
        raise on_disk(error, "making a directory for tables") from None
    except native_counter.Refused as refusal:
        note = str(refusal)
    written = TableFile(pathlib.Path(f"{options.key}.table.gz")) if options.table else None
    if engine is None:
        counted = add_up(tables, work, options.words, written, limit)
    else:
        rows = marked_rows(tables, work)
        try:
            counted = native_counter.merge_rows(
                engine, rows, listed=options.words, table=written, memory_bytes=limit - PYTHON_BYTES
            )
        except Failure as failure:  # to the program its rows are the input
            raise Failure(TABLE if failure.status == INPUT else failure.status, str(failure)) from None
    if written is not None:
        written.finish()
        blobs.upload(options.output_container, written.path)
        return
    record = {
        "format": FORMAT,
        "key": options.key,
        "words": counted.top,
        "total_words": counted.total,
        "distinct_words": counted.distinct,
        "tables": len(tables),
        "engine": "stdlib" if engine is None else "native",
        "engine_note": note,
    }
    path = pathlib.Path(f"{options.key}.json")
    try:
        path.write_text(json.dumps(record), "utf-8")
    except OSError as error:
        raise on_disk(error, "writing the result") from None
    blobs.upload(options.output_container, path)


def main() -> int:
    """Do it all; return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    options, work = parse(), pathlib.Path(f"topn-work-{os.getpid()}")
    try:
        return exit_status(lambda: run(options, work))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
