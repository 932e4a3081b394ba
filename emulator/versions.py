"""The property names of older api-versions: translated where requests come in and answers go out, and nowhere else.

Which version has which name was read from the models of azure-batch 1.0.0 to 14.2.0, one release for each version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from starlette.requests import Request

RENAMED = (
    # the first api-version that has the new name, the old name, the new name
    ("2017-05-01", "targetDedicated", "targetDedicatedNodes"),
    ("2017-05-01", "currentDedicated", "currentDedicatedNodes"),
    ("2017-05-01", "resizeError", "resizeErrors"),
    ("2017-05-01", "schedulingError", "preProcessingError"),
    ("2018-12-01", "blobSource", "httpUrl"),
    ("2018-12-01", "targetOSVersion", "osVersion"),
    ("2020-09-01", "maxTasksPerNode", "taskSlotsPerNode"),
)
ADDED = (
    # the first api-version that has a property that is answered unasked, and the property
    ("2017-05-01", "targetLowPriorityNodes"),
    ("2017-05-01", "currentLowPriorityNodes"),
    ("2017-05-01", "isDedicated"),
    ("2020-09-01", "requiredSlots"),
    ("2020-09-01", "runningTaskSlotsCount"),
)
_USER_IDENTITY = "2017-01-01"  # before it, a task's user was `runElevated`
_FAILURE_INFO = "2017-05-01"  # before it, a task's failure was `schedulingError`, and a bad exit code none
SLOTS = "2020-09-01"  # before it, task counts were flat
EXACT_COUNTS = "2018-08-01"  # before it, they said whether they had been compared with the tasks
SUPPORTED_IMAGES = "2019-06-01"  # before it, images were listed by their node agents
CERTIFICATES_UNTIL = "2024-02-02"  # after the last version that has certificates and Cloud Services
_LITERAL = re.compile(r"('(?:[^']|'')*')")  # of a `$filter`


class _Names(NamedTuple):
    """What a version calls otherwise than today's, or does not know."""

    modern: dict[str, str]
    original: dict[str, str]
    unknown: frozenset[str]
    run_elevated: bool
    failure_info: bool


def before(request: Request, version: str) -> bool:
    """Whether a request's api-version is older than this one."""
    return _version(request) < version


def _version(request: Request) -> str:
    return request.query_params.get("api-version", "")[:10]


@cache
def _names_of(version: str) -> _Names | None:
    """What a version calls otherwise; None when that is nothing, as for every request of a newer client."""
    names = {old: new for since, old, new in RENAMED if version < since}
    if not names:
        return None
    unknown = frozenset(name for since, name in ADDED if version < since)
    original = {new: old for old, new in names.items()}
    return _Names(names, original, unknown, version < _USER_IDENTITY, version < _FAILURE_INFO)


def _names(request: Request) -> _Names | None:
    version = _version(request)
    # Nothing was renamed since; so the cache holds only what might be a version.
    return _names_of(version) if re.fullmatch(r"20(1[0-9]|20)-[0-9]{2}-[0-9]{2}", version) else None


def modern(request: Request, body: Any) -> Any:
    """A body that came in, with the names of today."""
    names = _names(request)
    return _modern(body, names) if names else body


def _modern(value: Any, names: _Names) -> Any:
    if isinstance(value, list):
        return [_modern(item, names) for item in value]
    if not isinstance(value, Mapping):
        return value
    result = {names.modern.get(name, name): _modern(item, names) for name, item in value.items()}
    if names.run_elevated and "runElevated" in result:
        elevated = str(result.pop("runElevated")).lower() == "true"  # a string, when the Azure CLI sends it
        level = "admin" if elevated else "nonadmin"
        result["userIdentity"] = {"autoUser": {"scope": "task", "elevationLevel": level}}
    return result


def query(request: Request, text: str) -> str:
    """The text of a `$filter` or `$select`, with the names of today."""
    names = _names(request)
    if not names:
        return text
    known = names.modern | ({"runElevated": "userIdentity"} if names.run_elevated else {})
    parts = _LITERAL.split(text)
    parts[::2] = [re.sub(r"\w+", lambda word: known.get(word[0], word[0]), part) for part in parts[::2]]
    return "".join(parts)


def original(request: Request, content: Any) -> Any:
    """A body that goes out, with the names of the request's api-version."""
    names = _names(request)
    return _original(content, names) if names else content


def _original(value: Any, names: _Names) -> Any:
    if isinstance(value, list):
        return [_original(item, names) for item in value]
    if not isinstance(value, Mapping):
        return value
    kept = {name: item for name, item in value.items() if name not in names.unknown}
    if names.failure_info:
        _before_failure_info(kept)
    if names.run_elevated and "userIdentity" in kept:
        user = kept.pop("userIdentity").get("autoUser") or {}
        kept["runElevated"] = user.get("elevationLevel") == "admin"
    return {names.original.get(name, name): _original(item, names) for name, item in kept.items()}


def _before_failure_info(content: dict[str, Any]) -> None:
    """How a task went, as it was told when a bad exit code was no failure yet, and a pool had one resize error."""
    failure = content.pop("failureInfo", None)
    if failure is not None and failure.get("code") != "FailureExitCode":
        content["schedulingError"] = failure
    if content.get("result") in ("success", "failure"):
        del content["result"]
    if content.get("resizeErrors"):
        content["resizeErrors"] = content["resizeErrors"][0]
