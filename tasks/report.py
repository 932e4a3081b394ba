"""What a run logs for people to read in the Prefect UI: tables, a report with pictures, a link.

The keys are the same for all runs, so that the UI shows their history.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from azure.core.exceptions import AzureError
from azure.storage.blob import ContentSettings
from prefect import get_run_logger, task
from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE

from tasks.clients import Clients
from tasks.drawing_process import PicturesNotDrawn, draw
from tasks.errors import brief
from tasks.pictures import Picture
from tasks.plan import Plan
from tasks.results import Counted, FailedFile, Results
from tasks.retries import STEP
from tasks.run import Run

RESULTS_ARTIFACT = "topn-results"
REPORT_ARTIFACT = "topn-report"
FAILURES_ARTIFACT = "topn-failures"
OUTPUT_ARTIFACT = "topn-output"

LONGEST_LIST = 50  # failed files told one by one
LONGEST_TABLE = 1000  # rows: an artifact is one row of Prefect's database
LONGEST_CELL = 500  # characters
LONGEST_WORD = 60  # characters: a word of 64 KiB would push its count off the page
WORDS_PER_FILE = 50  # of up to 10,000

# Prefect's UI renders Markdown, and HTML in it, in tables' cells too; of numeric character references it decodes none.
MARKDOWN = re.compile(r"[\\`*_\[\]<>&#!~$|]|^[-+]")

# By class of failure (tasks/monitor.py), for who has to act.
WHAT_TO_DO = {
    "exit_code": "read stderr; when the input is at fault, mend it and run again",
    "resource_file": "the node could not fetch its input: is it still there, and may the run read it?",
    "upload": "the node could not deliver: is the output container still there?",
    "wall_clock": "the task was ended at its job's time limit: more nodes, or a longer timeout",
    "scheduling": "Batch could not start the task: look at the pool's nodes in the portal",
    "result": "run again; when it happens again, read the task's stderr",
    "changed": "run again: what is there now will be counted",
    "timeout": "more nodes, or a longer timeout",
    "run": "see the run's own failure",
}


@dataclass(frozen=True)
class Bill:
    """What the run's own nodes were there for, from the pool's creation to its release."""

    nodes: int
    spot_nodes: int
    created: datetime
    released: datetime
    price_per_hour: float | None
    spot_price_per_hour: float | None
    max_node_hours: float  # the ceiling of its leases

    @property
    def hours(self) -> float:
        """Of the pool's life."""
        return (self.released - self.created).total_seconds() / 3600

    @property
    def node_hours(self) -> float:
        """At the most: nodes arrive after the pool's creation."""
        return self.hours * (self.nodes + self.spot_nodes)

    @property
    def cost(self) -> float | None:
        """In the currency of the prices; None without any."""
        if self.price_per_hour is None and self.spot_price_per_hour is None:
            return None
        dedicated, spot = self.nodes * (self.price_per_hour or 0), self.spot_nodes * (self.spot_price_per_hour or 0)
        return self.hours * (dedicated + spot)


@task(name="results tables", **STEP)
async def log_results(results: Results) -> None:
    """Log the top words overall and, for up to a thousand files, of each; and the failures, when there are any."""
    overall = [{"file": "ALL FILES", "top words": _words(results.overall.words)}]
    rows = [
        {
            "file": _cell(file.name),
            "top words": _words(file.words[:WORDS_PER_FILE]) + (", …" if len(file.words) > WORDS_PER_FILE else ""),
            "words": file.total_words,
            "distinct": file.distinct_words,
            "node": file.node,
            "seconds": file.seconds,
        }
        for file in results.files[:LONGEST_TABLE]
    ]
    left_out = len(results.files) - len(rows)
    more = f"; {left_out} more files are in results.json" if left_out else ""
    await acreate_table_artifact(
        key=RESULTS_ARTIFACT,
        table=overall + rows,
        description=f"Top {results.num_words} words, run {results.run_key}{more}",
    )
    if results.failed:
        await acreate_table_artifact(
            key=FAILURES_ARTIFACT,
            table=[_failure(failed) for failed in results.failed[:LONGEST_TABLE]],
            description=f"{len(results.failed)} files were not counted, run {results.run_key}",
        )


@task(name="output link", **STEP)
async def log_output(clients: Clients, run: Run, pictures: Mapping[str, Picture]) -> None:
    """Upload the pictures beside the results and log a link to their container (who may read it must sign in)."""
    container = clients.blobs.get_container_client(run.output_container)
    for name, picture in pictures.items():
        settings = ContentSettings(content_type=picture.media_type)
        await container.upload_blob(name + picture.suffix, picture.content, overwrite=True, content_settings=settings)
    await acreate_link_artifact(
        key=OUTPUT_ARTIFACT,
        link=urlsplit(container.url)._replace(query="").geturl(),
        link_text=run.output_container,
        description="The run's output container; deleted at its end, unless `keep` spares it.",
    )


