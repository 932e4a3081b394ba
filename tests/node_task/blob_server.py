"""A blob service of one dictionary, which can be told to fail: what storage does when it is in trouble."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class BlobServer(ThreadingHTTPServer):
    """Keeps blobs by "container/name". Each fault is for one request, in their order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.blobs: dict[str, bytes] = {}
        self.faults: deque[str] = deque()
        self.always: str | None = None
        self.put: list[str] = []  # names, as they came
        self.asked: list[tuple[str, str | None]] = []  # the path with its query, and as whom, of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that went away


class Handler(BaseHTTPRequestHandler):
    """GET and PUT of a blob."""

    server: BlobServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format: str, *args: object) -> None:  # http.server's name
        pass

    def do_GET(self) -> None:
        if self.failed():
            return
        content = self.server.blobs.get(self.blob)
        if content is None:
            self.answer(404, b"", {"x-ms-error-code": "BlobNotFound"})
        else:
            self.answer(200, content)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.failed():
            return
        self.server.blobs[self.blob] = content
        self.server.put.append(self.blob)
        self.answer(201)

    @property
    def blob(self) -> str:
        return unquote(urlsplit(self.path).path.removeprefix("/"))

    def failed(self) -> bool:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        fault = self.server.always or (self.server.faults.popleft() if self.server.faults else None)
        if fault is None:
            return False
        if fault == "drop":
            self.close_connection = True
        elif fault == "short":
            self.answer(200, b"half", {"Content-Length": "1000"})
        elif fault == "garbage":
            self.wfile.write(b"\x00\x01 no HTTP at all\r\n\r\n")
        elif fault == "elsewhere":
            self.answer(307, b"", {"Location": f"http://localhost:{self.server.server_port}/elsewhere/b"})
        elif fault == "forbidden":
            self.answer(403, b"", {"x-ms-error-code": "AuthenticationFailed", "Date": "not a date"})
        else:
            self.answer(int(fault))
        return True

    def answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def blob_server() -> Iterator[BlobServer]:
    """A server that runs in a thread."""
    with BlobServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
