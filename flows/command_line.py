"""`python -m flows.topn INPUT... [options]`: parameters in, console and exit status out."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from azure.core.exceptions import AzureError
from prefect import Flow
from prefect.exceptions import TerminationSignal
from pydantic import ValidationError

from flows.console import Console
from flows.parameters import Parameters
from tasks.clients import check_reachable, open_clients
from tasks.errors import BadInput, FilesFailed, RunFailed, TopnError, brief
from tasks.plan import make_plan
from tasks.results import Results
from tasks.settings import Settings

INTERRUPTED, TERMINATED = 130, 143  # what shells say of a program that SIGINT or SIGTERM ended


def parse(arguments: Sequence[str] | None = None) -> Parameters:
    """The command line as parameters; --help and usage errors end the program. Raises BadInput."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.topn",
        description="Count the top words of files, one Azure Batch task per file.",
        epilog="Exit status: 0 all files counted, 1 some were not, 2 bad input; nothing was created then.",
    )
    fields = Parameters.model_fields
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help=fields["inputs"].description)
    for name, field in fields.items():
        if name == "inputs":
            continue
        default = "" if field.default is None else f" (default: {field.default})"
        parser.add_argument(_option(name), dest=name, metavar="VALUE", help=f"{field.description}{default}")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    try:
        return Parameters.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name, value = str(first["loc"][0]), first["input"]
        raise BadInput(f"{_option(name)} {value}: {first['msg'].replace('Input should', 'it should')}.") from None


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


async def check(parameters: Parameters) -> None:
    """Find what is wrong with the input now, not after Prefect's server has come up. Raises BadInput."""
    settings = Settings.from_environment()
    await asyncio.to_thread(make_plan, parameters.inputs, parameters.words)
    async with open_clients(settings) as clients:
        await check_reachable(clients)


def main(topn: Flow[..., Any], arguments: Sequence[str] | None = None) -> int:
    """Run the flow as the command line asks; return the exit status."""
    # Prefect's own server takes 20 s to its first answer on two cores, which is just its default patience.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    try:
        parameters = parse(arguments)
        asyncio.run(check(parameters))
        return _run(topn, parameters)
    except TopnError as error:
        print(f"topn: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    except TerminationSignal:
        print("topn: terminated; what the run had made is released", file=sys.stderr)  # noqa: T201
        return TERMINATED
    except KeyboardInterrupt:
        print("topn: interrupted; what the run had made is released", file=sys.stderr)  # noqa: T201
        return INTERRUPTED


def _run(topn: Flow[..., Any], parameters: Parameters) -> int:
    with Console() as console:
        start = datetime.now().replace(microsecond=0)
        console.out.print(f"Run start: {start}\n")
        failure = None
        try:
            results = asyncio.run(topn(parameters))
        except FilesFailed as error:
            results, failure = error.results, error
        except AzureError as error:  # a step's own retries did not help
            raise RunFailed(f"The run cannot go on: {brief(error)}.") from error
        assert isinstance(results, Results)
        end = datetime.now().replace(microsecond=0)
        console.out.print()
        console.show(results)
        console.out.print(f"\nRun end: {end}\nElapsed time: {end - start}")
        if failure:
            raise failure
        return 0