@task(name="report", cache_policy=NO_CACHE)
async def log_report(run: Run, plan: Plan, counted: Counted, bill: Bill | None, deleting: Sequence[str]) -> None:
    """Log the report of a run, its pictures in it."""
    await acreate_markdown_artifact(
        key=REPORT_ARTIFACT,
        markdown=write_report(run, plan, counted, bill, deleting),
        description=f"Report of run {run.key}",
    )


def write_report(run: Run, plan: Plan, counted: Counted, bill: Bill | None, deleting: Sequence[str]) -> str:
    """The report as Markdown."""
    results = counted.results
    words = sum(file.total_words for file in results.files)
    rows = [
        ("files", f"{len(results.files):,} counted, {len(results.failed):,} failed, of {len(plan.files):,}"),
        ("size", f"{plan.size_bytes:,} bytes"),
        ("words", f"{words:,}"),
        ("nodes that counted", f"{len({span.node_id for span in counted.spans}):,}"),
        ("counted by earlier runs, and kept", f"{sum(file.cached for file in results.files):,}"),
        ("retries, requeues", f"{counted.retries:,}, {counted.requeues:,}"),
    ]
    if results.files:
        rows.append(("counted by", results.fallback or results.engines))
    if counted.spans:
        first, last = min(span.added for span in counted.spans), max(span.ended for span in counted.spans)
        rows.append(("from the first task added to the last ended", f"{(last - first).total_seconds():,.1f} s"))
    if bill:
        rows.append(("node-hours, at the most", f"{bill.node_hours:.3f}, of {bill.max_node_hours:g} allowed"))
        rows.append(("cost of the nodes, at the most", "no price given" if bill.cost is None else f"{bill.cost:.2f}"))
    rows.append(("left behind", ", ".join(results.left_behind) or "nothing"))
    rows.append(("being deleted", ", ".join(deleting) or "nothing"))
    words_of = "the files that were counted" if results.failed else "all files"
    parts = [
        f"# Run {run.key}\n",
        "| what | how much |\n|---|---|\n" + "".join(f"| {what} | {_cell(much)} |\n" for what, much in rows),
        *_failure_sections(results.failed),
        f"## Top {results.num_words} words of {words_of}\n",
        _cell(results.overall.sureness) + "\n",
        *(f"![{name}]({picture.data_uri()})\n" for name, picture in counted.pictures.items()),
        "| word | count |\n|---|---:|\n"
        + "".join(
            f"| {_cell(word, LONGEST_WORD)} | {count:,} |\n" for word, count in results.overall.words[:LONGEST_TABLE]
        ),
    ]
    return "\n".join(parts)


async def try_draw(counted: Counted) -> dict[str, Picture]:
    """The pictures of the report by their names; a run does not fail because they could not be drawn."""
    try:
        return await draw(counted.results.overall.words, counted.spans)
    except PicturesNotDrawn as error:
        get_run_logger().warning("The report has no pictures: %s", error)
        return {}


def save_pictures(folder: Path, pictures: Mapping[str, Picture]) -> None:
    """Keep the pictures beside the results."""
    for name, picture in pictures.items():
        (folder / (name + picture.suffix)).write_bytes(picture.content)


async def try_log_output(clients: Clients, run: Run, pictures: Mapping[str, Picture]) -> None:
    """Log the output container; a run does not fail because its pictures could not be uploaded."""
    try:
        await log_output(clients, run, pictures)
    except AzureError as error:
        get_run_logger().warning("The pictures were not uploaded: %s", brief(error))


def _words(words: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{_cell(word, LONGEST_WORD)} ({count})" for word, count in words)


def _failure(failed: FailedFile) -> dict[str, str]:
    return {
        "file": _cell(failed.name),
        "class": failed.failure,
        "exit code": "" if failed.exit_code is None else str(failed.exit_code),
        "cause": _cell(failed.message.removesuffix(".")),
        "stderr": "\n".join(_cell(line) for line in failed.stderr_tail.splitlines()),
        "what to do": WHAT_TO_DO.get(failed.failure, ""),
    }


def _failure_sections(failed: Sequence[FailedFile]) -> list[str]:
    if not failed:
        return []
    sections = ["## Failures\n", *(_failure_section(one) for one in failed[:LONGEST_LIST])]
    if len(failed) > LONGEST_LIST:
        sections.append(f"{len(failed) - LONGEST_LIST:,} more are in the artifact {FAILURES_ARTIFACT}.\n")
    return sections


def _failure_section(failed: FailedFile) -> str:
    row = _failure(failed)
    code = f", exit code {row['exit code']}" if row["exit code"] else ""
    indented = "".join(f"    {line}\n" for line in failed.stderr_tail.splitlines())
    return f"### {row['file']}\n\n{row['class']}{code}: {row['cause']}. {row['what to do']}.\n\n{indented}"


def _cell(text: str, longest: int = LONGEST_CELL) -> str:
    """Text as a line of Markdown or a cell of a table shows it: nothing in a name or a word is Markdown or HTML."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    if len(shown) > longest:
        shown = shown[: longest - 1] + "…"
    return MARKDOWN.sub(r"\\\g<0>", shown)
