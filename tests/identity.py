"""A stub of a managed identity's token endpoint, as azure-identity asks it (App Service's protocol)."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class Identity:
    """Gives tokens that live so long, and keeps them."""

    lifetime: timedelta
    header: str = field(default_factory=lambda: uuid.uuid4().hex)
    url: str = ""
    tokens: dict[str, list[str]] = field(default_factory=dict)  # by resource

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
            asked = parse_qs(urlsplit(self.path).query)
            known = self.headers.get("X-IDENTITY-HEADER") == identity.header and "resource" in asked
            answer = json.dumps(identity.token(asked["resource"][0]) if known else {"error": "who asks?"}).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the tests look at the tokens."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    identity.url = f"http://127.0.0.1:{server.server_address[1]}/msi/token"
    try:
        yield identity
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
