"""Containers of Azure Storage as tasks reach them: by a URL with a SAS, as an identity, or as the auto storage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import aiohttp
import isodate
from aiohttp import ClientSession
from azure.batch.models import BatchNodeIdentityReference
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import ContainerClient

from emulator.errors import MissingRequiredProperty

if TYPE_CHECKING:
    from emulator.clock import Clock

# The client's own pauses are of 15 s and more, for storage in another place than this machine.
_RETRIES = {"retry_total": 2, "initial_backoff": 0.5, "increment_base": 1.5, "random_jitter_range": 0.5}


@dataclass(frozen=True)
class AutoStorage:
    """The storage account that a Batch account is linked with."""

    endpoint: str
    """The blob endpoint, such as `http://127.0.0.1:10000/devstoreaccount1`."""
    key: str

    def names(self, url: str) -> list[str]:
        """The container, and perhaps the blob, of a URL in this account; nothing for any other URL."""
        try:
            given, own = urlsplit(url), urlsplit(self.endpoint)
            here = (given.scheme, given.hostname, given.port) == (own.scheme, own.hostname, own.port)
        except ValueError:
            return []
        folder = own.path.rstrip("/") + "/"
        if not here or not given.path.startswith(folder):
            return []
        return [unquote(name) for name in given.path.removeprefix(folder).split("/", 1) if name]


class Refused(Exception):
    """Storage did not do as it was asked; `status` is HTTP's, None when it did not answer (in time)."""

    def __init__(self, status: int | None, *, timed_out: bool = False) -> None:
        super().__init__(f"storage answered {status}" if status else "storage did not answer")
        self.status = status
        self.timed_out = timed_out


def check_identity(reference: BatchNodeIdentityReference | None, path: str) -> None:
    """Refuse a reference to an identity that names none; whether the pool has it, shows when a node is to use it."""
    if reference is not None and not reference.resource_id:
        raise MissingRequiredProperty(PropertyName=f"{path}.identityReference.resourceId")


def session() -> ClientSession:
    """Connections to storage, as azure-core itself would make them for each client."""
    return ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)


def without_secrets(url: str) -> str:
    """A URL that people may see: without its query, where a SAS is, and without a user's name and password."""
    scheme, separator, rest = url.partition("?")[0].rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def refusal(error: Exception) -> Refused:
    """What an error of the storage client comes down to, without the URL (and its SAS) in it."""
    status = error.status_code if isinstance(error, HttpResponseError) else None
    late = isinstance(error, ServiceRequestError | ServiceResponseError) and "timeout" in str(error).lower()
    return Refused(status, timed_out=late)


@dataclass(frozen=True)
class Storage:
    """Storage as the tasks of one account, or of one of its nodes, reach it."""

    clock: Clock
    timeout: float
    """Seconds without an answer, or without more of one."""
    auto: AutoStorage | None
    session: ClientSession
    """The connections to storage, which all clients share: a task's few requests are not worth one of their own."""
    identities: frozenset[str] = frozenset()
    """The resource ids, in lower case, of the identities that a node may use."""

    def expired(self, url: str) -> bool:
        """Whether the SAS of a URL has expired by the account's own clock.

        Storage knows expiry by real time; a test that sets the account's clock forward sees it here.
        """
        if not self.clock.offset:
            return False
        try:
            ends = parse_qs(urlsplit(url).query).get("se", ())
        except ValueError:  # no URL: whoever is to use it says so
            return False
        for end in ends:
            try:
                moment = isodate.parse_datetime(end) if "T" in end else datetime.fromisoformat(end)
            except ValueError:
                return False
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) <= self.clock.now()
        return False

    def container(self, url: str, identity: BatchNodeIdentityReference | None = None) -> ContainerClient:
        """The container of a URL that carries its SAS, or that an identity reaches.

        Raises:
            Refused: when the SAS has expired, the identity may not, or there is no such URL.
        """
        if identity is not None:
            return self.blob(url, identity)[0]
        if self.expired(url):
            raise Refused(403)
        try:
            return ContainerClient.from_container_url(url, **self._manner)
        except ValueError:
            raise Refused(None) from None

    def blob(self, url: str, identity: BatchNodeIdentityReference) -> tuple[ContainerClient, str]:
        """The container and the name of what an identity reaches: its rights are those of the auto storage's key.

        Raises:
            Refused: when the node has no such identity, or the URL is not one of the auto storage.
        """
        names = self.auto.names(url) if self.auto else []
        if not names or (identity.resource_id or "").lower() not in self.identities:
            raise Refused(403)
        return self.auto_container(names[0]), "".join(names[1:])

    def auto_container(self, name: str) -> ContainerClient:
        """A container of the account's own storage.

        Raises:
            Refused: when the account has none.
        """
        if self.auto is None:
            raise Refused(403)
        return ContainerClient(self.auto.endpoint, name, credential=self.auto.key, **self._manner)

    @property
    def _manner(self) -> dict[str, Any]:
        transport = AioHttpTransport(
            session=self.session, session_owner=False, connection_timeout=self.timeout, read_timeout=self.timeout
        )
        return {"transport": transport, **_RETRIES}
