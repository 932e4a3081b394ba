"""A stub of a managed identity's token endpoints: App Service's, which azure-identity asks, and a node's (IMDS)."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

APP_SERVICE = "/msi/token"
NODE = "/metadata/identity/oauth2/token"


@dataclass
class Identity:
    """Gives tokens that live so long, and keeps them."""

    lifetime: timedelta
    header: str = field(default_factory=lambda: uuid.uuid4().hex)
    url: str = ""
    tokens: dict[str, list[str]] = field(default_factory=dict)  # by resource
    assigned: str = ""  # the resource id of the identity that a node has
    faults: deque[int | bytes] = field(
        default_factory=deque
    )  # for a node's next requests: a status, or what is no JSON

    @property
    def metadata(self) -> str:
        """The address of a node's Instance Metadata Service."""
        return self.url.removesuffix(APP_SERVICE)

    @property
    def environment(self) -> dict[str, str]:
        """What an App Service gives to its processes."""
        return {"IDENTITY_ENDPOINT": self.url, "IDENTITY_HEADER": self.header}

    def token(self, resource: str) -> dict[str, str]:
        """A token for a resource; unsigned, as nobody here checks signatures."""
        now = int(time.time())
        claims = {
            "aud": resource,
            "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
            "tid": "ab1f708d-50f6-404c-a006-d71b2ac7a606",
            "oid": "23657296-5cd5-45b0-a809-d972a7f4dfe1",
            "sub": "a managed identity",
            "iat": now,
            "nbf": now,
            "exp": now + int(self.lifetime.total_seconds()),
            "jti": uuid.uuid4().hex,
            "ver": "1.0",
        }
        parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)] + [b"unsigned"]
        token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
        self.tokens.setdefault(resource, []).append(token)
        return {
            "access_token": token,
            "expires_on": str(claims["exp"]),
            "expires_in": str(int(self.lifetime.total_seconds())),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": "00000000-0000-0000-0000-000000000001",
        }


@contextlib.contextmanager
def managed_identity(lifetime: timedelta) -> Iterator[Identity]:
    """The endpoint, while the block lasts."""
    identity = Identity(lifetime)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, asked = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
            if path == NODE:
                self.answer_node(asked)
                return
            known = self.headers.get("X-IDENTITY-HEADER") == identity.header and "resource" in asked
            if known:
                self.answer(200, identity.token(asked["resource"][0]))
            else:
                self.answer(401, {"error": "who asks?"})

        def answer_node(self, asked: dict[str, list[str]]) -> None:
            fault = identity.faults.popleft() if identity.faults else None
            if isinstance(fault, bytes):
                self.answer_bytes(200, fault)
            elif fault:
                self.answer(fault, {"error": "fault", "error_description": "on request"})
            elif self.headers.get("Metadata") != "true" or asked.get("api-version") != ["2018-02-01"]:
                self.answer(
                    400, {"error": "bad_request", "error_description": "Required metadata header not specified"}
                )
            elif asked.get("msi_res_id") != [identity.assigned]:
                self.answer(400, {"error": "invalid_request", "error_description": "Identity not found"})
            else:
                self.answer(200, identity.token(asked["resource"][0]))

        def answer(self, status: int, content: dict[str, str]) -> None:
            self.answer_bytes(status, json.dumps(content).encode())

        def answer_bytes(self, status: int, answer: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the tests look at the tokens."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    identity.url = f"http://127.0.0.1:{server.server_address[1]}{APP_SERVICE}"
    try:
        yield identity
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
