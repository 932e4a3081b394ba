"""`python -m emulator --port 10100 --root DIR`: serve until SIGINT or SIGTERM, then leave nothing behind."""

from __future__ import annotations

import argparse
import asyncio
import base64
import binascii
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn

from emulator.app import application
from emulator.service import RootInUse, Service
from emulator.settings import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, Settings

LOOPBACK = "127.0.0.1"


class UnusableSettings(Exception):
    """What the emulator was started with cannot be used; the text says why."""


class Server(uvicorn.Server):
    """Uvicorn, leaving signals to this program: its exit status is 0 when it was asked to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator; the exit status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs URLs, and those hold SAS tokens
    logging.getLogger("azure").setLevel(logging.WARNING)
    try:
        listener, settings = _settings(arguments)
        service = Service(settings)
        try:
            service.open()
        except (OSError, RootInUse) as error:
            raise UnusableSettings(f"cannot use the root directory {settings.root}: {_why(error)}") from None
    except UnusableSettings as error:
        sys.stderr.write(f"emulator: {error}\n")
        return 2
    asyncio.run(_serve(service, listener))
    return 0


def _settings(arguments: Sequence[str] | None) -> tuple[socket.socket, Settings]:
    """What the command line and the environment say, and the socket that listens."""
    parser = argparse.ArgumentParser(
        prog="python -m emulator", description="Azure Batch on this machine, for this machine only."
    )
    parser.add_argument("--port", type=int, default=10100, help="the port on 127.0.0.1; 0 is a free one (%(default)s)")
    parser.add_argument("--root", type=Path, required=True, help="the directory under which nodes keep their files")
    parser.add_argument("--account", default=DEVELOPMENT_ACCOUNT, help="the account of bearer tokens (%(default)s)")
    parser.add_argument("--key", help="the accounts' key; better given as EMULATOR_KEY, out of sight")
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        help="how much faster than by default the service's own delays pass",
    )
    given = parser.parse_args(arguments)
    key = given.key or os.environ.get("EMULATOR_KEY") or DEVELOPMENT_KEY
    try:
        base64.b64decode(key, validate=True)
    except binascii.Error:
        raise UnusableSettings("the key is not base64") from None
    if not 0 < given.speed <= 1e6:
        raise UnusableSettings(f"--speed must be greater than 0 and at most 1000000, not {given.speed:g}")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, given.port))
    except (OSError, OverflowError) as error:
        raise UnusableSettings(f"cannot listen on {LOOPBACK}:{given.port}: {_why(error)}") from None
    endpoint = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
    return listener, Settings(given.root.absolute(), endpoint, account=given.account, key=key, speed=given.speed)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def _serve(service: Service, listener: socket.socket) -> None:
    server = Server(
        uvicorn.Config(
            application(service),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )

    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop)
    listener.listen(1024)
    sys.stdout.write(f"Azure Batch emulator listens on {service.settings.endpoint}\n")
    sys.stdout.flush()
    try:
        await server.serve(sockets=[listener])
    finally:
        await service.close()


if __name__ == "__main__":
    sys.exit(main())
