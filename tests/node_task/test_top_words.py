"""The node task as a program: its results, its engines, and how it ends on bad input."""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from native_counter import Refused, find_engine
from tests.conftest import naive_top
from tests.node_task.conftest import ENGINE, in_order, naive_counts, run

Stage = Callable[[Path | None], Path]
TEXT = "žluťoučký kůň, žluťoučký"


@pytest.fixture
def program(stage: Stage) -> Path:
    """The program with no engine beside it."""
    return stage(None) / "top_words.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A task's folder, with an input."""
    folder = tmp_path / "wd"
    folder.mkdir()
    (folder / "in.txt").write_text(TEXT, encoding="utf-8")
    return folder


def record_of(folder: Path, key: str = "k1") -> dict[str, object]:
    return json.loads((folder / f"{key}.json").read_text("utf-8"))


def test_both_results_are_written(program: Path, folder: Path) -> None:
    done = run(program, "in.txt", "--words", "1", "--key", "k1", folder=folder)
    assert done.returncode == 0, done.stderr
    text = (folder / "k1.txt").read_text("utf-8")
    places = ["Node: tvm-1", "Task: t1", "Job:  ", "Pool: "]
    assert text.splitlines() == ["Word\tCount", "-" * 30, "žluťoučký:\t2", "-" * 30, *places]
    assert text in done.stdout
    record = record_of(folder)
    assert record["words"] == [["žluťoučký", 2]]
    assert (record["key"], record["num_words"], record["total_words"], record["distinct_words"]) == ("k1", 1, 3, 2)
    assert (record["bytes"], record["text_bytes"], record["table"]) == (len(TEXT.encode()), len(TEXT.encode()), None)
    assert {path.name for path in folder.iterdir()} == {"in.txt", "k1.txt", "k1.json"}


def test_a_small_file_is_pythons(stage: Stage, engine: Path, folder: Path) -> None:
    done = run(stage(engine) / "top_words.py", "in.txt", "--key", "k1", folder=folder)
    assert done.returncode == 0, done.stderr
    assert (record_of(folder)["engine"], record_of(folder)["engine_note"]) == ("stdlib", "")


def test_without_a_native_counter_the_result_says_so(program: Path, folder: Path) -> None:
    (folder / "in.txt").write_text(TEXT * 5000, "utf-8")
    done = run(program, "in.txt", "--key", "k1", folder=folder)
    note = f"there is no native counter for {os.uname().machine}"
    assert (record_of(folder)["engine"], record_of(folder)["engine_note"]) == ("stdlib", note)
    assert f"Counted without the native counter: {note}.\n" in done.stdout


def test_the_native_counter_beside_the_program_counts(stage: Stage, engine: Path, folder: Path) -> None:
    staged = stage(engine)
    (staged / ENGINE).chmod(0o644)  # as a resource file comes
    (folder / "in.txt").write_text(f"{TEXT} " * 5000, "utf-8")
    done = run(staged / "top_words.py", "in.txt", "--key", "k1", folder=folder)
    assert done.returncode == 0, done.stderr
    record = record_of(folder)
    assert (record["engine"], record["engine_note"]) == ("native", "")
    assert record["words"] == [["žluťoučký", 10_000], ["kůň", 5000]]
    assert {path.name for path in folder.iterdir()} == {"in.txt", "k1.txt", "k1.json"}


