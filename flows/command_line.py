"""`python -m flows.topn INPUT... [options]`: parameters in, console and exit status out."""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError
from prefect import Flow
from prefect.exceptions import TerminationSignal
from pydantic import ValidationError
from rich.console import Console as RichConsole
from rich.table import Table

from flows.console import Console, visible
from flows.interruption import run_interruptibly, start_prefect
from flows.parameters import Parameters, estimate_of
from flows.preflight import check_local, preflight
from flows.record import kept
from tasks.blocks import load_settings
from tasks.clients import open_clients
from tasks.errors import BadInput, RunFailed, TopnError, brief
from tasks.estimate import account_lines
from tasks.results import Results

LONGEST_SHOWN = 200  # characters of a value that is refused
INTERRUPTED, TERMINATED = 130, 143  # what shells say of a program that SIGINT or SIGTERM ended


def parse(arguments: list[str]) -> Parameters:
    """The command line as parameters; --help and usage errors end the program. Raises BadInput."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.topn",
        usage="%(prog)s [plan] INPUT... [options]",
        description="Count the top words of files, one Azure Batch task per file. "
        "With the word `plan` first: only say what a run would do and cost (a file of that name is ./plan).",
        epilog="Exit status: 0 all files counted, 1 some were not, 2 bad input; nothing was created then.",
        allow_abbrev=False,  # --word is no --words: what an option means must not change when another one is added
    )
    fields = Parameters.model_fields
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=fields["inputs"].description)
    for name, field in fields.items():
        if name in ("inputs", "plan_only"):
            continue
        if field.annotation is bool:
            parser.add_argument(_option(name), dest=name, action="store_const", const=True, help=field.description)
            continue
        default = "" if field.default is None else f" (default: {field.default})"
        parser.add_argument(_option(name), dest=name, metavar="VALUE", help=f"{field.description}{default}")
    plan_only = arguments[:1] == ["plan"]
    given = vars(parser.parse_args(arguments[1:] if plan_only else arguments))
    for name in given["inputs"]:
        if not name.isascii() and name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") != name:
            shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            raise BadInput(f"{shown} is not UTF-8, and Prefect takes no such parameter: name it by a pattern with ?.")
    try:
        return Parameters.model_validate(
            {"plan_only": plan_only, **{name: value for name, value in given.items() if value is not None}}
        )
    except ValidationError as error:
        first = error.errors()[0]
        sentence = first["msg"].replace("Input should", "it should").removeprefix("Value error, ")
        where = f"{_option(str(first['loc'][0]))} {_shown(first['input'])}: " if first["loc"] else ""
        raise BadInput(f"{where}{sentence}.") from None


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def refusal(arguments: Sequence[str]) -> int | None:
    """Say what is wrong with a command line or its local files, asking no service; the exit status if anything is."""
    try:
        check_local(parse(list(arguments)))
    except TopnError as error:
        return _fail(str(error), error.exit_status)
    return None


async def check(parameters: Parameters) -> list[tuple[str, str]]:
    """Find what is wrong with the input now, not after Prefect's server has come up; the plan, if only that is asked.

    Raises BadInput.
    """
    settings = await load_settings(dict(os.environ), parameters.credentials, parameters.storage_credentials)
    async with open_clients(settings) as clients:
        planned = estimate_of(await preflight(clients, parameters), parameters)
        return [*planned.lines(), *await account_lines(clients, planned)] if parameters.plan_only else []


def print_plan(lines: list[tuple[str, str]]) -> None:
    """Say what a run would do."""
    table = Table(title="A run would", title_justify="left", show_header=False)
    for what, much in lines:
        table.add_row(what, much)
    out = RichConsole(highlight=False)
    out.print(table)
    out.print("Nothing was created.")


def main(topn: Flow[..., Any], arguments: Sequence[str] | None = None) -> int:
    """Run the flow as the command line asks; return the exit status."""
    # Prefect's own server takes 20 s to its first answer on two cores, which is just its default patience.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the terminal can show
    try:
        parameters = parse(sys.argv[1:] if arguments is None else list(arguments))
        # Blocks are behind Prefect's API: with them, the flow itself finds what is wrong.
        blocks = parameters.credentials or parameters.storage_credentials
        if parameters.plan_only and blocks:
            start_prefect()
        if parameters.plan_only or not blocks:
            lines = asyncio.run(check(parameters))
            if parameters.plan_only:
                print_plan(lines)
                return 0
        return _run(topn, parameters)
    except TopnError as error:
        return _fail(str(error), error.exit_status)
    except AzureError as error:
        return _fail(f"The run cannot go on: {brief(error)}.", 1)
    except TerminationSignal:
        return _fail("terminated", TERMINATED)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)


def _fail(sentence: str, status: int) -> int:
    print(f"topn: {visible(sentence)}", file=sys.stderr)  # noqa: T201
    return status


def _run(topn: Flow[..., Any], parameters: Parameters) -> int:
    with Console() as console, kept() as record:
        own_server = start_prefect()
        start = datetime.now().replace(microsecond=0)
        console.out.print(f"Run start: {start}\n")
        results, failure = None, None
        try:
            results = run_interruptibly(topn(parameters))
        except RunFailed as error:
            results, failure = error.results, error
        finally:
            if own_server and (sentence := record.wait()):
                console.out.print(sentence, style="dim")
        if isinstance(results, Results):
            console.out.print()
            console.show(results)
        end = datetime.now().replace(microsecond=0)
        console.out.print(f"\nRun end: {end}\nElapsed time: {end - start}")
        if failure:
            raise failure
        return 0
