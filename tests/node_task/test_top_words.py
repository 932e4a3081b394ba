"""The node task's counting, against the definition; its uploads are tested end to end."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_task import top_words
from tests.conftest import naive_top

SCRIPT = Path(top_words.__file__)

# What makes trouble: white space of one to three bytes, BOMs, cut sequences, NUL, punctuation.
WHITE_SPACE = [b" ", b"\n", b"\r\n", b"\t", b"\x1c", b"\xc2\xa0", b"\xc2\x85", b"\xe2\x80\x83", b"\xe3\x80\x80"]
BROKEN = [b"\xff", b"\xc3", b"\xe2\x80", b"\xf0\x9f\x98", b"\x00", top_words.BOM]
WORDS = [b"a", b"the", b"The", b'"', b"don't", b"...", "é".encode()]
pieces = st.sampled_from([*WHITE_SPACE, *BROKEN, *WORDS])
contents = st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=60).map(b"".join))


def count(content: bytes) -> top_words.WordCount:
    counted = top_words.WordCount()
    counted.read(io.BytesIO(content))
    return counted


@given(content=contents, block_bytes=st.integers(3, 20))
def test_counts_equal_the_definition_wherever_the_blocks_are_cut(content: bytes, block_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_words, "BLOCK_BYTES", block_bytes)
        counted = count(content)
    assert counted.top(10**6) == naive_top(content, 10**6)
    assert counted.bytes == len(content)
    assert counted.overlong_words == 0


@given(content=contents, block_bytes=st.integers(3, 20), longest=st.integers(4, 8))
def test_overlong_words_are_counted_and_the_others_are_not_hurt(content: bytes, block_bytes: int, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(top_words, "BLOCK_BYTES", block_bytes)
        patch.setattr(top_words, "LONGEST_WORD_BYTES", longest)
        counted = count(content)
    kept, overlong = Counter[str](), 0
    for word in top_words.WHITE_SPACE.split(content.removeprefix(top_words.BOM)):
        if len(word) > longest:
            overlong += 1
        else:
            kept.update(dict(naive_top(b" " + word, 10)))
    assert counted.words == kept
    assert counted.overlong_words == overlong


def test_white_space_in_bytes_is_that_of_str_split() -> None:
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code <= 0xDFFF:
            continue
        character = chr(code)
        matched = top_words.WHITE_SPACE.fullmatch(character.encode()) is not None
        assert matched == character.isspace(), hex(code)


def test_a_file_without_white_space_is_read_in_linear_time_and_bounded_memory() -> None:
    class Endless(io.RawIOBase):
        blocks = 2000  # 128 MB, never held

        def read(self, size: int = -1) -> bytes:
            self.blocks -= 1
            return b"x" * size if self.blocks >= 0 else b""

    counted = top_words.WordCount()
    counted.read(Endless())  # pyright: ignore[reportArgumentType]
    assert (counted.overlong_words, counted.words) == (1, {})


def test_order_is_by_count_then_word() -> None:
    assert count(b"b a c c b a d").top(3) == [("a", 2), ("b", 2), ("c", 2)]


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "AZ_BATCH_NODE_ID": "tvm-1", "AZ_BATCH_TASK_ID": "t1", "LC_ALL": "C"}
    command = [sys.executable, "-I", SCRIPT, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8")


def test_both_results_are_written(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("žluťoučký kůň, žluťoučký", encoding="utf-8")
    done = run("in.txt", "--words", "1", "--key", "k1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "k1.txt").read_text("utf-8")
    assert text.splitlines() == [
        "Word\tCount",
        "-" * 30,
        "žluťoučký:\t2",
        "-" * 30,
        "Node: tvm-1",
        "Task: t1",
        "Job:  ",
        "Pool: ",
    ]
    record = json.loads((tmp_path / "k1.json").read_text("utf-8"))
    assert record["words"] == [["žluťoučký", 2]]
    assert (record["key"], record["num_words"], record["total_words"], record["distinct_words"]) == ("k1", 1, 3, 2)
    assert text in done.stdout


def test_an_input_that_cannot_be_read_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    done = run("missing.txt", folder=tmp_path)
    assert (done.returncode, done.stderr) == (3, "cannot read missing.txt: No such file or directory\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["in.txt", "--words", "0"], ["in.txt", "--output-container", "c"], []])
def test_bad_arguments_exit_with_status_2(arguments: list[str], tmp_path: Path) -> None:
    assert run(*arguments, folder=tmp_path).returncode == 2
