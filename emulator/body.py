"""Reads request bodies as SDK models: types, enums, durations, required properties, and what is refused.

The SDK's models carry the wire names and types of the service, so they are the schema: a body is walked
beside the annotations of its model. Numbers and booleans may come as strings, as the Azure CLI sends them.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

import isodate
from azure.batch import models
from azure.batch._utils.model_base import Model
from azure.batch.models import _enums, _models

from emulator.clock import read_duration, written, written_duration
from emulator.errors import InvalidRequestBody, MissingRequiredProperty, NotImplementedHere, invalid

M = TypeVar("M")

REFUSED: dict[str, set[str]] = {
    "BatchPoolCreateOptions": {"applicationPackageReferences"},
    "BatchPoolUpdateOptions": {
        "vmSize",
        "virtualMachineConfiguration",
        "taskSlotsPerNode",
        "taskSchedulingPolicy",
        "enableInterNodeCommunication",
        "networkConfiguration",
        "applicationPackageReferences",
        "userAccounts",
        "mountConfiguration",
        "upgradePolicy",
    },
    "VirtualMachineConfiguration": {"windowsConfiguration", "licenseType", "serviceArtifactReference"},
    "BatchVmImageReference": {"virtualMachineImageId", "sharedGalleryImageId", "communityGalleryImageId"},
    "BatchJobCreateOptions": {"networkConfiguration", "allowTaskPreemption"},
    "BatchJobManagerTask": {"containerSettings", "applicationPackageReferences"},
    "BatchTaskCreateOptions": {
        "containerSettings",
        "multiInstanceSettings",
        "applicationPackageReferences",
    },
    "BatchStartTask": {"containerSettings"},
    "BatchJobPreparationTask": {"containerSettings"},
    "BatchJobReleaseTask": {"containerSettings"},
    "UserIdentity": {"username"},
}
"""Properties by model that would need what the emulator does not do: a value that asks for it is a 501."""
for _alike, _of in {
    "BatchPoolSpecification": "BatchPoolCreateOptions",
    "BatchPoolReplaceOptions": "BatchPoolCreateOptions",
    "BatchJobUpdateOptions": "BatchJobCreateOptions",
    "BatchJob": "BatchJobCreateOptions",
    "BatchJobSpecification": "BatchJobCreateOptions",
}.items():
    REFUSED[_alike] = REFUSED[_of]

SECRETS: dict[str, set[str]] = {
    "AzureBlobFileSystemConfiguration": {"accountKey", "sasKey"},
    "AzureFileShareConfiguration": {"accountKey"},
    "CifsMountConfiguration": {"password"},
    "ContainerRegistryReference": {"password"},
    "LinuxUserConfiguration": {"sshPrivateKey"},
    "UserAccount": {"password"},
    "VMExtension": {"protectedSettings"},
}
"""Properties by model that the service never gives back, and of which the emulator has no use: checked, not kept."""

RETIRED = {
    "applicationLicenses",
    "authenticationTokenSettings",
    "certificateReferences",
    "cloudServiceConfiguration",
    "publicIPs",
    "resourceTags",
    "targetNodeCommunicationMode",
}
"""Properties that only older api-versions have: refused wherever no model has them, unless they ask for nothing."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_INERT = (None, False, "", [], {})  # asks for nothing


@dataclass(frozen=True)
class _Property:
    """One property of a model: how to read a value of it, and the model of the object that it is, if it is one."""

    read: Callable[[Any, str], Any]
    required: bool
    read_only: bool
    model: type | None


def read(model: Callable[[dict[str, Any]], M], body: object) -> M:
    """The model that a parsed JSON body describes, in Batch's own spelling of durations, dates and enums.

    Raises:
        InvalidRequestBody: when the body is no object, or names a property that the model does not have.
        MissingRequiredProperty, InvalidPropertyValue: for one property.
        NotImplementedHere: for a property whose effect the emulator does not have.
    """
    return model(_read_object(typing.cast(type, model), body, ""))


