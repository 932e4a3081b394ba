"""The property names of older api-versions: translated where bodies come in and go out, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

RENAMED = (
    # the first api-version that has the new name, the old name, the new name
    ("2017-01-01", "targetDedicated", "targetDedicatedNodes"),
    ("2017-01-01", "currentDedicated", "currentDedicatedNodes"),
    ("2018-12-01", "blobSource", "httpUrl"),
    ("2020-09-01", "maxTasksPerNode", "taskSlotsPerNode"),
)


def _names(request: Request) -> dict[str, str]:
    """The old names that a request's api-version has, and what they are called now."""
    version = request.query_params.get("api-version", "")[:10]
    return {old: new for since, old, new in RENAMED if version < since}


def modern(request: Request, body: Any) -> Any:
    """A body that came in, with the names of today."""
    names = _names(request)
    return _renamed(body, names) if names else body


def original(request: Request, content: Any) -> Any:
    """A body that goes out, with the names of the request's api-version."""
    names = {new: old for old, new in _names(request).items()}
    return _renamed(content, names) if names else content


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    if isinstance(value, Mapping):
        return {names.get(name, name): _renamed(item, names) for name, item in value.items()}
    return value
