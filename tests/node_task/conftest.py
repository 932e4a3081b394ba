"""The node's programs as they lie on a node, and the native counter with sanitizers that end it at the first fault."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from deployments import native

ENGINE = f"count-{platform.machine()}-system"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The native counter, built for this test run under AddressSanitizer and UBSan."""
    command = native.compiler()
    if command is None:
        pytest.skip("the native engine was not built: there is no C compiler here")
    binary = tmp_path_factory.mktemp("native") / "build" / ENGINE
    native.build(binary, [command], native.SANITIZED)
    with pytest.MonkeyPatch.context() as patch:  # the process's end is its way to give memory back
        patch.setenv("ASAN_OPTIONS", "detect_leaks=0")
        yield binary


@pytest.fixture
def stage(tmp_path: Path) -> Callable[[Path | None], Path]:
    """Puts the programs, and perhaps an engine with its manifest, into one folder, as a start task does."""

    def stage(engine: Path | None) -> Path:
        folder = tmp_path / "staged"
        folder.mkdir()
        for program in native.NODE_TASK.glob("*.py"):
            shutil.copy(program, folder)
        if engine is not None:
            shutil.copy(engine, folder)
            known = {engine.name: sha256(engine.read_bytes()).hexdigest()}
            (folder / "engines.json").write_text(json.dumps(known))
        return folder

    return stage


def run(program: Path, *arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the node in a task's folder."""
    environment = {
        "PATH": os.environ["PATH"],
        "ASAN_OPTIONS": "detect_leaks=0",
        "AZ_BATCH_NODE_ID": "tvm-1",
        "AZ_BATCH_TASK_ID": "t1",
        **environment,
    }
    command = [sys.executable, "-W", "error", program, *arguments]
    return subprocess.run(
        command, cwd=folder, env={**environment, "LC_ALL": "C"}, capture_output=True, encoding="utf-8", timeout=120
    )


def naive_counts(
    content: bytes, *, fold_case: bool = False, min_length: int = 1, stop_words: frozenset[str] = frozenset()
) -> dict[str, int]:
    """The definition, with the options, written down as simply as can be."""
    text = content.decode("utf-8", errors="replace").removeprefix("\ufeff")
    words = [word.strip("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for word in text.split()]
    if fold_case:
        words = [word.casefold() for word in words]
    return dict(Counter(word for word in words if word and len(word) >= min_length and word not in stop_words))


def in_order(counts: dict[str, int]) -> list[tuple[str, int]]:
    """By count descending, then word."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """A result that is to be uploaded."""
    path = tmp_path / "k.json"
    path.write_text("{}")
    return path
