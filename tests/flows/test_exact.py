"""The top words of all files: exact, from the files' lists where they tell, and else from their whole tables."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from azure.core.exceptions import ResourceNotFoundError

from flows.parameters import Parameters
from flows.topn import topn
from tasks import reduction
from tasks.clients import Clients
from tasks.errors import RunFailed
from tasks.results import Results
from tests.conftest import create_pool, naive_top, until

FILES = 200

pytestmark = pytest.mark.usefixtures("prefect_api", "environment")


async def count(tmp_path: Path, texts: Path, **parameters: object) -> Results:
    given = {"inputs": [str(texts / "*")], "outputs": str(tmp_path / "outputs"), "nodes": 2, "task_slots": 4}
    return await topn(Parameters.model_validate({**given, **parameters}))  # pyright: ignore[reportReturnType]


def naive_overall(texts: Path, number: int) -> list[tuple[str, int]]:
    """The top words of all files, counted as if they were one."""
    return naive_top(b"\n".join(path.read_bytes() for path in sorted(texts.iterdir())), number)


def english_like(words: int) -> list[str]:
    """Words whose frequencies fall off with their rank as those of English do (Zipf)."""
    ranks = range(1, 1001)
    return random.Random(1).choices([f"w{rank}" for rank in ranks], [1 / (rank + 2.7) for rank in ranks], k=words)


def write_different_files(texts: Path, files: int) -> None:
    """Files of which each has 600 words of its own thrice, and a word twice that no list of 500 shows."""
    for number in range(files):
        own = " ".join(f"f{number}-{word}" for word in range(600))
        (texts / f"{number:03}").write_text(f"{own} {own} {own} everywhere everywhere number{number % 7}\n")


async def test_a_corpus_cut_into_200_files_is_certified_exact_by_its_lists(texts: Path, tmp_path: Path) -> None:
    words = english_like(FILES * 15_000)
    for number in range(FILES):
        (texts / f"{number:03}").write_text(" ".join(words[number::FILES]))
    results = await count(tmp_path, texts, words=100)
    assert len(results.files) == FILES
    assert any(file.distinct_words > 500 for file in results.files)  # the lists leave words out
    assert (results.overall.exact, results.overall.reduce_tasks) == (True, 0)
    assert results.overall.words == naive_overall(texts, 100)


async def test_different_files_need_their_tables_and_are_exact(clients: Clients, texts: Path, tmp_path: Path) -> None:
    write_different_files(texts, FILES)
    (texts / "twin of 000").write_bytes((texts / "000").read_bytes())
    results = await count(tmp_path, texts, words=10, keep="everything", run_key="different")
    assert (results.overall.exact, results.overall.reduce_tasks) == (True, 1)
    assert results.overall.words == naive_overall(texts, 10)
    assert results.overall.words[0] == ("everywhere", 2 * (FILES + 1))
    saved = json.loads((tmp_path / "outputs/different/results.json").read_text("utf-8"))
    assert saved["overall"] == json.loads(results.overall.model_dump_json())

    (task,) = [task async for task in clients.batch.list_tasks("topn-different-g1") if task.id.startswith("reduce-")]
    assert "sig=" not in str(task.command_line)
    environment = {setting.name: str(setting.value) for setting in task.environment_settings or []}
    permissions = {name: parse_qs(value).get("sp") for name, value in environment.items()}
    assert permissions == {"TOPN_BLOB_ENDPOINT": None, "TOPN_OUTPUT_SAS": ["cw"], "TOPN_TABLES_SAS": ["r"]}


async def test_many_tables_are_merged_in_a_tree_on_a_pool_that_the_user_named_too(
    clients: Clients, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduction, "TABLES_PER_TASK", 2)
    await create_pool(clients, "mine")
    for number, text in enumerate(["a b c", "b c", "c d", "d e", "a b c"]):
        (texts / f"{number}").write_text(text)
    results = await count(tmp_path, texts, words=3, exact="always", pool_id="mine")
    # Five files are four tables: two tasks merge two each, and a third their tables.
    assert (results.overall.exact, results.overall.reduce_tasks) == (True, 3)
    assert results.overall.words == [("c", 4), ("b", 3), ("a", 2)]


async def test_tables_of_kept_results_are_merged_too_and_what_comes_out_is_kept(
    clients: Clients, texts: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (texts / name).write_text(f"{name} word")
    await count(tmp_path, texts)

    # All is counted, so only the tables need a node.
    results = await count(tmp_path, texts, exact="always", keep="everything", run_key="kept")
    assert [file.cached for file in results.files] == [True, True]
    assert (results.overall.exact, results.overall.reduce_tasks) == (True, 1)
    assert results.overall.words == naive_overall(texts, 3) == [("word", 2), ("a", 1), ("b", 1)]
    (task,) = [task async for task in clients.batch.list_tasks("topn-kept-g1")]
    permissions = {one.name: parse_qs(str(one.value)).get("sp") for one in task.environment_settings or []}
    assert permissions["TOPN_CACHE_SAS"] == ["r"]

    # The same once more: nothing at all is made.
    results = await count(tmp_path, texts, exact="always", run_key="nothing")
    assert (results.overall.exact, results.overall.reduce_tasks) == (True, 0)
    assert results.overall.words == naive_overall(texts, 3)
    assert not await clients.blobs.get_container_client("topn-nothing-output").exists()

    # A table of this run and two that were kept.
    (texts / "c").write_text("b word b")
    results = await count(tmp_path, texts, exact="always")
    assert [file.cached for file in results.files] == [True, True, False]
    assert results.overall.reduce_tasks == 1
    assert results.overall.words == naive_overall(texts, 3)


async def test_where_tables_are_not_wanted_the_result_says_that_it_is_not_exact(texts: Path, tmp_path: Path) -> None:
    write_different_files(texts, 3)
    results = await count(tmp_path, texts, words=2, exact="never")
    # The two other files may each hide three of a word that one of them lists.
    assert (results.overall.exact, results.overall.largest_error, results.overall.reduce_tasks) == (False, 6, 0)


async def test_a_table_that_is_lost_fails_the_run_with_its_cause_and_all_files_are_kept(
    clients: Clients, texts: Path, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        (texts / name).write_text(name)
    counting = asyncio.create_task(
        count(tmp_path, texts, exact="always", nodes=1, task_slots=1, delay_seconds=2, run_key="lost-table")
    )
    output = clients.blobs.get_container_client("topn-lost-table-output")

    async def taken_away() -> bool:
        with contextlib.suppress(ResourceNotFoundError):
            async for name in output.list_blob_names():
                if name.endswith(".json"):
                    await output.delete_blob(name.replace(".json", ".table.gz"))
                    return True
        return False

    await until(taken_away, "the first file's table is taken away")
    with pytest.raises(RunFailed, match=r"tables could not be merged.*A reduce task failed") as caught:
        await counting
    results = caught.value.results
    assert results is not None
    assert [file.name for file in results.files] == ["first", "second"]
    assert "A reduce task failed" in results.overall.not_reduced


async def test_options_reach_the_nodes(texts: Path, tmp_path: Path) -> None:
    (texts / "text").write_text("The the THE cat Cat sat on a mat, Straße STRASSE")
    (tmp_path / "stop words").write_text("the\nOn\n")
    results = await count(
        tmp_path, texts, words=9, fold_case=True, min_length=2, stop_words=str(tmp_path / "stop words")
    )
    assert results.files[0].words == [("cat", 2), ("strasse", 2), ("mat", 1), ("sat", 1)]
