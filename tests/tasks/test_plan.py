"""Finding, naming and keying the inputs."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from pathlib import Path

import pytest
from azure.storage.blob.aio import BlobServiceClient

from tasks.application import Application
from tasks.counting import Counting
from tasks.errors import BadInput
from tasks.files import check_local_inputs, relative_names
from tasks.plan import Plan, make_plan

TOP_3 = Counting(3)


def plan(*inputs: str | Path, counting: Counting = TOP_3, application: str = "0") -> Plan:
    # Never asked: these inputs are local.
    blobs = BlobServiceClient("http://127.0.0.1:1/nobody")
    return asyncio.run(make_plan([str(one) for one in inputs], counting, Application({}, application), blobs))


def names(*inputs: str | Path) -> list[str]:
    return [file.name for file in plan(*inputs).files]


def test_names_are_relative_to_the_folder_that_all_inputs_share(texts: Path) -> None:
    for name in ("a/x.txt", "b/x.txt"):
        (texts / name).parent.mkdir()
        (texts / name).write_text(name)
    assert names(texts / "a/x.txt") == ["x.txt"]
    assert names(texts / "a/x.txt", texts / "b/x.txt") == ["a/x.txt", "b/x.txt"]


def test_patterns_pass_over_folders_and_a_file_named_twice_counts_once(texts: Path) -> None:
    (texts / "b.txt").touch()
    (texts / "a.txt").touch()
    (texts / "folder.txt").mkdir()
    assert names(texts / "b.txt", texts / "*.txt", texts / "../texts/a.txt") == ["b.txt", "a.txt"]


def test_a_name_that_looks_like_a_pattern_is_taken_as_it_stands(texts: Path) -> None:
    (texts / "a[1].txt").touch()
    (texts / "a1.txt").touch()
    assert names(texts / "a[1].txt") == ["a[1].txt"]


def test_two_names_of_one_file_are_two_inputs(texts: Path) -> None:
    (texts / "a").write_text("same")
    (texts / "b").symlink_to("a")
    first, second = plan(texts / "*").files
    assert (first.name, second.name) == ("a", "b")
    assert first.key == second.key
    assert first.batch_task_id != second.batch_task_id


def test_bytes_that_are_no_utf8_are_shown_and_two_such_names_stay_apart(texts: Path) -> None:
    for raw in (b"x\xff", b"x\xfe"):
        Path(os.fsdecode(os.fsencode(texts) + b"/" + raw)).touch()
    assert names(texts / "*") == ["x\\xfe", "x\\xff"]


def test_two_files_cannot_have_one_name() -> None:
    with pytest.raises(BadInput, match=re.escape("x\\xff would name two inputs")):
        relative_names([("/", "t", "x\\xff"), ("/", "t", "x\\xff")])


def test_the_key_changes_with_what_was_counted_and_how_and_with_nothing_else(texts: Path) -> None:
    def key(content: str, counting: Counting = TOP_3, application: str = "0", name: str = "a") -> str:
        (texts / name).write_text(content)
        return plan(texts / name, counting=counting, application=application).files[0].key

    first = key("one")
    assert re.fullmatch("[0-9a-f]{40}", first)
    assert key("one", name="b") == first
    assert key("one", Counting(3, memory_mib=64, threads=0)) == first
    others = [
        key("two"),
        key("one", application="1"),
        key("one", Counting(4)),
        key("one", Counting(3, fold_case=True)),
        key("one", Counting(3, min_length=2)),
        key("one", Counting(3, stop_words=b"")),
        key("one", Counting(3, stop_words=b"the")),
        key("one", Counting(3, table=True)),
    ]
    assert len({first, *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("input", "sentence"),
    [
        ("missing.txt", "there is no such file"),
        ("*.nothing", "no file matches this pattern"),
        ("folder", "is a folder"),
        ("pipe", "is not a regular file"),
        ("dangling", "cannot be read: No such file or directory"),
    ],
)
def test_a_bad_input_is_named_in_one_sentence(texts: Path, input: str, sentence: str) -> None:
    (texts / "folder").mkdir()
    os.mkfifo(texts / "pipe")
    (texts / "dangling").symlink_to("nowhere")
    with pytest.raises(BadInput) as caught:
        plan(texts / input)
    assert str(texts / input) in str(caught.value)
    assert sentence in str(caught.value)
    with pytest.raises(BadInput, match=re.escape(str(caught.value))):
        check_local_inputs([str(texts / input)])


@pytest.mark.usefixtures("as_nobody")
def test_what_is_in_a_folder_that_may_not_be_entered_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is not everybody's
        closed = Path(folder, "closed")
        closed.mkdir()
        (closed / "a.txt").touch()
        closed.chmod(0o400)
        for input in (closed / "a.txt", Path(folder, "clos*", "*")):
            with pytest.raises(BadInput, match=r"closed/a\.txt cannot be read: Permission denied"):
                plan(input)
        closed.chmod(0o700)


@pytest.mark.usefixtures("as_nobody")
def test_a_file_that_may_not_be_read_is_named() -> None:
    path = Path("/etc/shadow")
    with pytest.raises(BadInput, match="/etc/shadow cannot be read: Permission denied"):
        plan(path)
