"""The options of the counting, as the node task gets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.counting import Counting, read_stop_words
from tasks.errors import BadInput


def test_what_is_as_the_node_task_has_it_anyway_is_not_said() -> None:
    assert Counting(3).arguments("app") == "--words 3 --memory-mib 256 --threads 1"


def test_each_option_is_said_and_the_stop_words_by_their_name_on_the_node() -> None:
    counting = Counting(5, fold_case=True, min_length=4, stop_words=b"the", table=True, memory_mib=64, threads=0)
    assert counting.arguments("$FOLDER/app") == (
        "--words 5 --memory-mib 64 --threads 0 --fold-case --min-length 4"
        ' --stop-words "$FOLDER/app/stop_words.txt" --table'
    )


def test_stop_words_are_read_and_a_file_that_holds_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stop"
    with pytest.raises(BadInput, match="stop cannot be read: No such file or directory"):
        read_stop_words(path)
    path.write_bytes(b"\xff")
    with pytest.raises(BadInput, match="stop are not UTF-8"):
        read_stop_words(path)
    path.write_text("der die das")
    assert read_stop_words(path) == b"der die das"
