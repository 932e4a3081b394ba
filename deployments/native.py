"""Builds the native counter: `python -m deployments.native`, with the compiler of this machine.

The binary goes to node_task/build/, its SHA-256 into engines.json there, which the node checks it by. What is newer
than its source is not built again. Without a compiler nothing is built, which is said in one line: Python counts then.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NODE_TASK = Path(__file__).parent.parent / "node_task"
SOURCES = NODE_TASK / "native"
BUILD = NODE_TASK / "build"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def compiler() -> str | None:
    """This machine's C compiler: $CC, cc or gcc or clang; None when there is none."""
    return next(
        (found for name in (os.environ.get("CC"), "cc", "gcc", "clang") if name and (found := shutil.which(name))), None
    )


def build(binary: Path, command: Sequence[str], flags: Sequence[str] = ()) -> None:
    """Compile the counter. Raises CalledProcessError, after the compiler has told why on stderr."""
    binary.parent.mkdir(exist_ok=True)
    unfinished = binary.with_suffix(".unfinished")
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    subprocess.run([*command, *FLAGS, *flags, *sources, "-o", unfinished], check=True)
    unfinished.replace(binary)  # whoever runs the old one keeps it


def is_current(binary: Path) -> bool:
    """Whether a binary is newer than all that it is made of."""
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    return binary.exists() and binary.stat().st_mtime > newest


def write_manifest() -> None:
    """Tell the SHA-256 of all binaries that are there."""
    known = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(BUILD.glob("count-*-*"))}
    (BUILD / "engines.json").write_text(json.dumps(known, indent=1) + "\n", "utf-8")


def main() -> int:
    """Build what is missing or old; the exit status."""
    command = compiler()
    if command is None:
        sys.stderr.write("The native counter was not built, as there is no C compiler here: Python will count.\n")
        return 0
    binary = BUILD / f"count-{platform.machine()}-system"
    if not is_current(binary) or not (BUILD / "engines.json").exists():
        sys.stderr.write(f"Building {binary.relative_to(NODE_TASK.parent)} ...\n")
        try:
            build(binary, [command])
        except subprocess.CalledProcessError as error:
            return error.returncode
        write_manifest()
    return 0


if __name__ == "__main__":
    sys.exit(main())
