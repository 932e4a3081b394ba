"""Operations on the ways into a node: its users, remote login, extensions and logs. Nobody can really log in."""

from __future__ import annotations

from typing import Any

from azure.batch.models import (
    BatchNodeRemoteLoginSettings,
    BatchNodeUserCreateOptions,
    BatchNodeUserReplaceOptions,
    BatchNodeVMExtension,
    UploadBatchServiceLogsOptions,
)
from starlette.requests import Request
from starlette.responses import Response

from emulator.errors import MissingRequiredProperty, NodeUserExists, NodeUserNotFound, ResourceNotFound, invalid
from emulator.node import Node
from emulator.routes.account import rows
from emulator.routes.nodes import node_of
from emulator.wire import answer, body, done, element, page

_FIRST_PORT = 50_000  # where Azure's load balancers forward SSH connections from
_LONGEST_NAME = 20
_SECRETS = ("password", "sshPublicKey")


def _user(node: Node, name: str) -> dict[str, Any]:
    found = node.users.get(name.lower())
    if found is None:
        raise NodeUserNotFound
    return found


async def create_node_user(request: Request) -> Response:
    """Note a user of a node; the secrets are not kept."""
    given = dict((await body(request, BatchNodeUserCreateOptions)).items())
    node = node_of(request)
    name = given["name"]
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise invalid("name", name, f"must be 1 to {_LONGEST_NAME} characters")
    if not any(given.get(secret) for secret in _SECRETS):
        raise MissingRequiredProperty(PropertyName="password")
    if name.lower() in node.users:
        raise NodeUserExists
    node.users[name.lower()] = _without_secrets(given)
    url = f"{node.model['url']}/users/{name}"
    return Response(status_code=201, headers={"Location": url, "DataServiceId": url, "DataServiceVersion": "3.0"})


async def replace_node_user(request: Request) -> Response:
    """Change a user's expiry; one that is not given goes back to its default."""
    given = dict((await body(request, BatchNodeUserReplaceOptions)).items())
    user = _user(node_of(request), request.path_params["userName"])
    user.pop("expiryTime", None)
    user |= _without_secrets(given)
    return done(200)


async def delete_node_user(request: Request) -> Response:
    """Forget a user of a node."""
    node = node_of(request)
    _user(node, request.path_params["userName"])
    del node.users[request.path_params["userName"].lower()]
    return done(200)


def _without_secrets(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in _SECRETS}


async def get_node_remote_login_settings(request: Request) -> Response:
    """Where SSH would be, on Azure; here nobody listens there."""
    node = node_of(request)
    settings = BatchNodeRemoteLoginSettings(
        {"remoteLoginIPAddress": node.model["ipAddress"], "remoteLoginPort": _FIRST_PORT + node.serial % 10_000}
    )
    return element(request, settings, "remoteloginsettings")


async def upload_node_logs(request: Request) -> Response:
    """The logs of the node's agent: there is no agent, so no file is uploaded, and the answer says so."""
    await body(request, UploadBatchServiceLogsOptions)
    node = node_of(request)
    return answer({"virtualDirectoryName": f"{node.pool.id}/{node.id}", "numberOfFilesUploaded": 0})


def _extensions(node: Node) -> list[BatchNodeVMExtension]:
    """The pool's extensions; they are not run, so they have no state."""
    configuration = node.pool.model.get("virtualMachineConfiguration") or {}
    return [BatchNodeVMExtension({"vmExtension": extension}) for extension in configuration.get("extensions") or ()]


async def list_node_extensions(request: Request) -> Response:
    """A page of a node's extensions."""
    return page(request, rows(_extensions(node_of(request))), BatchNodeVMExtension, "extensions")


async def get_node_extension(request: Request) -> Response:
    """One extension of a node."""
    name = request.path_params["extensionName"].lower()
    for extension in _extensions(node_of(request)):
        if extension["vmExtension"]["name"].lower() == name:
            return element(request, extension, "extensions")
    raise ResourceNotFound
