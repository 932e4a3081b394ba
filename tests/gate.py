"""A gate before a service: requests pass through it unchanged, until one is held, before it is passed on or after.

It stands between a client in another process and the emulator or Azurite, and sees the real requests of both.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LARGEST_HEAD = 1 << 16


@dataclass
class Hold:
    """The `nth` request of this method whose path and query match is held, before or after its effect, and reported.

    With `cut` its connection is lost there and then instead.
    """

    method: str
    pattern: str  # a regular expression, searched in "/path?query"
    after: bool = False
    nth: int = 1
    cut: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    def meets(self, method: str, target: str) -> bool:
        """Whether it is this request's turn; counts."""
        if self.reached.is_set() or method != self.method or not re.search(self.pattern, target):
            return False
        self.nth -= 1
        return self.nth == 0


class Cut(Exception):
    """The connection is to be lost."""


class Gate:
    """One service behind a port of its own."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = str(parts.hostname), parts.port or 80, parts.path
        self.url = ""
        self.holds: list[Hold] = []
        self.seen: list[str] = []  # "METHOD /path?query", without the values of signatures

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        service, requests = await asyncio.open_connection(self._host, self._port)
        try:
            while head := await _head(client):
                method, target = head.split(b" ", 2)[:2]
                seen = (method.decode(), target.decode("latin-1"))
                self.seen.append(re.sub(r"sig=[^&]*", "sig", " ".join(seen)))
                hold = next((one for one in self.holds if one.meets(*seen)), None)
                if hold and not hold.after:
                    await _wait(hold)
                requests.write(head)
                await _pass_body(head, client, requests)
                while True:
                    answer = await _head(service)
                    if not answer:
                        raise Cut  # the service has closed the connection
                    if hold and hold.after:
                        await _wait(hold)
                    if not answer:
                        raise Cut  # the service has closed the connection, as it may between two requests
                    answers.write(answer)
                    if not answer.startswith(b"HTTP/1.1 100"):
                        break
                if method != b"HEAD" and answer.split(b" ", 2)[1] not in (b"204", b"304"):
                    await _pass_body(answer, service, answers)
                await answers.drain()
        except (Cut, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a connection that ended, or was open at the end of all
        finally:
            for writer in (answers, requests):
                writer.close()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Gate]:
        """Stand there while the block lasts."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LARGEST_HEAD)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{self._path}"
        try:
            yield self
        finally:
            server.close()


async def _wait(hold: Hold) -> None:
    hold.reached.set()
    if hold.cut:
        raise Cut
    await asyncio.sleep(3600)  # until the client is dead, or the test over


async def _head(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return b""


async def _pass_body(head: bytes, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    lines = head.lower().split(b"\r\n")
    if any(line.startswith(b"transfer-encoding:") and b"chunked" in line for line in lines):
        size = -1
        while size:
            line = await source.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            sink.write(line + await source.readexactly(size + 2))
        return
    left = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    while left:
        block = await source.read(min(left, 1 << 16))
        if not block:
            raise Cut
        sink.write(block)
        await sink.drain()
        left -= len(block)
