"""Task runs start no faster than Prefect's server keeps their events."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from tasks.monitor import CHUNK, MOST_TASK_RUNS, chunk_key, chunk_name, chunks
from tasks.pace import Pace
from tasks.plan import InputFile


async def test_five_thousand_starts_come_in_a_burst_and_then_at_their_pace() -> None:
    pace, loop, starts = Pace(burst=1000, per_second=4000), asyncio.get_running_loop(), []

    async def start() -> None:
        await pace.turn()
        starts.append(loop.time())

    began = loop.time()
    await asyncio.gather(*(start() for _ in range(5000)))
    assert len(starts) == 5000
    assert all(earlier <= later for earlier, later in pairwise(starts))
    # In no moment have more started than the burst and the pace since the beginning allow.
    for number, at in enumerate(starts, 1):
        assert number <= 1001 + (at - began) * 4000 + 1


def files(number: int) -> list[InputFile]:
    return [InputFile(Path(f"f{n}"), f"f{n}", 1, f"k{n}", f"t{n}") for n in range(number)]


@pytest.mark.parametrize(
    ("number", "runs", "largest"),
    [(1, 1, 1), (1000, 1000, 1), (1001, 11, 100), (5000, 50, 100), (100_000, 1000, 100), (100_001, 501, 200)],
)
def test_beyond_a_thousand_files_task_runs_stand_for_chunks(number: int, runs: int, largest: int) -> None:
    made = chunks(files(number))
    assert (len(made), max(map(len, made))) == (runs, largest)
    assert len(made) <= MOST_TASK_RUNS
    assert largest == 1 or largest % CHUNK == 0
    assert [file.name for chunk in made for file in chunk] == [f"f{n}" for n in range(number)]


def test_a_chunk_is_named_by_its_place_and_keyed_by_all_its_files() -> None:
    first, second = chunks(files(1001))[:2]
    assert chunk_name(100, second) == "files 000101-000200"
    assert chunk_key(first) != chunk_key(second)
    one = InputFile(Path("x"), "{a}", 1, "k", "t")
    assert (chunk_name(0, [one]), chunk_key([one])) == ("{a}", "topn-k")
