"""Operations on the account as a whole: its images and node counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from azure.batch.models import BatchNodeCounts, BatchPoolNodeCounts, BatchSupportedImage
from starlette.requests import Request
from starlette.responses import Response

from emulator import images
from emulator.body import properties_of
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
