"""`python -m emulator --port 10100 --root DIR`: serve until SIGINT or SIGTERM, then leave nothing behind."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvicorn

from emulator.app import application
from emulator.auth import ACCOUNT_NAME
from emulator.faults import Protocol
from emulator.service import Service, UnusableRoot
from emulator.settings import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY, Settings
from emulator.storage import AutoStorage

LOOPBACK = "127.0.0.1"


class UnusableSettings(Exception):
    """What the emulator was started with cannot be used; the text says why."""


class Server(uvicorn.Server):
    """Uvicorn, leaving signals to this program: its exit status is 0 when it was asked to stop.

    It waits to be stopped instead of looking ten times a second whether it was: an idle emulator costs nothing.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Stop serving."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Serve until it is stopped."""
        await self._stopped.wait()

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
        except (OSError, UnusableRoot) as error:
            raise UnusableSettings(f"cannot use the root directory {settings.root}: {_why(error)}") from None
    except UnusableSettings as error:
        sys.stderr.write(f"emulator: {error}\n")
        return 2
    asyncio.run(_serve(service, listener))
    return 0


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m emulator",
        description="Azure Batch on this machine, for this machine only.",
        epilog="From the environment: EMULATOR_KEY, the key of all accounts (default: the published one); "
        "AZURE_STORAGE_KEY, that of --auto-storage.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", type=int, default=10100, help="on 127.0.0.1; 0 is a free one (%(default)s)")
    parser.add_argument("--root", type=Path, required=True, help="where nodes keep their files")
    parser.add_argument("--account", default=DEVELOPMENT_ACCOUNT, help="that of bearer tokens (%(default)s)")
    parser.add_argument("--cert", type=Path, help="serve TLS with this certificate; accept bearer tokens")
    parser.add_argument("--key", type=Path, help="the certificate's key")
    parser.add_argument("--speed", type=float, default=1.0, help="by how much the service's own delays are shortened")
    parser.add_argument(
        "--storage-timeout", type=float, default=60.0, help="seconds that tasks wait for storage (%(default)g)"
    )
    parser.add_argument("--auto-storage", metavar="URL", help="the blob endpoint of the accounts' auto storage")
    return parser


def _settings(arguments: Sequence[str] | None) -> tuple[socket.socket, Settings]:
    """What the command line and the environment say, and the socket that listens."""
    given = _parser().parse_args(arguments)
    key = os.environ.get("EMULATOR_KEY") or DEVELOPMENT_KEY
    try:
        base64.b64decode(key, validate=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        raise UnusableSettings("EMULATOR_KEY is not base64") from None
    if not 0 < given.speed <= 1e6:
        raise UnusableSettings(f"--speed must be greater than 0 and at most 1000000, not {given.speed:g}")
    if not 0 < given.storage_timeout <= 3600:
        raise UnusableSettings(f"--storage-timeout must be above 0 and at most 3600, not {given.storage_timeout:g}")
    if not ACCOUNT_NAME.fullmatch(given.account):
        raise UnusableSettings(f"--account must be 3 to 24 lower-case letters and digits, not {given.account}")
    certificate = _certificate(given.cert, given.key)
    # Named as TCP, or asyncio does not know it for that and leaves Nagle's algorithm on: 45 ms more for each answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, given.port))
    except (OSError, OverflowError) as error:
        raise UnusableSettings(f"cannot listen on {LOOPBACK}:{given.port}: {_why(error)}") from None
    scheme = "https" if certificate else "http"
    return listener, Settings(
        given.root.resolve(),
        f"{scheme}://{LOOPBACK}:{listener.getsockname()[1]}",
        account=given.account,
        key=key,
        certificate=certificate,
        auto_storage=_auto_storage(given.auto_storage),
        storage_timeout=given.storage_timeout,
        speed=given.speed,
        path=os.environ.get("PATH", os.defpath),
        trusted=os.environ.get("SSL_CERT_FILE"),
        metadata=os.environ.get("AZURE_POD_IDENTITY_AUTHORITY_HOST"),
    )


def _certificate(certificate: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UnusableSettings("--cert and --key go together")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except OSError as error:
        raise UnusableSettings(f"cannot use {certificate} with {key}: {_why(error)}") from None
    return certificate, key


def _auto_storage(url: str | None) -> AutoStorage | None:
    if url is None:
        return None
    key = os.environ.get("AZURE_STORAGE_KEY", "")
    if not key:
        raise UnusableSettings("--auto-storage needs the storage account's key in AZURE_STORAGE_KEY")
    return AutoStorage(url, key)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def _serve(service: Service, listener: socket.socket) -> None:
    certificate, key = service.settings.certificate or (None, None)
    server = Server(
        uvicorn.Config(
            application(service),
            http=Protocol,
            loop="asyncio",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,  # uvicorn's is made by the loop that is not run here
            lifespan="off",
            timeout_graceful_shutdown=1,
            # A client may send on a kept connection just as it is closed, and a POST is then not tried again.
            timeout_keep_alive=600,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, server.stop)
    listener.listen(1024)
    sys.stdout.write(f"Azure Batch emulator listens on {service.settings.endpoint}\n")
    sys.stdout.flush()
    try:
        await server.serve(sockets=[listener])
    finally:
        await service.close()


if __name__ == "__main__":
    sys.exit(main())
