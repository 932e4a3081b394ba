"""The command line of the node task."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

LEAST_MEMORY_MIB = 64


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; a usage error ends the program with status 2."""
    parser = argparse.ArgumentParser(description="Count the words of a file and upload the top ones.")
    parser.add_argument("file", metavar="INPUT", help="path of the text file, plain or gzip")
    parser.add_argument("--words", type=int, default=3, help="how many words to list (default: 3)")
    parser.add_argument("--key", default="result", help="name of the results: KEY.txt, KEY.json, KEY.table.gz")
    parser.add_argument("--output-container", help="upload the results there; without it they are only written here")
    parser.add_argument("--delay-seconds", type=float, default=0, help="wait before counting, to watch a long task")
    parser.add_argument("--fold-case", action="store_true", help="count words that differ only in case as one")
    parser.add_argument("--min-length", type=int, default=1, help="drop words of fewer characters (default: 1)")
    parser.add_argument("--stop-words", metavar="FILE", help="drop the words of this text file")
    parser.add_argument("--memory-mib", type=int, default=256, help="memory to stay within (default: 256)")
    parser.add_argument("--threads", type=int, default=0, help="at the most; 0, the default: all cores")
    parser.add_argument("--table", action="store_true", help="upload the counts of all words, too")
    parser.add_argument("--engine", choices=["auto", "native", "stdlib"], default="auto", help="which one counts")
    options = parser.parse_args(arguments)
    at_least(parser, options, {"words": 1, "min-length": 1, "memory-mib": LEAST_MEMORY_MIB, "threads": 0})
    if options.delay_seconds < 0:
        parser.error(f"--delay-seconds is {options.delay_seconds:g}, but must be 0 or more")
    if options.output_container:
        needed(parser, "--output-container", "TOPN_BLOB_ENDPOINT", *or_identity("TOPN_OUTPUT_SAS"))
    options.threads = options.threads or len(os.sched_getaffinity(0))
    return options


def at_least(parser: argparse.ArgumentParser, options: argparse.Namespace, bounds: dict[str, int]) -> None:
    """Refuse numbers below their bounds; ends the program with status 2."""
    for name, bound in bounds.items():
        value = getattr(options, name.replace("-", "_"))
        if value < bound:
            parser.error(f"--{name} is {value}, but must be {bound} or more")


def or_identity(*sas: str) -> tuple[str, ...]:
    """Variables that hold a SAS; none of them where the node has an identity instead."""
    return () if os.environ.get("TOPN_IDENTITY") else sas


def needed(parser: argparse.ArgumentParser, option: str, *variables: str) -> None:
    """Refuse an option whose environment variables are missing; ends the program with status 2."""
    missing = [name for name in variables if not os.environ.get(name)]
    if missing:
        parser.error(f"{option} needs {' and '.join(missing)} in the environment")
