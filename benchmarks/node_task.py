"""`python -m benchmarks.node_task`: how fast, and in how much memory, does a node count?

Runs the tutorial's method, the engine of Python's standard library, the native engine, `wc -w` and plain reading over
the same texts, alternately, as whole processes that nothing else runs beside. Prints a table and, last, one line of
JSON. Exit status 1 when the top words differ anywhere.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.corpora import MB, copies, corpus
from deployments.native import BUILD, NODE_TASK

WORDS = 50
SAMPLE_SECONDS = 0.03
TUTORIAL, STDLIB, NATIVE = "tutorial", "stdlib", "native"


@dataclass
class Method:
    """A way to count, and what its runs over one text took."""

    name: str
    command: Sequence[str | Path]
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)  # of all its processes together
    top: str = ""


def stage(folder: Path) -> Path:
    """The programs and the engine in one folder, as on a node; the program's path."""
    for path in (*NODE_TASK.glob("*.py"), *BUILD.glob("count-*-*"), BUILD / "engines.json"):
        shutil.copy(path, folder)
    return folder / "top_words.py"


def methods(program: Path, text: Path, cores: Sequence[int]) -> list[Method]:
    """All methods for a text; those that can use cores, once for each number of them."""
    found = [Method(TUTORIAL, [sys.executable, "benchmarks/tutorial_task.py", text, "--numwords", str(WORDS)])]
    for engine in (STDLIB, NATIVE):
        for number in cores:
            options = ["--engine", engine, "--threads", str(number), "--words", str(WORDS), "--key", engine]
            found.append(Method(f"{engine} {number}", [sys.executable, program, text, *options]))
    return [*found, Method("wc -w", ["wc", "-w", text]), Method("reading", ["cat", text])]


def measure(method: Method, folder: Path) -> None:
    """Run it once. Raises CalledProcessError."""
    with (folder / "stdout").open("wb") as stdout:
        command = [str(Path(part).resolve()) if str(part).endswith(".py") else part for part in method.command]
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=stdout)
        peak, ended = [0], threading.Event()
        watch = threading.Thread(target=watch_memory, args=(process.pid, peak, ended))
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        method.seconds.append(time.perf_counter() - started)
        ended.set()
        watch.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    method.cpu_seconds.append(usage.ru_utime + usage.ru_stime)
    method.peak_bytes.append(peak[0])
    if method.name not in ("wc -w", "reading"):
        lines = (folder / "stdout").read_text("utf-8").splitlines()
        method.top = "\n".join(line for line in lines if ":\t" in line)


def watch_memory(pid: int, peak: list[int], ended: threading.Event) -> None:
    """Keep the most that a process and its children have held, each at its own peak.

    Not from wait4: its maximum has in it what this process held when it forked.
    """
    while not ended.wait(SAMPLE_SECONDS):
        try:
            process = psutil.Process(pid)
            held = sum(most_held(one.pid) for one in (process, *process.children(recursive=True)))
        except (psutil.Error, OSError):
            continue
        peak[0] = max(peak[0], held)


def most_held(pid: int) -> int:
    """The most bytes that a process has held since it began its program. Raises OSError when it has gone."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def compare(found: Sequence[Method], text: Path, rounds: int, folder: Path, console: Console) -> bool:
    """Run all methods in turn, some times over; whether they agree. Prints a table."""
    with text.open("rb") as stream:  # from here on it is in the system's memory
        while stream.read(MB):
            pass
    for _ in range(rounds):
        for method in found:
            measure(method, folder)
    tops = {method.top for method in found if method.top}
    size, first = text.stat().st_size, found[0]
    table = Table(
        "method",
        "s",
        "MB/s",
        "of the first's time",
        "of its cpu",
        "peak MiB",
        title=f"{text.name}, {size / MB:,.2f} MB",
    )
    for method in found:
        seconds = statistics.median(method.seconds)
        ratio = statistics.median(b / a for a, b in zip(method.seconds, first.seconds, strict=True))
        cpu = statistics.median(b / a for a, b in zip(method.cpu_seconds, first.cpu_seconds, strict=True))
        ratios = (f"1/{ratio:.2f}", f"1/{cpu:.2f}")
        peak = f"{max(method.peak_bytes) / 2**20:.0f}"  # 0: it was too short to look at
        table.add_row(method.name, f"{seconds:.3f}", f"{size / MB / seconds:.1f}", *ratios, peak)
    console.print(table)
    return len(tops) == 1


def speedup(slow: Method, fast: Method) -> float:
    """How many times faster, in the median of the pairs that ran one after the other."""
    return round(statistics.median(a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)), 2)


def cpu_speedup(slow: Method, fast: Method) -> float:
    """The same by processor time, which a machine with other work to do distorts less."""
    return round(statistics.median(a / b for a, b in zip(slow.cpu_seconds, fast.cpu_seconds, strict=True)), 2)


def main() -> int:
    """Make the texts, measure, print; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node_task", description=__doc__)
    parser.add_argument("--english-mb", type=int, default=200)
    parser.add_argument("--czech-mb", type=int, default=20)
    parser.add_argument("--log-mb", type=int, default=20)
    parser.add_argument("--copies", type=int, default=7, help="of the English text, for two cores (default: 7)")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not (BUILD / "engines.json").exists():
        parser.error("the native engine is not built: run `make native`")
    console, figures = Console(), dict[str, float]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = stage(folder)
        english = corpus("english", options.english_mb * MB)
        found = {method.name: method for method in methods(program, english, (1, 2))}
        identical = compare(list(found.values()), english, options.rounds, folder, console)
        figures["native_speedup"] = speedup(found[TUTORIAL], found["native 1"])
        figures["native_cpu_speedup"] = cpu_speedup(found[TUTORIAL], found["native 1"])
        share = max(found["native 1"].peak_bytes) / max(found[TUTORIAL].peak_bytes)
        figures["native_memory_share"] = round(share, 3)
        figures["stdlib_speedup"] = speedup(found[TUTORIAL], found["stdlib 1"])
        figures["stdlib_cpu_speedup"] = cpu_speedup(found[TUTORIAL], found["stdlib 1"])
        figures["stdlib_two_core_speedup"] = speedup(found[TUTORIAL], found["stdlib 2"])
        large = copies(english, options.copies)
        both = [method for method in methods(program, large, (1, 2)) if method.name.startswith(NATIVE)]
        identical &= compare(both, large, options.rounds, folder, console)
        figures["native_two_core_speedup"] = speedup(*both)
        for language, megabytes in (("czech", options.czech_mb), ("log", options.log_mb)):
            text = corpus(language, megabytes * MB)
            identical &= compare(methods(program, text, (1, 2)), text, options.rounds, folder, console)
        small = corpus("english", 1000)
        tiny = methods(program, small, (1,))[:3]
        identical &= compare(tiny, small, 10 * options.rounds, folder, console)
        for method in tiny[1:]:
            extra = statistics.median(method.cpu_seconds) - statistics.median(tiny[0].cpu_seconds)
            figures[f"{method.name.split()[0]}_extra_cpu_ms_of_1_kb"] = round(1000 * extra, 1)
    sys.stdout.write(json.dumps({**figures, "identical": identical}) + "\n")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
