"""Ctrl-C: the run is cancelled, releases what it made, and Prefect's own server lives to see it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

from tasks.errors import BadInput, RunFailed

Result = TypeVar("Result")

PATIENCE_SECONDS = 10


def start_prefect() -> bool:
    """Find Prefect's API, or start its own server where none is named; whether it did the latter.

    Raises BadInput when nobody answers.
    """
    url = PREFECT_API_URL.value()
    if url == "":
        # Prefect itself is of two minds about it: it starts a server of its own, and sends that one no events.
        raise BadInput("PREFECT_API_URL is set, but empty: unset it for a server of the run's own, or name one.")
    if url:
        error = asyncio.run(_api_error(PATIENCE_SECONDS))
        if error is not None:
            raise BadInput(f"Nobody answers for Prefect at PREFECT_API_URL {url}: {_words(error)}.")
        return False
    failures: list[Exception] = []

    def start() -> None:
        # At a terminal, Ctrl-C reaches every process of the program, and so this server, which must outlive the
        # run's release. A child inherits the blocked signals of the thread that starts it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        if error := asyncio.run(_api_error(None)):
            failures.append(error)

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if failures:
        raise RunFailed(f"Prefect's own server did not start: {_words(failures[0])}.")
    return True


async def _api_error(patience_seconds: float | None) -> Exception | None:
    try:
        async with asyncio.timeout(patience_seconds), get_client() as api:
            return await api.api_healthcheck()
    except (httpx.HTTPError, RuntimeError, TimeoutError) as error:
        return error


def _words(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def run_interruptibly(flow: Coroutine[Any, Any, Result]) -> Result:
    """Run a flow to its end; each Ctrl-C cancels it, and a release that is under way goes on to its end.

    Raises KeyboardInterrupt when it ended because of one.
    """

    async def interruptible() -> Result:
        running = asyncio.ensure_future(flow)
        interrupted = False

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            running.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        try:
            return await running
        except asyncio.CancelledError:
            if interrupted:
                raise KeyboardInterrupt from None
            raise

    return asyncio.run(interruptible())
