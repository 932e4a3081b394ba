"""Builds the native counter: `python -m deployments.native`, with the compiler of this machine; with `--all` for nodes
in the cloud too, static for x86_64 and aarch64, with the compiler of the `ziglang` wheel: the same bytes everywhere.

A binary goes to node_task/build/, its SHA-256 into engines.json there, which the node checks it by. What is newer
than its source is not built again. Without a compiler nothing is built, which is said in one line: Python counts then.
"""

from __future__ import annotations

import argparse
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
ZIG = (sys.executable, "-m", "ziglang", "cc")
# Nothing of the machine that builds goes into a static binary: no paths, no processor of its own, no debugging.
STATIC = {machine: ("-target", f"{machine}-linux-musl", "-static", "-s", "-g0") for machine in ("x86_64", "aarch64")}
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
    sources = sorted(path.name for path in SOURCES.glob("*.c"))
    subprocess.run([*command, *FLAGS, *flags, *sources, "-o", unfinished.resolve()], cwd=SOURCES, check=True)
    unfinished.replace(binary)  # whoever runs the old one keeps it


def is_current(binary: Path) -> bool:
    """Whether a binary is newer than all that it is made of."""
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    return binary.exists() and binary.stat().st_mtime > newest


def write_manifest() -> None:
    """Tell the SHA-256 of all binaries that are there."""
    known = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(BUILD.glob("count-*-*"))}
    (BUILD / "engines.json").write_text(json.dumps(known, indent=1) + "\n", "utf-8")


def wanted(*, everywhere: bool) -> dict[str, tuple[Sequence[str], Sequence[str]]]:
    """The binaries to build, by name: their compiler and its flags."""
    found: dict[str, tuple[Sequence[str], Sequence[str]]] = {}
    if (command := compiler()) is not None:
        found[f"count-{platform.machine()}-system"] = ((command,), ())
    if everywhere:
        found |= {f"count-{machine}-static": (ZIG, flags) for machine, flags in STATIC.items()}
    return found


def main() -> int:
    """Build what is missing or old; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deployments.native", description=__doc__)
    parser.add_argument("--all", action="store_true", help="static binaries for nodes in the cloud, too")
    binaries = wanted(everywhere=parser.parse_args().all)
    if not binaries:
        sys.stderr.write("The native engine was not built, as there is no C compiler here: Python will count.\n")
    for name, (command, flags) in binaries.items():
        binary = BUILD / name
        if is_current(binary):
            continue
        sys.stderr.write(f"Building {binary.relative_to(NODE_TASK.parent)} ...\n")
        try:
            build(binary, command, flags)
        except subprocess.CalledProcessError as error:
            return error.returncode
    if BUILD.exists():
        for binary in BUILD.glob("count-*-*"):
            if not is_current(binary):  # of another day, and of another source: a run would refuse it
                binary.unlink()
        write_manifest()
    return 0


if __name__ == "__main__":
    sys.exit(main())
