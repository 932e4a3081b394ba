"""Faults that a test asks for: what goes wrong with the next requests, with start tasks, with counts."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from emulator.errors import (
    BatchError,
    InternalError,
    InvalidRequestBody,
    ServerBusy,
    TooManyRequests,
    invalid,
)
from emulator.wire import error_answer

ACTIONS = ("answer", "answer-after", "drop", "drop-after", "delay")
_STATUSES: dict[int, type[BatchError]] = {429: TooManyRequests, 500: InternalError, 503: ServerBusy}
_LONGEST_DELAY = 600.0  # seconds


class Protocol(H11Protocol):
    """HTTP as uvicorn speaks it, remembering the connections so that a fault can cut one."""

    transports: ClassVar[dict[tuple[str, int], asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # uvicorn's own type
        """Remember the connection."""
        super().connection_made(transport)
        if self.client is not None:
            self.transports[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        super().connection_lost(exc)
        if self.client is not None:
            self.transports.pop(self.client, None)


@dataclass
class Fault:
    """What happens to the next `count` requests of a method and path."""

    action: str
    """answer: instead of the operation; answer-after: the operation is done first; drop, drop-after: the
    connection is cut instead of, or after, the operation; delay: the operation comes `seconds` late."""
    count: int = 1
    method: str = "*"
    path: str = "*"
    """A pattern such as `/jobs/*/addtaskcollection`."""
    status: int = 500
    retry_after: int | None = None
    """Seconds, for the Retry-After header."""
    seconds: float = 1.0

    def concerns(self, scope: Scope) -> bool:
        """Whether it is for this request."""
        return (
            self.count > 0 and self.method in ("*", scope["method"]) and fnmatch.fnmatchcase(scope["path"], self.path)
        )


def read(given: Any) -> Fault:
    """The fault that a parsed JSON object asks for."""
    if not isinstance(given, dict):
        raise InvalidRequestBody
    kinds: dict[str, type | tuple[type, ...]] = {
        "action": str,
        "count": int,
        "method": str,
        "path": str,
        "status": int,
        "retryAfter": int,
        "seconds": (int, float),
    }
    for name, value in given.items():
        if name not in kinds or not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise invalid(name, value, "must be one of " + ", ".join(kinds) + ", of the right type")
    if given.get("action") not in ACTIONS:
        raise invalid("action", given.get("action"), "must be one of " + ", ".join(ACTIONS))
    for name, least in (("count", 1), ("retryAfter", 0)):
        if given.get(name, least) < least:
            raise invalid(name, given[name], f"must be at least {least}")
    if given.get("status", 500) not in _STATUSES:
        raise invalid("status", given["status"], "must be one of " + ", ".join(map(str, _STATUSES)))
    if not 0 <= given.get("seconds", 1) <= _LONGEST_DELAY:
        raise invalid("seconds", given["seconds"], f"must be from 0 to {_LONGEST_DELAY:g}")
    return Fault(
        given["action"],
        given.get("count", 1),
        given.get("method", "*"),
        given.get("path", "*"),
        given.get("status", 500),
        given.get("retryAfter"),
        given.get("seconds", 1.0),
    )


@dataclass
class Faults:
    """All faults of one account."""

    requests: list[Fault] = field(default_factory=list)
    failing_start_tasks: int = 0
    """So many of the next start tasks fail, with exit code 1, without being run."""
    task_counts_lag: float = 0.0
    """Seconds by which task counts may be out of date."""
    lower_case_statuses: bool = False
    """Whether per-task statuses of a collection are spelled as the SDK expects, not as Azure does."""

    def next_for(self, scope: Scope) -> Fault | None:
        """The fault for a request, which is used up by one."""
        for fault in self.requests:
            if fault.concerns(scope):
                fault.count -= 1
                self.requests[:] = [each for each in self.requests if each.count > 0]
                return fault
        return None

    def start_task_fails(self) -> bool:
        """Whether the next start task is to fail; uses one up."""
        if self.failing_start_tasks <= 0:
            return False
        self.failing_start_tasks -= 1
        return True

    def shown(self) -> Mapping[str, Any]:
        """All this, for people."""
        return asdict(self)


async def commit(fault: Fault, app: ASGIApp, base_url: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Let the fault happen to a request."""
    if fault.action == "delay":
        await asyncio.sleep(fault.seconds)
        await app(scope, receive, send)
        return
    if fault.action.endswith("-after"):
        await app(scope, receive, _nowhere)
    if fault.action.startswith("drop"):
        cut(scope)
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    answer = error_answer(_STATUSES[fault.status](), base_url)
    if fault.retry_after is not None:
        answer.headers["Retry-After"] = str(fault.retry_after)
    await answer(scope, receive, send)


def cut(scope: Scope) -> None:
    """Close the connection that a request came by, without any more of the answer."""
    connection = Protocol.transports.get(tuple(scope["client"]))
    if connection is not None:
        connection.abort()


async def _nowhere(_message: Message) -> None:
    """The answer that the client does not get."""
