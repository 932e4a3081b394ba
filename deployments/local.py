"""The whole system on this machine, with no cloud.

python -m deployments.local run INPUT... [options of flows.topn]   one run, on services of its own (make run)
python -m deployments.local up                Prefect with its UI, Azurite, emulator, worker (make up)
python -m deployments.local nightly           run topn/nightly there and watch it (make nightly)
python -m deployments.local down              stop them (make down)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployments.services import STATE, ServiceFailed, alone, server_settings, services
from deployments.stack import PREFECT, Ports, Stack, alive, down, out, read_record

INTERRUPTED, TERMINATED = 130, 143  # what shells say of a program that SIGINT or SIGTERM ended


class Terminated(BaseException):
    """SIGTERM arrived."""


def run(arguments: Sequence[str]) -> int:
    """Run `python -m flows.topn` with these arguments against services of its own; return its exit status."""
    environment = _single_run_environment(os.environ)
    os.environ.update(environment)
    from flows.command_line import refusal  # Prefect reads its settings when it is imported

    status = refusal(arguments)
    if status is not None:
        return status
    with contextlib.ExitStack() as stack:
        # Blobs are kept: what was counted once is not counted again.
        blobs: Path | None = STATE / "blobs"
        if not stack.enter_context(alone(blobs)):
            out.print("Another run on this machine uses .local/blobs: this one keeps nothing for the next.")
            blobs = None
        environment |= stack.enter_context(services(blobs=blobs))
        flow = subprocess.Popen([sys.executable, "-m", "flows.topn", *arguments], env=environment)
        while True:
            try:
                return flow.wait()
            except KeyboardInterrupt:
                continue  # Ctrl-C reached the flow too, which is releasing what it made
            except Terminated:
                flow.terminate()


def up(ports: Ports) -> int:
    """Start the stack and keep it until Ctrl-C or `make down`."""
    stack = Stack(ports)
    out.print("Starting the local stack; its logs and its state are in .local/")
    try:
        stack.start()
        out.print(f"\nPrefect's UI:  {stack.prefect_api.removesuffix('/api')}")
        out.print("Now type in a second terminal, here in the same folder:\n")
        out.print(f"  PREFECT_API_URL={stack.prefect_api} .venv/bin/prefect deployment run topn/nightly --watch\n")
        out.print("(`make nightly` is the same.) Ctrl-C here, or `make down`, stops all of it.\n")
        stack.watch()
    except (KeyboardInterrupt, Terminated):
        out.print()
    finally:
        # A second Ctrl-C, or one more signal of a closed terminal, must not leave half of it running.
        for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(again, signal.SIG_IGN)
        stack.stop()
    return 0


def nightly() -> int:
    """Run topn/nightly on the stack that `up` keeps, and watch it; return prefect's exit status."""
    record = read_record()
    if record is None or not record.prefect_api or not alive(record.supervisor):
        raise ServiceFailed("The stack is not up: type `make up` in another terminal first.")
    environment = {**os.environ, "PREFECT_API_URL": record.prefect_api, "PREFECT_HOME": str(STATE / "prefect")}
    return subprocess.run([PREFECT, "deployment", "run", "topn/nightly", "--watch"], env=environment).returncode


def _single_run_environment(given: Mapping[str, str]) -> dict[str, str]:
    """For a single run: the server's settings, and a home of the project's own, unless a server or a home is named.

    Not the stack's: two servers on one database would be in each other's way.
    """
    environment = {**given, **server_settings()}
    # Read when Prefect is imported: its own server starts slowly the first time, and 20 s is its default patience.
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"
    environment.setdefault("MPLCONFIGDIR", str(STATE / "matplotlib"))  # its list of fonts; else in the user's home
    if not environment.get("PREFECT_API_URL"):
        environment.pop("PREFECT_API_URL", None)  # to Prefect's client an empty one is the address of a server
        environment.setdefault("PREFECT_HOME", str(STATE / "prefect-run"))
    return environment


def _terminate(*_: object) -> None:
    raise Terminated


def _hang_up(*_: object) -> None:
    """The terminal was closed: what is still said goes nowhere, lest saying it be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for shown in (1, 2):
        try:
            os.write(shown, b"\n")
        except OSError:
            os.dup2(nowhere, shown)
    raise Terminated


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.local",
        description="The whole system on this machine, with no cloud.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run", allow_abbrev=False, help="one run, on services of its own: run INPUT... [options of flows.topn]"
    )
    whole = commands.add_parser(
        "up", allow_abbrev=False, help="Prefect with its UI, Azurite, emulator and worker, until Ctrl-C"
    )
    for name, port in vars(Ports()).items():
        whole.add_argument(f"--{name}-port", type=int, default=port, help=f"0 is any free one (default: {port})")
    commands.add_parser("nightly", allow_abbrev=False, help="run topn/nightly on the stack and watch it")
    commands.add_parser("down", allow_abbrev=False, help="stop the stack")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit status."""
    # What follows `run` is the flow's own command line.
    options = _parse(arguments[:1] if arguments[:1] == ["run"] else arguments)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _hang_up)
    try:
        match options.command:
            case "run":
                return run(arguments[1:])
            case "up":
                return up(Ports(options.prefect_port, options.azurite_port, options.batch_port))
            case "nightly":
                return nightly()
            case _:
                out.print("The stack is down." if down() else "The stack was not up.")
                return 0
    except ServiceFailed as error:
        print(f"local stack: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except Terminated:
        return TERMINATED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
