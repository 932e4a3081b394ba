"""Which files make the application, and what its hash tells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tasks.application import NODE_TASK, Application, read_application
from tasks.errors import BadInput

CLOUD, HERE = "https://mine.westeurope.batch.azure.com", "http://127.0.0.1:10100"
ENGINES = ("count-x86_64-static", "count-aarch64-static", "count-x86_64-system")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "top_words.py").write_text("program")
    (tmp_path / "native").mkdir()
    (tmp_path / "native/count.c").write_text("source")
    (tmp_path / "__pycache__").mkdir()
    return tmp_path


def build(folder: Path) -> None:
    (folder / "build").mkdir()
    for name in ENGINES:
        (folder / "build" / name).write_text(f"binary of {name}")
    (folder / "build" / "engines.json").write_text(json.dumps({name: f"sha256 of {name}" for name in ENGINES}))


def test_without_engines_it_is_the_programs(folder: Path) -> None:
    assert read_application(HERE, folder).files == {"top_words.py": b"program"}


@pytest.mark.parametrize(
    ("endpoint", "engines"),
    [
        (CLOUD, ENGINES[:2]),
        ("http://batch.example", ENGINES[:2]),
        (HERE, ENGINES),
        ("https://localhost:10101", ENGINES),
    ],
)
def test_a_binary_linked_on_this_machine_is_for_nodes_on_this_machine(
    folder: Path, endpoint: str, engines: tuple[str, ...]
) -> None:
    build(folder)
    application = read_application(endpoint, folder)
    assert set(application.files) == {"top_words.py", "engines.json", *engines}
    assert json.loads(application.files["engines.json"]) == {name: f"sha256 of {name}" for name in engines}
    assert application.files[engines[0]] == f"binary of {engines[0]}".encode()


def test_the_hash_tells_programs_and_sources_and_not_what_was_built(folder: Path) -> None:
    def sha256() -> str:
        return read_application(HERE, folder).sha256

    first = sha256()
    build(folder)
    assert sha256() == first
    (folder / "top_words.py").write_text("another program")
    second = sha256()
    (folder / "native/count.c").write_text("another source")
    os.utime(folder / "native/count.c", (0, 0))
    assert len({first, second, sha256()}) == 3


def test_files_of_the_run_go_with_it_and_are_no_part_of_its_hash(folder: Path) -> None:
    application = read_application(HERE, folder, {"stop_words.txt": b"the"})
    assert application.files == {"top_words.py": b"program", "stop_words.txt": b"the"}
    assert application.sha256 == read_application(HERE, folder).sha256


def test_an_engine_older_than_its_source_is_refused(folder: Path) -> None:
    build(folder)
    os.utime(folder / "build" / ENGINES[0], (0, 0))
    with pytest.raises(BadInput, match=f"{ENGINES[0]} is missing or older than its source: run `make native`"):
        read_application(CLOUD, folder)


def test_the_projects_own_holds_the_program_that_counts() -> None:
    application: Application = read_application(CLOUD)
    assert application.files["top_words.py"] == (NODE_TASK / "top_words.py").read_bytes()
    assert f"topn-{application.sha256[:8]}" in application.staged
