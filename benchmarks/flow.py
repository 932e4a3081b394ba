"""`python -m benchmarks.flow --files 1000`: what the flow costs beyond a plain client that does the same work.

On one warm stack, in turns, whole processes: `python -m flows.topn` and `python -m benchmarks.plain_client` count the
same files on pools of the same size; of three pairs the median. Each pair has files of its own, so that no result is
kept from an earlier one; a last run of the flow counts what the first has counted. It is checked that both find the
same words, and that Prefect's server has recorded a task run for each file, or chunk of files. Prints a table and,
last, one line of JSON. With --no-op instead: the flow's own part alone, for numbers of files that would take hours to
count (benchmarks/no_op.py).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.warm_stack import Cost, WarmStack, warm_stack
from deployments.services import STATE

WARM_UP_FILES = 5
MOST_TASK_RUNS, CHUNK = 1000, 100  # as the flow has them: one for each file, or for so many files
LINE = "-" * 30


class Comparison:
    """The runs on one stack, and what they found."""

    def __init__(self, stack: WarmStack, options: argparse.Namespace, out: Console) -> None:
        self._stack, self._options, self._out = stack, options, out
        self.flow: list[Cost] = []
        self.plain: list[Cost] = []
        self.recorded_seconds: list[float] = []
        self.cached: Cost | None = None

    def compare(self) -> None:
        """All runs. Raises RuntimeError where one fails, or the two differ."""
        self._warm_up()
        for number in range(1, self._options.pairs + 1):
            files = make_files(self._stack.folder / f"files{number}", self._options.files, self._options.kib, number)
            runs = [self._run_flow, self._run_plain]
            for run in runs if number % 2 else reversed(runs):
                if not (self._options.cached and run == self._run_plain):
                    run(files, number)
            if not self._options.cached:
                self._check_equal(number)
        self._run_cached()

    def _warm_up(self) -> None:
        """What is loaded, compiled or made at first use is not measured."""
        files = make_files(self._stack.folder / "files0", WARM_UP_FILES, self._options.kib, 0)
        self._stack.run("warmup1", "flows.topn", *self._flow_arguments(files, "warm-up"))
        self._stack.run("warmup2", "benchmarks.plain_client", *self._plain_arguments(files, 0))

    def _flow_arguments(self, files: Path, run_key: str) -> list[str | Path]:
        outputs = ["--outputs", self._stack.folder / "outputs", "--run-key", run_key]
        return [f"{files}/*.txt", *outputs, *self._pool(), "--timeout-minutes", "600"]

    def _plain_arguments(self, files: Path, number: int) -> list[str | Path]:
        return [files, "--outputs", self._stack.folder / f"plain{number}", "--name", f"plain-{number}", *self._pool()]

    def _pool(self) -> list[str]:
        return ["--nodes", "1", "--task-slots", str(self._options.task_slots), "--words", "10"]

    def _run_flow(self, files: Path, number: int) -> None:
        arguments = self._flow_arguments(files, f"pair-{number}")
        self.flow.append(self._stack.run(f"flow{number}", "flows.topn", *arguments))
        waited = self._stack.wait_until_recorded(self._stack.flow_run(), task_runs(self._options.files))
        self.recorded_seconds.append(waited)
        self._say(f"flow {number}", self.flow[-1])

    def _run_plain(self, files: Path, number: int) -> None:
        arguments = self._plain_arguments(files, number)
        self.plain.append(self._stack.run(f"plain{number}", "benchmarks.plain_client", *arguments))
        self._say(f"plain {number}", self.plain[-1])

    def _run_cached(self) -> None:
        """Count again what the first run has counted."""
        arguments = self._flow_arguments(self._stack.folder / "files1", "again")
        self.cached = self._stack.run("cached", "flows.topn", *arguments)
        self._stack.wait_until_recorded(self._stack.flow_run(), task_runs(self._options.files))
        self._say("flow, cached", self.cached)
        results = json.loads((self._stack.folder / "outputs/again/results.json").read_bytes())
        again = sum(not file["cached"] for file in results["files"]) + len(results["failed"])
        if again or len(results["files"]) != self._options.files:
            raise RuntimeError(f"{again} of {self._options.files} files were counted again")
        if self._words("outputs/again") != self._words("outputs/pair-1"):
            raise RuntimeError("the cached results are others than the first run's")

    def profile(self, path: Path) -> None:
        """One more run of the flow, with files of its own, under cProfile: it is slower, and not measured."""
        files = make_files(self._stack.folder / "profiled", self._options.files, self._options.kib, -1)
        self._stack.run("profiled", "flows.topn", *self._flow_arguments(files, "profiled"), profile=path.absolute())

    def _check_equal(self, number: int) -> None:
        flow, plain = self._words(f"outputs/pair-{number}"), self._words(f"plain{number}")
        if len(flow) != self._options.files or flow != plain:
            raise RuntimeError(f"the flow's {len(flow)} results and the plain client's {len(plain)} are not equal")

    def _words(self, folder: str) -> dict[str, str]:
        """The words of each result, without the node that counted them."""
        paths = (self._stack.folder / folder).glob("*_OUTPUT.txt")
        return {path.name: path.read_text("utf-8").split(LINE)[1] for path in paths}

    def _say(self, name: str, cost: Cost) -> None:
        calls = ", ".join(f"{kind} {number}" for kind, number in sorted(cost.batch_calls.items()))
        self._out.out(  # not folded, so that it can be searched
            f"{name:<14} {cost.seconds:7.1f} s, {cost.cpu_seconds:.1f} s of CPU, {cost.peak_mib:.0f} MiB; "
            f"Batch calls: {calls}; storage calls: {cost.storage_calls} + {cost.node_storage_calls} of the nodes"
        )

    def figures(self) -> dict[str, float | int | None]:
        """What came out."""
        files, flow = self._options.files, median(self.flow)
        plain = median(self.plain) if self.plain else None
        assert self.cached is not None
        return {
            "files": files,
            "flow_seconds": round(flow.seconds, 2),
            "plain_seconds": round(plain.seconds, 2) if plain else None,
            "ratio": round(flow.seconds / plain.seconds, 3) if plain else None,
            "flow_cpu_seconds": round(flow.cpu_seconds, 2),
            "plain_cpu_seconds": round(plain.cpu_seconds, 2) if plain else None,
            "batch_calls_per_file": round(flow.batch_calls.total() / files, 4),
            "plain_batch_calls_per_file": round(plain.batch_calls.total() / files, 4) if plain else None,
            "storage_calls_per_file": round(flow.storage_calls / files, 3),
            "plain_storage_calls_per_file": round(plain.storage_calls / files, 3) if plain else None,
            "node_storage_calls_per_file": round(flow.node_storage_calls / files, 3),
            "peak_mib": round(max(cost.peak_mib for cost in self.flow), 1),
            "plain_peak_mib": round(max(cost.peak_mib for cost in self.plain), 1) if self.plain else None,
            "seconds_per_file": round(flow.seconds / files, 4),
            "cached_seconds": round(self.cached.seconds, 2),
            "cached_speedup": round(flow.seconds / self.cached.seconds, 2),
            "cached_peak_mib": round(self.cached.peak_mib, 1),
            "recorded_after_seconds": round(max(self.recorded_seconds), 1),
        }


def run_no_op(stack: WarmStack, options: argparse.Namespace) -> dict[str, float | int | None]:
    """The flow's own part, with tasks that do nothing; what came out."""
    files = make_files(stack.folder / "files", options.files, options.kib, 0)
    cost = stack.run("noop", "benchmarks.no_op", files)
    recorded = stack.wait_until_recorded(stack.flow_run("no-op"), task_runs(options.files))
    seconds = json.loads((stack.folder / "noop.log").read_text("utf-8").splitlines()[-1])
    return {
        "files": options.files,
        "flow_seconds": round(cost.seconds, 2),
        **seconds,
        "flow_cpu_seconds": round(cost.cpu_seconds, 2),
        "batch_calls_per_file": round(cost.batch_calls.total() / options.files, 4),
        "storage_calls_per_file": round(cost.storage_calls / options.files, 4),
        "peak_mib": round(cost.peak_mib, 1),
        "seconds_per_file": round(cost.seconds / options.files, 5),
        "recorded_after_seconds": round(recorded, 1),
    }


