"""Both engines and a naive count agree, on any bytes and options, wherever blocks and parts are cut."""

from __future__ import annotations

import gzip
import io
import itertools
import platform
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import native_counter
import source as sources
import stdlib_counter
import words
from deployments import native
from source import Source
from stdlib_counter import StdlibCounter
from tables import TableFile
from tally import Tally
from tests.node_task.conftest import in_order, naive_counts
from words import BOM, WHITE_SPACE, Rules

# What makes trouble: white space of one to three bytes, BOMs, cut sequences, NUL, punctuation, folding that grows.
WHITE = [b" ", b"\n", b"\r\n", b"\t", b"\x1c", b"\xc2\xa0", b"\xc2\x85", b"\xe2\x80\x83", b"\xe3\x80\x80"]
BROKEN = [b"\xff", b"\xc3", b"\xe2\x80", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xf4\x90", b"\xc0\xaf", b"\x00", BOM]
SPELLED = [
    *(b"a", b"the", b"The", b'"', b"don't", b"..."),
    *(word.encode() for word in ("é", "É", "ß", "ΐ", "İ", "😀")),
]
LONG = [b"x" * 15, b"x" * 16, b"y" * 17, b"averylongwordindeedwithmanyletters" * 2]
pieces = st.sampled_from([*WHITE, *BROKEN, *SPELLED, *LONG])
contents = st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=60).map(b"".join))
rules = st.builds(
    Rules,
    fold_case=st.booleans(),
    min_length=st.integers(1, 4),
    stop_words=st.frozensets(st.sampled_from(["the", "a", "é", "ss", "don't", "\ufffd"])),
)
on_each_example = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def expected(content: bytes, rules: Rules) -> dict[str, int]:
    return naive_counts(content, fold_case=rules.fold_case, min_length=rules.min_length, stop_words=rules.stop_words)


def kept_and_overlong(content: bytes, longest: int) -> tuple[dict[str, int], int]:
    """The definition, with words of more than `longest` bytes left out and counted."""
    kept, overlong = dict[str, int](), 0
    for word in WHITE_SPACE.split(content.removeprefix(BOM)):
        if len(word) > longest:
            overlong += 1
            continue
        for spelled, count in naive_counts(b" " + word).items():
            kept[spelled] = kept.get(spelled, 0) + count
    return kept, overlong


def blocks_of(content: bytes, size: int) -> Iterator[bytes]:
    stream = io.BytesIO(content)
    return iter(lambda: stream.read(size), b"")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@given(content=contents, rules=rules, block_bytes=st.integers(1, 20))
def test_the_stdlib_counter_equals_the_definition(content: bytes, rules: Rules, block_bytes: int) -> None:
    counter = StdlibCounter(rules, 1 << 30, Path())
    counter.read(blocks_of(content, block_bytes))
    assert counter.tally.words == expected(content, rules)
    assert (counter.text_bytes, counter.overlong) == (len(content), 0)


@given(content=contents, block_bytes=st.integers(3, 20), longest=st.integers(4, 8))
def test_the_stdlib_counter_leaves_overlong_words_out(content: bytes, block_bytes: int, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stdlib_counter, "LONGEST_WORD_BYTES", longest)
        counter = StdlibCounter(Rules(), 1 << 30, Path())
        counter.read(blocks_of(content, block_bytes))
    assert (counter.tally.words, counter.overlong) == kept_and_overlong(content, longest)


@on_each_example
@given(content=contents, cuts=st.sets(st.integers(0, 200), max_size=5), block_bytes=st.integers(1, 20))
def test_each_token_is_in_one_part(content: bytes, cuts: set[int], block_bytes: int, folder: Path) -> None:
    (folder / "in").write_bytes(content)
    counter = StdlibCounter(Rules(), 1 << 30, folder)
    source = Source("in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK_BYTES", block_bytes)
        bounds = sorted({0, *(min(cut, len(content)) for cut in cuts), len(content)})
        for start, end in itertools.pairwise(bounds):
            counter.read(source.part(start, end), from_beginning=start == 0)
    source.close()
    # A BOM that the first part ends in is outside of this test: parts are 32 MiB and more.
    if len(bounds) < 2 or bounds[1] >= len(BOM) or not content.startswith(BOM):
        assert counter.tally.words == expected(content, Rules())
    assert source.bytes == len(content)


