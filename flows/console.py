"""What a person at a terminal sees of a run: its messages, a bar that moves while Batch works, a table."""

from __future__ import annotations

import logging
from pathlib import Path

import prefect
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tasks.results import Results

ENGINES = ("prefect.flow_runs", "prefect.task_runs")
MOST_SHOWN = 50  # files: more are looked for in results.json, not on a screen
PREFECT = str(Path(prefect.__file__).parent)


class Console(logging.Handler):
    """Shows this project's own messages as they are, and Prefect's only where they warn.

    Takes the place of Prefect's console handler while its `with` block lasts; what goes to Prefect's API, and so
    to the UI, is not touched.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.out = RichConsole(highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.out,
            transient=True,
        )
        self._bar = None
        self._replaced: list[logging.Handler] = []

    def __enter__(self) -> Console:
        root = logging.getLogger()
        self._replaced = [handler for handler in root.handlers if isinstance(handler, PrefectConsoleHandler)]
        for handler in self._replaced:
            root.removeHandler(handler)
        root.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._progress.stop()
        root = logging.getLogger()
        root.removeHandler(self)
        for handler in self._replaced:
            handler.setLevel(logging.ERROR)  # how its workers and its temporary server stop is nobody's news
            root.addHandler(handler)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record of ours, or a warning of Prefect's; what its engines say, the run's own end says again."""
        try:
            ours = not record.pathname.startswith(PREFECT)
            if not ours and (record.levelno < logging.WARNING or record.name in ENGINES):
                return
            message = printable(record.getMessage())
            if self.out.is_terminal and hasattr(record, "total"):
                self._move(message, record.__dict__["done"], record.__dict__["total"])
            else:
                style = "" if ours else "dim"
                self.out.print(message, style=style)
        except Exception:
            self.handleError(record)

    def _move(self, message: str, done: int, total: int) -> None:
        if self._bar is None:
            self.out.print(message)
            self._bar = self._progress.add_task("", total=None)
            self._progress.start()
        self._progress.update(self._bar, description=message, completed=done, total=total or None)
        if total and done >= total:
            self._progress.stop()

    def show(self, results: Results) -> None:
        """Print the top words of the files, and the failures with their stderr; of very many files, the first."""
        table = Table(title=f"Top {results.num_words} words", title_justify="left")
        table.add_column("File", overflow="fold")
        table.add_column("Top words", overflow="fold")
        table.add_column("Words", justify="right")
        table.add_column("Distinct", justify="right")
        for file in results.files[:MOST_SHOWN]:
            words = ", ".join(f"{printable(word)} {count}" for word, count in file.words)
            table.add_row(printable(file.name), words or "(no words)", str(file.total_words), str(file.distinct_words))
        if more := results.files[MOST_SHOWN:]:
            table.add_row(f"and {len(more)} more files", "in results.json", "", "", style="dim")
        if len(results.files) > 1:
            words = ", ".join(f"{printable(word)} {count}" for word, count in results.overall.words)
            table.add_section()
            table.add_row("all files", words, str(sum(file.total_words for file in results.files)), "")
        for failed in results.failed[:MOST_SHOWN]:
            table.add_row(printable(failed.name), f"[red]FAILED: {printable(failed.sentence)}[/red]", "", "")
        if more := results.failed[MOST_SHOWN:]:
            table.add_row(f"and {len(more)} more files", "[red]FAILED[/red], see results.json", "", "", style="dim")
        self.out.print(table)
        if len(results.files) > 1:
            style = "" if results.overall.exact else "yellow"
            self.out.print(f"All files: {printable(results.overall.sureness)}", style=style)
        if results.fallback:
            self.out.print(printable(results.fallback), style="yellow")
        for failed in results.failed[:MOST_SHOWN]:
            if failed.stderr_tail:
                lines = "\n".join(f"  {printable(line)}" for line in failed.stderr_tail.splitlines())
                self.out.print(f"stderr of {printable(failed.name)}:\n{lines}")


def visible(text: str) -> str:
    """Text for a terminal, one line: control characters shown, not obeyed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def printable(text: str) -> str:
    """The same for rich, whose markup it is not."""
    return escape(visible(text))
