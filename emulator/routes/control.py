"""What is not Batch: health, the supported operations, and what tests need, all under `/_emulator`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.invariants import violations
from emulator.wire import account_of


async def health(_request: Request) -> Response:
    """That the emulator serves."""
    return JSONResponse({"status": "ok"})


async def check(request: Request) -> Response:
    """What is wrong in the account's state: an empty list, unless the emulator has a fault."""
    return JSONResponse({"violations": violations(account_of(request))})


PUBLIC = {"/_emulator/health"}
"""What is answered without a signature."""

ROUTES = [
    Route("/_emulator/health", health, methods=["GET"]),
    Route("/_emulator/check", check, methods=["GET"]),
]
