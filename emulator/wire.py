"""The shapes of requests and answers on the wire: bodies, lists in pages, ETags, errors."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlencode

import isodate
from starlette.requests import Request
from starlette.responses import Response

from emulator import clock, versions
from emulator.body import read
from emulator.errors import (
    BatchError,
    ConditionNotMet,
    InvalidHeaderValue,
    InvalidQueryParameterValue,
    InvalidRequestBody,
    NotModified,
    RequestBodyTooLarge,
)
from emulator.odata import Predicate, filtered, selected

if TYPE_CHECKING:
    from emulator.account import Account

M = TypeVar("M")
LARGEST_BODY = 1 << 20  # bytes; Azure refuses 1 177 854 and takes 572 000
_LARGEST_PAGE = 1000
_ERRORS = "Microsoft.Azure.Batch.Protocol.Entities.Container.errors"
_CONTENT_TYPE = "application/json;odata=minimalmetadata"


def account_of(request: Request) -> Account:
    """The account that signed the request."""
    return request.state.account


async def body(request: Request, model: Callable[[dict[str, Any]], M]) -> M:
    """The request's body as a model of the SDK.

    Raises:
        RequestBodyTooLarge, InvalidRequestBody, ...: see `emulator.body.read`.
    """
    return read(model, await json_body(request))


async def json_body(request: Request) -> Any:
    """The request's body, parsed; an empty one is an empty object."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > LARGEST_BODY:
            raise RequestBodyTooLarge
    if not received:
        return {}
    try:
        return versions.modern(request, json.loads(received, parse_constant=_no_constant))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestBody(Reason=f"The body is not JSON: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _encoded(content: Any) -> bytes:
    return json.dumps(content, default=lambda model: dict(model.items()), separators=(",", ":")).encode()


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(
        _encoded(content), status, {"DataServiceVersion": "3.0", **(headers or {})}, media_type=_CONTENT_TYPE
    )


def _metadata(request: Request, of: str) -> str:
    return f"{request.base_url}$metadata#{of}"


def element(request: Request, model: Any, of: str, stats: Callable[[], Mapping[str, Any]] | None = None) -> Response:
    """One resource, with its ETag; trimmed when the request selects properties, with statistics when it asks for them.

    Args:
        of: the collection, as the answer's metadata name it.
        stats: how to come by the statistics of the resource, if it has any.
    """
    check_conditions(request, model)
    content = {**model, "stats": stats()} if _expanded(request) and stats is not None else model
    shown = _trimmed(versions.original(request, content), _chosen(request, type(model)))
    content = {"odata.metadata": _metadata(request, f"{of}/@Element"), **shown}
    return answer(content, headers=tags(model))


def created(model: Any) -> Response:
    """The answer to a creation."""
    return Response(
        status_code=201,
        headers={
            **tags(model),
            "Location": model["url"],
            "DataServiceId": model["url"],
            "DataServiceVersion": "3.0",
        },
    )


def done(status: int, model: Any = None) -> Response:
    """An answer without a body."""
    headers = {"DataServiceVersion": "3.0"}
    if model is not None:
        headers |= {**tags(model), "DataServiceId": quote(model["url"], safe=":/")}
    return Response(status_code=status, headers=headers)


def tags(model: Any) -> dict[str, str]:
    """The headers that name a resource's version, if it has versions."""
    if "eTag" not in model:
        return {}
    return {"ETag": model["eTag"], "Last-Modified": clock.http_date(model.last_modified)}


def touched(account: Account, model: Any) -> None:
    """A user changed a resource: give it a new version."""
    model["eTag"] = clock.etag()
    model["lastModified"] = account.clock.stamp()


def _expanded(request: Request) -> bool:
    """Whether the request asks for statistics, the one thing that there is to be expanded."""
    expanded = request.query_params.get("$expand", "").strip()
    if expanded not in ("", "stats"):
        raise InvalidQueryParameterValue(QueryParameterName="$expand", QueryParameterValue=expanded[:100])
    return bool(expanded)


def _chosen(request: Request, model: type) -> list[str] | None:
    text = request.query_params.get("$select", "")
    return selected(text, model, versions.names_of(request).properties) if text.strip() else None


def _trimmed(content: Mapping[str, Any], chosen: list[str] | None) -> Mapping[str, Any]:
    """Of a body, what was selected."""
    return content if chosen is None else {name: content[name] for name in chosen if name in content}


def _wanted(request: Request, model: type) -> Predicate | None:
    """The predicate of the request's `$filter`, over bodies of today; None when it has none."""
    text = request.query_params.get("$filter", "")
    if not text.strip():
        return None
    names = versions.names_of(request)
    wanted = filtered(text, model, names.properties)
    if not names.changed:
        return wanted
    read_by = names.read_by(text, model)  # a filter sees many bodies: translate no more of each than that
    return lambda body: wanted(versions.original(request, {name: body[name] for name in read_by if name in body}))


class _Pages(Protocol):
    """A list that can be read page by page, as `emulator.listing.Listing`."""

    def page(self, after: int, size: int, wanted: Predicate | None) -> tuple[Sequence[Any], int | None]: ...


def page(
    request: Request,
    listing: _Pages,
    model: type,
    of: str,
    stats: Callable[[Any], Mapping[str, Any]] | None = None,
) -> Response:
    """One page of a list: filtered, trimmed, and with a link to the next page if there is one; see `element`."""
    query = request.query_params
    size = _LARGEST_PAGE
    if query.get("maxresults"):
        size = _number(query["maxresults"], "maxresults")
        if not 1 <= size <= _LARGEST_PAGE:
            raise InvalidQueryParameterValue(
                QueryParameterName="maxresults", QueryParameterValue=size, MaximumAllowed=_LARGEST_PAGE
            )
    after = _number(query["$skiptoken"], "$skiptoken") if query.get("$skiptoken") else 0
    wanted = _wanted(request, model)
    chosen = _chosen(request, model)
    expand = stats if _expanded(request) else None
    found, following = listing.page(after, size, wanted)
    contents = [item.model if expand is None else {**item.model, "stats": expand(item)} for item in found]
    shown = [_trimmed(versions.original(request, content), chosen) for content in contents]
    content: dict[str, Any] = {"odata.metadata": _metadata(request, of), "value": shown}
    if following is not None:
        link = {**query, "$skiptoken": following}
        content["odata.nextLink"] = f"{str(request.base_url).rstrip('/')}{request.url.path}?{urlencode(link)}"
    return answer(content)


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InvalidQueryParameterValue(QueryParameterName=name, QueryParameterValue=text[:100])
    return int(text)


def check_conditions(request: Request, model: Any) -> None:
    """Compare the conditional headers with a resource's version.

    Raises:
        ConditionNotMet: when a write is not to be done.
        NotModified: when a read is not to be answered.
    """
    headers = request.headers
    failed = NotModified if request.method in ("GET", "HEAD") else ConditionNotMet
    if "eTag" in model:
        match, none_match = headers.get("if-match"), headers.get("if-none-match")
        if match is not None and not _names(match, model["eTag"]):
            raise ConditionNotMet
        if none_match is not None and _names(none_match, model["eTag"]):
            raise failed
    if model.get("lastModified"):
        changed = isodate.parse_datetime(model["lastModified"]).replace(microsecond=0)
        since, unless = headers.get("if-modified-since"), headers.get("if-unmodified-since")
        if since is not None and changed <= _date(since):
            raise failed
        if unless is not None and changed > _date(unless):
            raise ConditionNotMet


def _names(header: str, etag: str) -> bool:
    return any(part.strip().removeprefix("W/").strip('"') in ("*", etag) for part in header.split(","))


def _date(text: str) -> datetime:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        raise InvalidHeaderValue(HeaderValue=text[:100]) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def error_answer(error: BatchError, base_url: str) -> Response:
    """An error as Batch words it."""
    if error.status == 304:
        return Response(status_code=304)
    moment = clock.written(datetime.now(UTC))
    content: dict[str, Any] = {
        "odata.metadata": f"{base_url}$metadata#{_ERRORS}/@Element",
        **error_body(error, f"\nRequestId:{uuid.uuid4()}\nTime:{moment}"),
    }
    return answer(content, error.status)


def error_body(error: BatchError, suffix: str = "") -> dict[str, Any]:
    """An error as a part of an answer."""
    content: dict[str, Any] = {
        "code": error.code,
        "message": {"lang": "en-US", "value": error.message + suffix},
    }
    if error.values:
        content["values"] = [{"key": key, "value": value} for key, value in error.values.items()]
    return content
