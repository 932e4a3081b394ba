"""Operations on the account as a whole: its images and node counts."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import isodate
from azure.batch.models import (
    BatchApplication,
    BatchNodeCounts,
    BatchPoolNodeCounts,
    BatchPoolUsageMetrics,
    BatchSupportedImage,
)
from starlette.requests import Request
from starlette.responses import Response

from emulator import images, usage
from emulator.body import properties_of
from emulator.errors import ApplicationNotFound, InvalidQueryParameterValue
from emulator.listing import Listing
from emulator.pool import Pool
from emulator.wire import account_of, page


class _Row:
    """One row of a list that is made on the spot."""

    def __init__(self, serial: int, model: Any) -> None:
        self.serial = serial
        self.model = model


def rows(models: list[Any]) -> Listing[_Row]:
    """A list for `page`, of models that are made on the spot."""
    listing = Listing[_Row]()
    for serial, model in enumerate(models, start=1):
        listing.add(str(serial), _Row(serial, model))
    return listing


async def list_supported_images(request: Request) -> Response:
    """The images of which pools can be made."""
    models = [BatchSupportedImage(image) for image in images.SUPPORTED]
    return page(request, rows(models), BatchSupportedImage, "supportedimages")


async def list_pool_node_counts(request: Request) -> Response:
    """How many nodes of each pool are in which state."""
    models = [_counts(pool) for pool in account_of(request).pools]
    return page(request, rows(models), BatchPoolNodeCounts, "poolnodecounts")


def _counts(pool: Pool) -> BatchPoolNodeCounts:
    counted: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for node in pool.nodes:
        counted[node.model["isDedicated"]].update([node.state, "total"])
    names = list(properties_of(BatchNodeCounts))
    return BatchPoolNodeCounts(
        {
            "poolId": pool.id,
            "dedicated": {name: counted[True][name.lower()] for name in names},
            "lowPriority": {name: counted[False][name.lower()] for name in names},
        }
    )


async def list_applications(request: Request) -> Response:
    """The application packages of the account: they come by the management plane, so here are none."""
    return page(request, rows([]), BatchApplication, "applications")


async def get_application(request: Request) -> Response:
    """One application: there is none."""
    raise ApplicationNotFound(ApplicationId=request.path_params["applicationId"][:100])


async def list_pool_usage_metrics(request: Request) -> Response:
    """A page of what pools used, one row a pool, of those that were there between two moments."""
    start, end = (_moment(request, name) for name in ("startTime", "endTime"))
    models = usage.between(account_of(request), start, end)
    return page(request, rows(models), BatchPoolUsageMetrics, "poolusagemetrics")


def _moment(request: Request, name: str) -> datetime | None:
    """A date in the query; older clients spell its name in lower case."""
    text = request.query_params.get(name) or request.query_params.get(name.lower())
    if not text:
        return None
    try:
        moment = isodate.parse_datetime(text)
    except (ValueError, OverflowError):
        raise InvalidQueryParameterValue(QueryParameterName=name, QueryParameterValue=text[:100]) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
