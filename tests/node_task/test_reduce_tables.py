"""The reduce task as a program: exact sums of tables, with both engines, and how it ends on bad ones."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node_task.blob_server import BlobServer, blob_server
from tests.node_task.conftest import in_order, run

Stage = Callable[[Path | None], Path]
Reduce = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server() -> Iterator[BlobServer]:
    with blob_server() as server:
        yield server


@pytest.fixture(params=["native", "stdlib"])
def reduce(request: pytest.FixtureRequest, stage: Stage, server: BlobServer, tmp_path: Path) -> Reduce:
    """Run the reduce task over a manifest's tables."""
    engine = request.getfixturevalue("engine") if request.param == "native" else None
    program = stage(engine) / "reduce_tables.py"

    def reduce(*options: str, tables: list[dict[str, object]], **more: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "manifest.json").write_text(json.dumps({"container": "out", "tables": tables}))
        arguments = ["manifest.json", "--key", "k", "--output-container", "sums", *options]
        environment = {"TOPN_BLOB_ENDPOINT": server.url, "TOPN_TABLES_SAS": "sig=r", "TOPN_OUTPUT_SAS": "sig=w", **more}
        return run(program, *arguments, folder=tmp_path, **environment)

    return reduce


def put(server: BlobServer, name: str, counts: dict[str, int], times: int = 1) -> dict[str, object]:
    """Put a table there; its line in the manifest."""
    rows = sorted((word.encode(), count) for word, count in counts.items())
    packed = gzip.compress(b"".join(b"%b\t%d\n" % row for row in rows))
    server.blobs[f"out/{name}"] = packed
    return {"name": name, "times": times, "sha256": hashlib.sha256(packed).hexdigest()}


def some_tables(server: BlobServer, number: int) -> tuple[list[dict[str, object]], Counter[str]]:
    """Tables with words in common, some of which count more than once; and their sum."""
    chance, tables, total = random.Random(7), [], Counter[str]()
    for index in range(number):
        words = {f"{'ěw'[index % 2]}{chance.randrange(3000)}": chance.randrange(1, 1000) for _ in range(200)}
        times = 1 + index % 3
        tables.append(put(server, f"{index}.table.gz", words, times))
        for word, count in words.items():
            total[word] += times * count
    return tables, total


def test_the_sum_is_exact(reduce: Reduce, server: BlobServer) -> None:
    tables, total = some_tables(server, 30)
    done = reduce("--words", "100", tables=tables)
    assert done.returncode == 0, done.stderr
    assert server.put == ["sums/k.json"]
    record = json.loads(server.blobs["sums/k.json"])
    assert record["words"] == [list(row) for row in in_order(total)[:100]]
    assert (record["total_words"], record["distinct_words"], record["tables"]) == (total.total(), len(total), 30)


def test_an_inner_sum_is_a_table(reduce: Reduce, server: BlobServer) -> None:
    tables, total = some_tables(server, 12)
    done = reduce("--table", tables=tables)
    assert done.returncode == 0, done.stderr
    assert server.put == ["sums/k.table.gz"]
    rows = sorted((word.encode(), count) for word, count in total.items())
    assert gzip.decompress(server.blobs["sums/k.table.gz"]) == b"".join(b"%b\t%d\n" % row for row in rows)


def test_tables_that_an_earlier_run_has_kept_are_read_with_a_sas_of_their_own(
    reduce: Reduce, server: BlobServer
) -> None:
    own = put(server, "a", {"a": 2})
    kept = put(server, "b", {"a": 1, "b": 1})
    server.blobs["kept/how/b"] = server.blobs.pop("out/b")
    tables = [own, {**kept, "name": "how/b", "container": "kept"}]
    done = reduce(tables=tables)
    assert done.returncode == 2
    assert "needs TOPN_CACHE_SAS in the environment" in done.stderr
    done = reduce(tables=tables, TOPN_CACHE_SAS="sig=k")
    assert done.returncode == 0, done.stderr
    assert json.loads(server.blobs["sums/k.json"])["words"] == [["a", 3], ["b", 1]]


def test_no_tables_have_no_words(reduce: Reduce, server: BlobServer) -> None:
    done = reduce(tables=[])
    assert done.returncode == 0, done.stderr
    assert json.loads(server.blobs["sums/k.json"])["words"] == []


def packed(text: bytes) -> bytes:
    return gzip.compress(text, mtime=0)  # the same in each of the processes that run tests: it is in their names


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "cannot fetch bad from container [out]: HTTP 404 BlobNotFound"),
        (b"word\t1\n", "the table bad is damaged: it is not gzip"),
        (packed(b"word\t1\n")[:-3], "truncated gzip file"),
        (packed(b"word\t1\nwor"), "the table bad is damaged: its last row is cut off"),
        (packed(b"word 1\n"), "not a row of a word and its count"),
        (packed(b"a\tb\t1\n"), "not a row of a word and its count"),
        (packed(b"word\t-1\n"), "not a row of a word and its count"),
        (packed(b"word\t\n"), "not a row of a word and its count"),
    ],
)
def test_a_table_that_is_none(content: bytes | None, cause: str, reduce: Reduce, server: BlobServer) -> None:
    good = put(server, "good", {"a": 1})
    if content is not None:
        server.blobs["out/bad"] = content
    done = reduce(tables=[good, {"name": "bad", "times": 1, "sha256": None}, good])
    assert (done.returncode, done.stderr.count("\n")) == (9, 1), done.stderr
    assert cause in done.stderr
    assert server.put == []


def test_a_table_of_another_content(reduce: Reduce, server: BlobServer) -> None:
    line = put(server, "t", {"a": 1})
    put(server, "t", {"a": 2})
    done = reduce(tables=[line])
    assert done.returncode == 9
    assert done.stderr == "the table t is damaged: its SHA-256 is not what the manifest says\n"


def test_a_sas_that_is_refused(reduce: Reduce, server: BlobServer) -> None:
    server.always = "forbidden"
    done = reduce(tables=[{"name": "t", "times": 1, "sha256": None}])
    assert (done.returncode, done.stderr) == (5, "cannot fetch t from container [out]: HTTP 403 AuthenticationFailed\n")


@pytest.mark.parametrize("line", [{}, {"name": 1, "times": 1}, {"name": "t", "times": 0}, {"name": "t", "times": True}])
def test_a_manifest_that_is_none(line: dict[str, object], reduce: Reduce) -> None:
    done = reduce(tables=[line])
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.startswith("manifest.json is not a manifest of tables: ")
