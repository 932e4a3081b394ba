"""Choosing the nodes' image."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from azure.batch.models import BatchSupportedImage, BatchVmImageReference

from tasks.errors import BadInput
from tasks.pool import newest_verified


def image(sku: str, agent: str, *, verified: bool = True, ends: datetime | None = None) -> BatchSupportedImage:
    return BatchSupportedImage(
        node_agent_sku_id=agent,
        image_reference=BatchVmImageReference(publisher="Canonical", offer="ubuntu", sku=sku, version="latest"),
        os_type="linux",
        verification_type="verified" if verified else "unverified",
        batch_support_end_of_life=ends,
    )


IMAGES = [
    image("server", "old", ends=datetime(2027, 1, 1, tzinfo=UTC)),
    image("server", "new", ends=datetime(2029, 1, 1, tzinfo=UTC)),
    image("server", "newest but unverified", verified=False),
    image("minimal", "unverified", verified=False),
]


def test_the_newest_verified_image_is_chosen_whatever_its_case() -> None:
    assert newest_verified(IMAGES, "canonical:UBUNTU:server").node_agent_sku_id == "new"


def test_an_unverified_or_unknown_image_is_refused_and_the_known_ones_are_named() -> None:
    for name in ("canonical:ubuntu:minimal", "nobody:nothing:x"):
        with pytest.raises(BadInput, match=f"{name}; it lists Canonical:ubuntu:server"):
            newest_verified(IMAGES, name)