@on_each_example
@given(content=contents, rules=rules, block_bytes=st.integers(3, 20), threads=st.integers(1, 3), table=st.booleans())
def test_the_native_counter_equals_the_definition(
    content: bytes, rules: Rules, block_bytes: int, threads: int, table: bool, folder: Path, engine: Path
) -> None:
    (folder / "in").write_bytes(content)
    arguments = ["--top", "1000", "--threads", str(threads), "--block-bytes", str(block_bytes), "--part-bytes", "7"]
    arguments += native_counter.rule_arguments(rules, folder)
    written = TableFile(folder / "table.gz") if table else None
    counted = native_counter.Running(engine, [*arguments, "in"], table=written).result()
    wanted = expected(content, rules)
    assert counted.top == in_order(wanted)
    assert (counted.total, counted.distinct) == (sum(wanted.values()), len(wanted))
    assert (counted.text_bytes, counted.overlong) == (len(content), 0)
    if written is not None:
        assert rows_in(written, wanted)


def rows_in(table: TableFile, counts: dict[str, int]) -> bool:
    """Whether a finished table has these counts, sorted, and knows how many."""
    rows = sorted((word.encode(), count) for word, count in counts.items())
    text = b"".join(b"%b\t%d\n" % row for row in rows)
    return (table.finish()["rows"], gzip.decompress(table.path.read_bytes())) == (len(rows), text)


@on_each_example
@given(content=contents, block_bytes=st.integers(3, 20), longest=st.integers(4, 8), threads=st.integers(1, 3))
@example(content=b"\x00" * 7 + b"\xc2\xa0\x00", block_bytes=3, longest=4, threads=2)  # a part ends in white space
def test_the_native_counter_leaves_overlong_words_out(
    content: bytes, block_bytes: int, longest: int, threads: int, folder: Path, engine: Path
) -> None:
    (folder / "in").write_bytes(content)
    arguments = ["--top", "1000", "--threads", str(threads), "--block-bytes", str(block_bytes), "--part-bytes", "9"]
    counted = native_counter.Running(engine, [*arguments, "--longest", str(longest), "in"]).result()
    kept, overlong = kept_and_overlong(content, longest)
    assert (dict(counted.top), counted.overlong) == (kept, overlong)


def test_white_space_in_bytes_is_that_of_str_split() -> None:
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code <= 0xDFFF:
            continue
        character = chr(code)
        matched = WHITE_SPACE.fullmatch(character.encode()) is not None
        assert matched == character.isspace(), hex(code)


def test_no_character_folds_beyond_the_list_of_those_that_do() -> None:
    for code in range(words.FOLDING_ENDS, sys.maxunicode + 1):
        assert chr(code).casefold() == chr(code), hex(code)


def test_the_native_counter_knows_every_character(folder: Path, engine: Path) -> None:
    below, beyond = range(words.FOLDING_ENDS), range(words.FOLDING_ENDS, sys.maxunicode + 1, 97)
    codes = [code for code in (*below, *beyond) if not 0xD800 <= code <= 0xDFFF]
    content = "".join(f"{chr(code)}x " for code in codes).encode()
    (folder / "in").write_bytes(content)
    rules = Rules(fold_case=True)
    arguments = ["--top", "200000", *native_counter.rule_arguments(rules, folder), "in"]
    counted = native_counter.Running(engine, arguments).result()
    assert dict(counted.top) == expected(content, rules)