def median(costs: list[Cost]) -> Cost:
    """The run that took the middle time."""
    middle = statistics.median_low(cost.seconds for cost in costs)
    return next(cost for cost in costs if cost.seconds == middle)


def task_runs(files: int) -> int:
    """How many task runs of files the flow shows for so many files."""
    size = 1 if files <= MOST_TASK_RUNS else math.ceil(files / (MOST_TASK_RUNS * CHUNK)) * CHUNK
    return math.ceil(files / size)


def make_files(folder: Path, number: int, kib: float, seed: int) -> Path:
    """So many text files of that size, of the words of one language, in a folder; another seed, other texts."""
    dice = random.Random(seed)
    words = ["".join(dice.choices("etaoinshrdlucmfwyp", k=dice.randint(2, 9))) for _ in range(5000)]
    frequencies = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
    folder.mkdir()
    for each in range(number):
        text, size = "", round(kib * 1024)
        while len(text) < size:
            text += " ".join(dice.choices(words, cum_weights=frequencies, k=size // 6 + 1)) + "\n"
        (folder / f"text{each:06d}.txt").write_text(text[:size], "ascii")
    return folder


def shown(figures: dict[str, float | int | None], title: str) -> Table:
    """The figures, for people."""
    table = Table("figure", "value", title=title)
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), "-" if value is None else f"{value:,}")
    return table


def compare(stack: WarmStack, options: argparse.Namespace, out: Console) -> dict[str, float | int | None]:
    """The flow and the plain client in turns; what came out."""
    comparison = Comparison(stack, options, out)
    comparison.compare()
    if options.profile:
        comparison.profile(options.profile)
    return comparison.figures()


def main() -> int:
    """Compare, and print what came out; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flow", description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--kib", type=float, default=10, help="size of each (%(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="of a run of the flow and one of the plain client")
    parser.add_argument("--task-slots", type=int, default=4, help="of the one node (%(default)s)")
    parser.add_argument("--cached", action="store_true", help="leave the plain client out: only the flow, then cached")
    parser.add_argument("--no-op", action="store_true", help="tasks that do nothing, on 256 slots: the flow's own part")
    parser.add_argument(
        "--profile", type=Path, help="run the flow once more, under cProfile, and keep its profile here"
    )
    options = parser.parse_args()
    out = Console(highlight=False)
    STATE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="benchmark-", dir=STATE) as folder, warm_stack(Path(folder)) as stack:
        figures = run_no_op(stack, options) if options.no_op else compare(stack, options, out)
    out.print(shown(figures, f"{options.files:,} files of {options.kib:g} KiB"))
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