PRETENDER = "#!/bin/sh\ncat >/dev/null\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("not a program", "does not work here"),
        (f"{PRETENDER}exit 1", "does not work here: the native counter ended with 1"),
        (f"{PRETENDER}kill -SEGV $$", "does not work here: the native counter ended with -11"),
        (f"{PRETENDER}echo nonsense", "does not work here"),
        (f"{PRETENDER}printf 'bytes\\t9\\ntotal\\t1\\ndistinct\\t1\\noverlong\\t0\\n\\nthe\\t1\\n'", "wrongly"),
        (f"{PRETENDER}head -c 100000 /dev/zero", "does not work here"),
        ("#!/bin/sh\nexec sleep 30", "it did not end in time"),
    ],
)
def test_an_engine_that_does_not_count_the_sample_is_refused(
    content: str, reason: str, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("native_counter.TRIAL_SECONDS", 0.5)
    binary = tmp_path / ENGINE
    binary.write_text(content)
    with pytest.raises(Refused, match=reason):
        find_engine(stage(binary), tmp_path / "work")


@pytest.mark.parametrize("manifest", [None, "{}", "[]", "{", '{"ENGINE": "0"}'])
def test_an_engine_that_is_not_the_manifests_is_refused(manifest: str | None, stage: Stage, tmp_path: Path) -> None:
    binary = tmp_path / ENGINE
    binary.write_text("anything")
    staged = stage(binary)
    if manifest is None:
        (staged / "engines.json").unlink()
    else:
        (staged / "engines.json").write_text(manifest.replace("ENGINE", ENGINE))
    with pytest.raises(Refused, match=f"{ENGINE} (cannot be checked|is not the file that engines.json tells of)"):
        find_engine(staged, tmp_path / "work")


@pytest.fixture(params=["native", "stdlib"])
def either(request: pytest.FixtureRequest, stage: Stage) -> Path:
    """The program with each engine, which counts small files, too."""
    staged = stage(request.getfixturevalue("engine") if request.param == "native" else None)
    if request.param == "native":
        program = staged / "top_words.py"
        program.write_text(program.read_text("utf-8").replace("SMALL_BYTES = 64 * 1024", "SMALL_BYTES = -1"), "utf-8")
    return staged / "top_words.py"


def test_options_and_the_table(either: Path, folder: Path) -> None:
    content = "The the Straße STRASSE über Über a, of OF ".encode() * 3 + b"once"
    (folder / "in.txt").write_bytes(content)
    (folder / "stop.txt").write_text("\ufeffOf, once", "utf-8")
    options = ["--fold-case", "--min-length", "2", "--stop-words", "stop.txt", "--table", "--words", "1"]
    done = run(either, "in.txt", "--key", "k1", *options, folder=folder)
    assert done.returncode == 0, done.stderr
    wanted = naive_counts(content, fold_case=True, min_length=2, stop_words=frozenset({"of", "once"}))
    record = record_of(folder)
    assert record["listed"] == [list(row) for row in in_order(wanted)]
    packed = (folder / "k1.table.gz").read_bytes()
    assert gzip.decompress(packed).decode() == "".join(f"{word}\t{count}\n" for word, count in sorted(wanted.items()))
    from hashlib import sha256

    assert record["table"] == {"rows": 3, "bytes": len(packed), "sha256": sha256(packed).hexdigest()}


def test_a_gzip_input_is_unpacked(either: Path, folder: Path) -> None:
    content = b"one two two " * 200_000
    (folder / "in.txt").write_bytes(gzip.compress(content))
    done = run(either, "in.txt", "--key", "k1", "--table", folder=folder)
    assert done.returncode == 0, done.stderr
    record = record_of(folder)
    assert record["words"] == [["two", 400_000], ["one", 200_000]]
    assert (record["bytes"], record["text_bytes"]) == ((folder / "in.txt").stat().st_size, len(content))


def test_a_pipe_is_read(either: Path, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with subprocess.Popen(["/bin/sh", "-c", "printf 'a b b' > pipe"], cwd=folder):
        done = run(either, "pipe", "--key", "k1", folder=folder)
    assert done.returncode == 0, done.stderr
    assert record_of(folder)["words"] == [["b", 2], ["a", 1]]


def test_an_empty_file_has_no_words(either: Path, folder: Path) -> None:
    (folder / "in.txt").write_bytes(b"")
    assert run(either, "in.txt", "--key", "k1", "--table", folder=folder).returncode == 0
    record = record_of(folder)
    assert (record["words"], record["first_left_out"], record["total_words"]) == ([], 0, 0)


def test_the_first_word_left_out_is_counted(either: Path, folder: Path) -> None:
    content = b" ".join(b"w%d " % (number % 600) for number in range(900))
    (folder / "in.txt").write_bytes(content)
    assert run(either, "in.txt", "--key", "k1", folder=folder).returncode == 0
    record = record_of(folder)
    assert record["listed"] == [list(row) for row in naive_top(content, 500)]
    assert record["first_left_out"] == 1


def ended(program: Path, folder: Path, *arguments: str, limit: tuple[int, int] | None = None) -> tuple[int, str]:
    """Its exit status and what it says on stderr, run with a limit for its resources; it must leave nothing behind."""
    before = {path.name for path in folder.iterdir()}
    command = [sys.executable, program, *arguments, "--key", "k1"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        preexec_fn=(lambda: resource.setrlimit(limit[0], (limit[1], limit[1]))) if limit else None,
    )
    assert {path.name for path in folder.iterdir()} == before
    assert done.stderr.count("\n") == 1 or done.returncode == 2, done.stderr
    return done.returncode, done.stderr


def test_an_input_that_is_not_there(either: Path, folder: Path) -> None:
    assert ended(either, folder, "no.txt") == (3, "cannot read no.txt: No such file or directory\n")


def test_a_folder_as_input(either: Path, folder: Path) -> None:
    (folder / "sub").mkdir()
    assert ended(either, folder, "sub", "--table") == (3, "cannot read sub: Is a directory\n")


def test_stop_words_that_are_not_there(either: Path, folder: Path) -> None:
    status, said = ended(either, folder, "in.txt", "--stop-words", "no.txt")
    assert (status, said) == (3, "cannot read the stop words no.txt: No such file or directory\n")


@pytest.mark.parametrize("arguments", [["--words", "0"], ["--output-container", "c"], ["--memory-mib", "1"]])
def test_bad_arguments(arguments: list[str], program: Path, folder: Path) -> None:
    assert ended(program, folder, "in.txt", *arguments)[0] == 2


@pytest.mark.parametrize(
    ("damage", "cause"),
    [
        (lambda packed: packed[:-5], "in.txt is a truncated gzip file"),
        (lambda packed: packed[:3], "in.txt is a truncated gzip file"),
        (lambda packed: packed[:-5] + b"wrong", "in.txt is a corrupt gzip file"),
        (lambda packed: packed + b"more", "in.txt is a corrupt gzip file"),
    ],
)
def test_a_damaged_gzip_file(damage: Callable[[bytes], bytes], cause: str, either: Path, folder: Path) -> None:
    (folder / "in.txt").write_bytes(damage(gzip.compress(b"some text " * 1000)))
    status, said = ended(either, folder, "in.txt", "--table")
    assert status == 10
    assert said.startswith(cause)


def test_a_gzip_bomb(either: Path, folder: Path) -> None:
    (folder / "in.txt").write_bytes(zlib.compress(b" " * (64 << 20), wbits=31))
    patched = either.with_name("source.py")
    patched.write_text(patched.read_text("utf-8").replace("1 << 30", "1 << 20"), "utf-8")
    status, said = ended(either, folder, "in.txt")
    assert status == 8
    assert "is a gzip bomb" in said


def test_a_full_disk_while_spilling(stage: Stage, folder: Path) -> None:
    native = pytest.importorskip("deployments.native")
    if native.compiler() is None:
        pytest.skip("the native engine was not built")
    binary = folder.parent / "build" / ENGINE  # sanitizers need more memory than this test gives
    native.build(binary, [native.compiler()])
    with (folder / "in.txt").open("w") as stream:
        stream.writelines(f"{number:x}-longer-than-a-slot\n" for number in range(1_200_000))
    program = stage(binary) / "top_words.py"
    status, said = ended(program, folder, "in.txt", "--memory-mib", "64", limit=(resource.RLIMIT_FSIZE, 1 << 20))
    assert (status, said) == (6, "the disk is full: writing sorted words: File too large\n")


def test_a_full_disk_while_python_spills(program: Path, folder: Path) -> None:
    with (folder / "in.txt").open("w") as stream:
        stream.writelines(f"{number:x}-longer-than-a-slot\n" for number in range(600_000))
    status, said = ended(
        program, folder, "in.txt", "--memory-mib", "64", "--threads", "1", limit=(resource.RLIMIT_FSIZE, 1 << 20)
    )
    assert (status, said) == (6, "the disk is full: writing sorted words: File too large\n")


def test_a_full_disk_while_the_table_is_written(either: Path, folder: Path) -> None:
    with (folder / "in.txt").open("w") as stream:
        stream.writelines(f"{number * 7919:x}\n" for number in range(50_000))
    status, said = ended(either, folder, "in.txt", "--table", limit=(resource.RLIMIT_FSIZE, 20_000))
    assert (status, said) == (6, "the disk is full: writing the table: File too large\n")


def test_too_little_memory(stage: Stage, folder: Path) -> None:
    with (folder / "in.txt").open("w") as stream:
        stream.writelines(f"{number:x}-longer-than-a-slot\n" for number in range(600_000))
    program = stage(None) / "top_words.py"
    status, said = ended(program, folder, "in.txt", "--threads", "1", limit=(resource.RLIMIT_AS, 60 << 20))
    assert status == 7
    assert "out of memory" in said
