"""The flow `topn-sweep`: deletes what runs left behind whose time is up, and nothing else.

    python -m flows.sweep [--dry-run]

Only what carries a run's mark is looked at: a pool when the lease in its formula has ended, a job when its wall clock
limit is over or the run's own pool is gone, a container when its retention is over (its metadata says until when). It
needs the same environment variables as a run, and is safe beside runs that go on.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from azure.core.exceptions import AzureError
from prefect import flow, get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Failed
from rich.console import Console
from rich.table import Table

from flows.broken_pipe import outlive_the_reader
from tasks.blocks import load_settings
from tasks.clients import check_reachable, open_clients
from tasks.errors import TopnError, brief
from tasks.expiry import Finding, find_expired, sweep_away

SWEEP_ARTIFACT = "topn-sweep"
COLUMNS: tuple[str, ...] = ("what", "whose", "until", "verdict")


async def sweep(
    dry_run: bool = False, credentials: str | None = None, storage_credentials: str | None = None
) -> list[Finding]:
    """Find what carries a run's mark, delete what has expired, and say of each what became of it."""
    settings = await load_settings(dict(os.environ), credentials, storage_credentials)
    async with open_clients(settings) as clients:
        await check_reachable(clients)
        found = await find_expired(clients, datetime.now(UTC))
        return found if dry_run else await sweep_away(clients, found)


@flow(name="topn-sweep")
async def topn_sweep(
    dry_run: bool = False, credentials: str | None = None, storage_credentials: str | None = None
) -> State[None] | int:
    """Delete pools, jobs and containers of runs whose time is up; return how many.

    Args:
        dry_run: only say what would be deleted.
        credentials: name of an Azure Batch Credentials block; without it, environment variables.
        storage_credentials: name of prefect-azure's Azure Blob Storage Credentials block, for the storage.
    """
    outlive_the_reader()
    found = await sweep(dry_run, credentials, storage_credentials)
    for one in found:
        get_run_logger().info("%s of %s, until %s: %s", one.what, one.owner, one.until_text, one.verdict)
    rows = [dict(zip(COLUMNS, one.row, strict=True)) for one in found]
    await acreate_table_artifact(
        key=SWEEP_ARTIFACT, table=rows, description="Nothing was deleted: a dry run" if dry_run else "The sweep"
    )
    failed = [one.what for one in found if one.failed]
    if failed:
        return Failed(message=f"Could not delete {', '.join(failed)}.")
    return sum(one.expired for one in found)


def show(found: Sequence[Finding]) -> None:
    """Print the findings."""
    table = Table(*COLUMNS, title="What carries a run's mark", title_justify="left")
    for one in found:
        table.add_row(*one.row)
    out = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    out.print(table if found else "Nothing here carries a run's mark.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep as the command line asks; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.sweep",
        description="Delete the pools, jobs and containers of runs whose time is up, and nothing else.",
        epilog="Exit status: 0 done, 1 something could not be deleted, 2 settings with which nothing can be asked.",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    parser.add_argument("--credentials", help="name of an Azure Batch Credentials block")
    parser.add_argument("--storage-credentials", help="name of an Azure Blob Storage Credentials block")
    options = parser.parse_args(arguments)
    try:
        found = asyncio.run(sweep(options.dry_run, options.credentials, options.storage_credentials))
    except TopnError as error:
        print(f"topn-sweep: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    except AzureError as error:
        print(f"topn-sweep: {brief(error)}", file=sys.stderr)  # noqa: T201
        return 1
    show(found)
    return 1 if any(one.failed for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
