"""Feeds the native counter what a fuzzer makes up, with sanitizers on: `python -m deployments.fuzzing --seconds 60`.

With clang it is libFuzzer, which keeps what it learns in .local/fuzz/; without it the target makes texts up by itself.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from deployments import native

ROOT = native.NODE_TASK.parent
TARGET = ROOT / "tests" / "node_task" / "fuzz_counter.c"
STATE = ROOT / ".local" / "fuzz"


def main() -> int:
    """Build the target and run it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deployments.fuzzing", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    clang, other = shutil.which("clang"), native.compiler()
    if clang is None and other is None:
        sys.stderr.write("There is no C compiler here to fuzz with.\n")
        return 1
    corpus = STATE / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    sources = [TARGET, *(path for path in sorted(native.SOURCES.glob("*.c")) if path.name != "main.c")]
    binary = STATE / "fuzz-counter"
    command = [clang, "-fsanitize=fuzzer"] if clang else [str(other), "-DSTANDALONE"]
    flags = [*native.FLAGS, *native.SANITIZED, "-D_GNU_SOURCE", f"-I{native.SOURCES}"]
    running: list[str | Path] = [binary, corpus, f"-max_total_time={seconds}"] if clang else [binary, str(seconds)]
    built = subprocess.run([*command, *flags, *sources, "-o", binary])
    return built.returncode or subprocess.run(running).returncode


if __name__ == "__main__":
    sys.exit(main())
