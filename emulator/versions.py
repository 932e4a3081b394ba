"""The property names of older api-versions: translated where requests come in and answers go out, and nowhere else.

Which version has which name was read from the models of azure-batch 1.0.0 to 14.2.0, one release for each version.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from azure.batch.models import ResizeError
from starlette.requests import Request

from emulator import retired
from emulator.body import objects_of

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
LIFETIME_STATISTICS_UNTIL = "2023-05-01"  # the first version without those of all jobs, and of all pools
CERTIFICATES_UNTIL = "2024-02-02"  # after the last version that has certificates and Cloud Services
_RESHAPED = ("failureInfo", "result", "resizeErrors", "userIdentity")  # were not only called otherwise
_STEPS = sorted({*(since for since, *_ in (*RENAMED, *ADDED)), _USER_IDENTITY, CERTIFICATES_UNTIL})


@dataclass(frozen=True, eq=False)  # there is one for each step, so its identity is what a cache goes by
class Names:
    """What a version calls otherwise than today's, or does not know, or knows beside it."""

    modern: dict[str, str]
    original: dict[str, str]
    unknown: frozenset[str]
    run_elevated: bool
    failure_info: bool
    retired: bool

    @property
    def changed(self) -> bool:
        """Whether bodies differ from today's."""
        return bool(self.modern)

    @cache  # noqa: B019 - there are as few of these as there are steps
    def properties(self, model: type) -> Mapping[str, type | None]:
        """The properties of a model by their names in this version, in the manner of `emulator.body.objects_of`."""
        known = objects_of(model)
        result = {self.original.get(name, name): inner for name, inner in known.items() if name not in self.unknown}
        if self.failure_info and "failureInfo" in known:
            result["schedulingError"] = result.pop("failureInfo")
            result.pop("result", None)
        if "resizeError" in result:
            result["resizeError"] = ResizeError  # the first of what is a list today
        if self.run_elevated and "userIdentity" in known:
            del result["userIdentity"]
            result["runElevated"] = None
        if self.retired:
            result |= retired.PROPERTIES.get(model.__name__, {})
        return result

    def read_by(self, text: str, model: type) -> list[str]:
        """The properties, by today's names, that a `$filter` in this version's names reads, and perhaps some more."""
        words = {*re.findall(r"\w+", text)}
        names = {*objects_of(model), *self.properties(model)}
        return [name for name in names if name in _RESHAPED or self.original.get(name, name) in words]


def before(request: Request, version: str) -> bool:
    """Whether a request's api-version is older than this one."""
    return _version(request) < version


def _version(request: Request) -> str:
    return request.query_params.get("api-version", "")[:10]


def names_of(request: Request) -> Names:
    """The names of a request's api-version."""
    return _names_after(bisect(_STEPS, _version(request)))


@cache
def _names_after(steps: int) -> Names:
    """The names of the versions that came after so many of the steps."""
    to_come = frozenset(_STEPS[steps:])
    names = {old: new for since, old, new in RENAMED if since in to_come}
    return Names(
        modern=names,
        original={new: old for old, new in names.items()},
        unknown=frozenset(name for since, name in ADDED if since in to_come),
        run_elevated=_USER_IDENTITY in to_come,
        failure_info=_FAILURE_INFO in to_come,
        retired=CERTIFICATES_UNTIL in to_come,
    )


def modern(request: Request, body: Any) -> Any:
    """A body that came in, with the names of today."""
    names = names_of(request)
    return _modern(body, names) if names.changed else body


def _modern(value: Any, names: Names) -> Any:
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


def original(request: Request, content: Any) -> Any:
    """A body that goes out, with the names of the request's api-version."""
    names = names_of(request)
    return _original(content, names) if names.changed else content


def _original(value: Any, names: Names) -> Any:
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