def _read_object(model: type, body: object, path: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequestBody(Reason=f"{path or 'the body'} must be an object")
    properties = properties_of(model)
    refused = REFUSED.get(model.__name__, ())
    result: dict[str, Any] = {}
    for name, value in body.items():
        known = properties.get(name)
        if known is None:
            if str(name).startswith("odata."):
                continue
            if name in RETIRED:
                if value in _INERT:
                    continue
                raise NotImplementedHere(f"{path}{name}")
            raise InvalidRequestBody(PropertyName=f"{path}{name}", Reason="no such property")
        if value is None or known.read_only:
            continue
        if name in refused and value not in _INERT:
            raise NotImplementedHere(f"{path}{name}")
        result[name] = known.read(value, path + name)
    for name, known in properties.items():
        if known.required and name not in result:
            raise MissingRequiredProperty(PropertyName=path + name)
    for name in SECRETS.get(model.__name__, ()):
        result.pop(name, None)
    return result


@functools.cache
def properties_of(model: type) -> dict[str, _Property]:
    """The properties of a model by wire name."""
    model({})  # the SDK computes a model's wire names when its first instance is made
    hints = typing.get_type_hints(
        model,
        globalns={**vars(_models), "_models": models, "_enums": _enums},
        # `_models` lives in the models' namespace only while types are checked
    )
    properties: dict[str, _Property] = {}
    for attribute, field in model._attr_to_rest_field.items():  # pyright: ignore[reportAttributeAccessIssue]
        annotation = hints[attribute]
        optional = type(None) in typing.get_args(annotation)
        read_only = field._visibility == ["read"]
        properties[field._rest_name] = _Property(
            _reader(annotation),
            required=not optional and not read_only,
            read_only=read_only,
            model=_object(annotation),
        )
    return properties


@functools.cache
def objects_of(model: type) -> dict[str, type | None]:
    """The properties of a model by wire name, each with the model of the object that it is; None when it is none."""
    return {name: known.model for name, known in properties_of(model).items()}


def _kinds(annotation: Any) -> list[Any]:
    """What a value of an annotated type may be, but for null."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return [annotation]


def _object(annotation: Any) -> type | None:
    kind = _kinds(annotation)[0]
    return kind if isinstance(kind, type) and issubclass(kind, Model) else None


def _reader(annotation: Any) -> Callable[[Any, str], Any]:
    """How to read a value of an annotated type; the function takes the value and its property's path."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        kinds = _kinds(annotation)
        enums = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Enum)]
        return functools.partial(_read_enum, enums[0]) if enums else _reader(kinds[0])
    if origin is list:
        return functools.partial(_read_list, _reader(typing.get_args(annotation)[0]))
    if origin is dict:
        return functools.partial(_read_map, _reader(typing.get_args(annotation)[1]))
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return functools.partial(_read_enum, annotation)
    return lambda value, path: _read_object(annotation, value, f"{path}.")


def _read_list(reader: Callable[[Any, str], Any], value: object, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidRequestBody(PropertyName=path, Reason="must be a list")
    return [reader(item, f"{path}[{place}]") for place, item in enumerate(value)]


def _read_map(reader: Callable[[Any, str], Any], value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequestBody(PropertyName=path, Reason="must be an object")
    return {name: reader(item, f"{path}.{name}") for name, item in value.items()}


def _read_enum(kind: type[Enum], value: object, path: str) -> str:
    for member in kind:
        if isinstance(value, str) and value.lower() == member.value.lower():
            return member.value
    raise invalid(path, value, "must be one of " + ", ".join(member.value for member in kind))


def _read_string(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise invalid(path, value, "must be a string")
    if "\0" in value:
        raise invalid(path, value, "must not contain a NUL character")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise invalid(path, value, "must not contain half of a surrogate pair")
    return value


def _read_integer(value: object, path: str) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**63:
        raise invalid(path, value, "must be an integer")
    return value


def _read_boolean(value: object, path: str) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        value = value.lower() == "true"
    if not isinstance(value, bool):
        raise invalid(path, value, "must be true or false")
    return value


def _read_duration(value: object, path: str) -> str:
    try:
        return written_duration(read_duration(_read_string(value, path)))
    except ValueError as error:
        raise invalid(path, value, str(error)) from None


def _read_date(value: object, path: str) -> str:
    try:
        return written(isodate.parse_datetime(_read_string(value, path)))
    except (ValueError, OverflowError):
        raise invalid(path, value, "must be an ISO 8601 date and time") from None


_SCALARS: dict[Any, Callable[[Any, str], Any]] = {
    str: _read_string,
    int: _read_integer,
    bool: _read_boolean,
    timedelta: _read_duration,
    datetime: _read_date,
}
