"""Which Batch and Storage accounts a run uses, from the environment variables that the Azure CLI uses too."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tasks.errors import BadInput


@dataclass(frozen=True)
class Settings:
    """Endpoints and credentials. A key that is None means Entra ID (azure-identity's DefaultAzureCredential)."""

    batch_endpoint: str  # https://ACCOUNT.REGION.batch.azure.com, no slash at the end
    batch_account: str | None
    batch_key: str | None = field(repr=False)
    storage_account: str
    storage_key: str | None = field(repr=False)
    blob_endpoint: str  # https://ACCOUNT.blob.core.windows.net, no slash at the end
    batch_account_id: str | None = None  # /subscriptions/.../batchAccounts/ACCOUNT, for the plan's quotas
    results_container: str = "topn-results"  # the results of all runs, by key

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings once, at the edge. Raises BadInput naming the variable at fault."""
        batch_endpoint = _required(environment, "AZURE_BATCH_ENDPOINT")
        storage_account = _required(environment, "AZURE_STORAGE_ACCOUNT")
        blob_endpoint = environment.get("AZURE_STORAGE_BLOB_ENDPOINT") or f"{storage_account}.blob.core.windows.net"
        batch_key, storage_key = (
            _key(environment, "AZURE_BATCH_ACCESS_KEY"),
            _key(environment, "AZURE_STORAGE_KEY"),
        )
        if batch_key and not environment.get("AZURE_BATCH_ACCOUNT"):
            raise BadInput("AZURE_BATCH_ACCESS_KEY is set, but AZURE_BATCH_ACCOUNT, whose key it is, is not.")
        settings = cls(
            batch_endpoint=_url("AZURE_BATCH_ENDPOINT", batch_endpoint),
            batch_account=environment.get("AZURE_BATCH_ACCOUNT") or None,
            batch_key=batch_key,
            storage_account=storage_account,
            storage_key=storage_key,
            blob_endpoint=_url("AZURE_STORAGE_BLOB_ENDPOINT", blob_endpoint),
            batch_account_id=_account_id(environment),
            results_container=_container(environment),
        )
        for endpoint, key, name in (
            (settings.batch_endpoint, batch_key, "AZURE_BATCH_ACCESS_KEY"),
            (settings.blob_endpoint, storage_key, "AZURE_STORAGE_KEY"),
        ):
            # azure-core refuses bearer tokens without TLS, with a sentence that names no setting.
            if endpoint.startswith("http://") and key is None:
                raise BadInput(f"{endpoint} is not https, so {name} must be set: tokens need TLS.")
        return settings


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise BadInput(f"{name} is not set: it names the account to use (`make run` needs none and no cloud).")
    return value


def _account_id(environment: Mapping[str, str]) -> str | None:
    account_id = environment.get("AZURE_BATCH_ACCOUNT_ID") or None
    if account_id and "/providers/microsoft.batch/batchaccounts/" not in account_id.lower():
        raise BadInput(f"AZURE_BATCH_ACCOUNT_ID is {account_id}, which is not the resource id of a Batch account.")
    return account_id


def _container(environment: Mapping[str, str]) -> str:
    name = environment.get("TOPN_RESULTS_CONTAINER") or "topn-results"
    if not re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", name):
        raise BadInput(f"TOPN_RESULTS_CONTAINER is {name}, which no container can be called.")
    return name


def _key(environment: Mapping[str, str], name: str) -> str | None:
    value = environment.get(name) or None
    try:
        base64.b64decode(value or "", validate=True)
    except binascii.Error:
        raise BadInput(f"{name} is not an account key: it is not base64.") from None
    return value


def _url(name: str, endpoint: str) -> str:
    """The endpoint with a scheme (the Azure CLI and the portal show it without) and no slash at the end."""
    url = (endpoint if "://" in endpoint else f"https://{endpoint}").rstrip("/")
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise BadInput(f"{name} is {endpoint}, which is no address of a service.")
    return url
