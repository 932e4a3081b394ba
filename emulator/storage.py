"""Containers of Azure Storage as tasks reach them: by a URL with a SAS, or as the account's auto storage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import isodate
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError
from azure.storage.blob.aio import ContainerClient

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


class Refused(Exception):
    """Storage did not do as it was asked; `status` is HTTP's, None when it did not answer (in time)."""

    def __init__(self, status: int | None, *, timed_out: bool = False) -> None:
        super().__init__(f"storage answered {status}" if status else "storage did not answer")
        self.status = status
        self.timed_out = timed_out


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
    """Storage as the tasks of one account reach it."""

    clock: Clock
    timeout: float
    """Seconds without an answer, or without more of one."""
    auto: AutoStorage | None

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

    def container(self, url: str) -> ContainerClient:
        """The container of a URL that carries its SAS.

        Raises:
            Refused: when the SAS has expired, or there is no such URL.
        """
        if self.expired(url):
            raise Refused(403)
        try:
            return ContainerClient.from_container_url(url, **self._patience)
        except ValueError:
            raise Refused(None) from None

    def auto_container(self, name: str) -> ContainerClient:
        """A container of the account's own storage.

        Raises:
            Refused: when the account has none.
        """
        if self.auto is None:
            raise Refused(403)
        return ContainerClient(self.auto.endpoint, name, credential=self.auto.key, **self._patience)

    @property
    def _patience(self) -> dict[str, Any]:
        return {"connection_timeout": self.timeout, "read_timeout": self.timeout, **_RETRIES}
