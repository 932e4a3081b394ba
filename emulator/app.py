"""The ASGI application: what every request passes through, around the operations of `emulator.routes`."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator import auth, clock, faults, window
from emulator.account import Account
from emulator.errors import (
    BatchError,
    InternalError,
    InvalidHostHeader,
    MissingRequiredQueryParameter,
    RequestBodyTooLarge,
)
from emulator.routes import OPERATIONS, control, routes
from emulator.service import Service
from emulator.wire import LARGEST_BODY, error_answer

_LOCAL_NAMES = {"127.0.0.1", "localhost", "[::1]"}


def application(service: Service) -> ASGIApp:
    """The emulator as an ASGI application."""
    app = Starlette(
        routes=[
            Route("/_emulator", _operations, methods=["GET"]),
            *window.routes(service),
            *control.ROUTES,
            *routes(),
        ],
        exception_handlers={BatchError: _batch_error, Exception: _fault},
    )
    return Gate(app, service)


async def _operations(_request: Request) -> Response:
    """The operations, from the route table itself."""
    rows = [{"name": row.name, "method": row.method, "path": row.path} for row in OPERATIONS]
    return JSONResponse({"operations": rows})


async def _batch_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BatchError), "Starlette looks handlers up by class"
    return error_answer(error, str(request.base_url))


async def _fault(request: Request, _error: Exception) -> Response:
    return error_answer(InternalError(), str(request.base_url))


class Gate:
    """Checks host, signature and api-version, and logs each request."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if window.concerns(scope):
            await self._show(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_standard_headers(scope)]
            await send(message)

        try:
            await self._pass(scope, receive, answering)
        finally:
            elapsed = (time.perf_counter() - began) * 1000
            account: Account | None = scope.get("state", {}).get("account")
            name = account.name if account else None
            method, path = scope["method"], _path(scope)
            self._service.requests.add(name, method, path, status, elapsed)
            self._service.log.info("%s %s %s %s %.0f ms", name or "-", method, path, status, elapsed)

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of the window: it is looked through every second, so these are not logged."""

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_standard_headers(scope)]
            await send(message)

        try:
            _check_origin(scope)
        except BatchError as error:
            await _refuse(error, scope, receive, answering)
            return
        if not window.admits(scope, self._service.settings.key):
            await window.locked()(scope, receive, answering)
            return
        try:
            await self._app(scope, receive, answering)
        except Exception as error:  # as in `_pass`
            self._service.log.error("a fault of the emulator", exc_info=error)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope)
        except BatchError as error:
            await _refuse(error, scope, receive, send)
            return
        account: Account | None = scope.get("state", {}).get("account")
        try:
            if account is None or scope["path"].startswith("/_emulator"):
                await self._app(scope, receive, send)
            else:
                await self._operate(account, scope, receive, send)
        except Exception as error:  # it was answered by `_fault`, which Starlette lets through nevertheless
            self._service.log.error("a fault of the emulator", exc_info=error)

    async def _operate(self, account: Account, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what Batch does, or the fault that was asked for."""
        fault = account.faults.next_for(scope)
        if fault is None:
            await self._app(scope, receive, send)
            return
        self._service.log.warning("%s %s %s: %s, on request", account.name, scope["method"], _path(scope), fault.action)
        await faults.commit(fault, self._app, str(Request(scope).base_url), scope, receive, send)

    def _check(self, scope: Scope) -> None:
        _check_origin(scope)
        if scope["path"] in control.PUBLIC or scope["path"] == "/_emulator":
            return
        account = self._service.account(auth.account_name(self._service.settings, scope))
        scope.setdefault("state", {})["account"] = account
        if not scope["path"].startswith("/_emulator/"):
            query = parse_qs(scope["query_string"].decode("latin-1"))
            if not query.get("api-version"):
                raise MissingRequiredQueryParameter(QueryParameterName="api-version")


def _check_origin(scope: Scope) -> None:
    """Refuse what was sent to another name than this machine's, and what is too large."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    name = headers.get(b"host", "").rpartition(":")[0] or headers.get(b"host", "")
    if name.lower() not in _LOCAL_NAMES:
        raise InvalidHostHeader(HeaderValue=name[:100])
    length = headers.get(b"content-length", "0")
    if length.isdecimal() and int(length) > LARGEST_BODY:
        raise RequestBodyTooLarge(MaxLimit=LARGEST_BODY)


def _path(scope: Scope) -> str:
    """The path as it was sent: decoded, a line break in it would begin a line of the log."""
    return scope["raw_path"].split(b"?")[0].decode("ascii", "backslashreplace")


def _standard_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"date", clock.http_date(datetime.now(UTC)).encode()),
        (b"request-id", str(uuid.uuid4()).encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    sent = dict(scope["headers"])
    if sent.get(b"return-client-request-id", b"").lower() == b"true" and b"client-request-id" in sent:
        headers.append((b"client-request-id", sent[b"client-request-id"]))
    return headers


async def _refuse(error: BatchError, scope: Scope, receive: Receive, send: Send) -> None:
    await error_answer(error, str(Request(scope).base_url))(scope, receive, send)