@pytest.mark.parametrize("define", ["-DUSUAL", "-U__SSE2__"])
def test_white_space_is_found_by_other_processors_too(
    define: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=0")
    command = native.compiler()
    if command is None or platform.machine() != "x86_64":
        pytest.skip("the native engine was not built for two kinds of processors")
    content = b"".join(b"a%cb%c " % (byte, 255 - byte) for byte in range(256)) * 3
    (folder / "in").write_bytes(content)
    binary = folder / "build" / "count"
    native.build(binary, [command], [*native.SANITIZED, define])
    counted = native_counter.Running(binary, ["--top", "2000", "in"]).result()
    assert counted.top == in_order(naive_counts(content))


def many_words(number: int) -> bytes:
    """Distinct words, short and long, in no order, each twice."""
    numbers = [(index * 7919) % number for index in range(number)] * 2
    return " ".join(f"{index:x}{'-a-longer-one' * (index % 3)}" for index in numbers).encode()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("table", [False, True])
def test_the_native_counter_spills_and_stays_exact(threads: int, table: bool, folder: Path, engine: Path) -> None:
    content = many_words(150_000)
    (folder / "in").write_bytes(content)
    arguments = ["--top", "1000", "--threads", str(threads), "--part-bytes", "100000", "--memory-bytes", "300000"]
    written = TableFile(folder / "table.gz") if table else None
    counted = native_counter.Running(engine, [*arguments, "in"], table=written).result()
    wanted = naive_counts(content)
    assert counted.top == in_order(wanted)[:1000]
    assert (counted.total, counted.distinct) == (300_000, 150_000)
    if written is not None:
        assert rows_in(written, wanted)
    assert {path.name for path in folder.iterdir()} <= {"in", "table.gz"}


def test_the_stdlib_counter_spills_and_stays_exact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stdlib_counter.FEWEST_TOKENS", 1000)
    monkeypatch.setattr("tally.FEWEST_SPILLED", 1000)
    monkeypatch.setattr("tally.RUNS_AT_ONCE", 3)
    content = many_words(50_000)
    counter = StdlibCounter(Rules(), 1, folder / "work")
    counter.read(blocks_of(content, 10_000))
    assert len(counter.tally.runs) > 1
    rows = list(counter.tally.rows(ordered=True))
    assert rows == sorted((word.encode(), count) for word, count in naive_counts(content).items())


def test_a_tally_merges_more_runs_than_it_opens_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tally.RUNS_AT_ONCE", 3)
    tally = Tally(0, folder / "work")
    for number in range(40):
        tally.words.update({"each": 1, f"own{number:02}": number})
        tally.spill()
    assert len(tally.runs) < 12
    assert list(tally.rows(ordered=True)) == [
        (b"each", 40),
        *((f"own{number:02}".encode(), number) for number in range(40)),
    ]


@pytest.mark.parametrize("table", [False, True])
def test_processes_count_parts_of_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch, table: bool) -> None:
    monkeypatch.setattr("stdlib_counter.PART_FEWEST_BYTES", 1)
    content = many_words(2000)
    (folder / "in").write_bytes(content)
    source, written = Source("in"), TableFile(folder / "table.gz") if table else None
    counted = stdlib_counter.count(
        source,
        Rules(),
        listed=10**6,
        table=written,
        memory_bytes=1 << 30,
        processes=3,
        directory=folder / "work",
    )
    source.close()
    assert counted.top == in_order(naive_counts(content))
    assert (counted.text_bytes, source.bytes) == (len(content), len(content))
    if written is not None:
        assert rows_in(written, naive_counts(content))


def test_a_file_without_white_space_is_read_in_linear_time_and_bounded_memory() -> None:
    tracemalloc.start()
    counter = StdlibCounter(Rules(), 1 << 30, Path())
    counter.read(itertools.repeat(b"x" * (64 * 1024), 500))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (counter.overlong, counter.tally.words) == (1, {})
    assert peak < 2 << 20


@pytest.mark.parametrize("text", [b"", b"a", b"a b\nc" * 100_000])
@pytest.mark.parametrize("streams", [1, 3])
def test_gzip_is_unpacked(text: bytes, streams: int, folder: Path) -> None:
    packed = gzip.compress(text) * streams + b"\0" * 10
    (folder / "in").write_bytes(packed)
    source = Source("in")
    assert b"".join(source.blocks()) == text * streams
    source.close()
    assert (source.packed, source.bytes) == (True, len(packed))
