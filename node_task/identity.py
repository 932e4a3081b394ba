"""Tokens for an identity of the pool, where a node reaches blobs without any SAS.

They come from the node's own Instance Metadata Service, which knows the pool's identities: Microsoft's "How to use
managed identities on an Azure VM to acquire an access token" has the request and which answers are worth another try.
It is asked directly, whatever proxy the environment names. No text of an error holds a token.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from failures import IDENTITY, Failure, why

VARIABLE = "TOPN_IDENTITY"  # the resource id of the identity; without it there are SAS
ADDRESS = "AZURE_POD_IDENTITY_AUTHORITY_HOST"  # where the service is, if not where Azure has it; azure-identity's name
ON_A_NODE = "http://169.254.169.254"
RESOURCE = "https://storage.azure.com/"
TIMEOUT_SECONDS = 10
PAUSES_SECONDS = (1, 2, 4, 8, 16, 32, 32)  # between attempts: while it is updated (410), for up to 70 s, it gives none
RENEWED_BEFORE_SECONDS = 300  # it expires
LONGEST_ANSWER = 64 * 1024


class Identity:
    """One identity, and its token for Blob Storage as long as that is good; for any number of threads."""

    def __init__(self, resource_id: str) -> None:
        self.name = resource_id.rpartition("/")[2]
        address = os.environ.get(ADDRESS, ON_A_NODE).rstrip("/")
        query = {"api-version": "2018-02-01", "resource": RESOURCE, "msi_res_id": resource_id}
        url = f"{address}/metadata/identity/oauth2/token?{urllib.parse.urlencode(query)}"
        self._request = urllib.request.Request(url, headers={"Metadata": "true"})
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._lock = threading.Lock()
        self._token, self._good_until = "", 0.0  # by the monotonic clock

    def token(self) -> str:
        """A token that is good for some minutes at least, if the service gives such. Raises Failure."""
        with self._lock:
            if not self._token or time.monotonic() >= self._good_until - RENEWED_BEFORE_SECONDS:
                self._token, lifetime = self._fetch()
                self._good_until = time.monotonic() + lifetime
            return self._token

    def forget(self) -> None:
        """The token was refused: the next one is asked for."""
        with self._lock:
            self._token = ""

    def _fetch(self) -> tuple[str, float]:
        """A token and for how many seconds it is good. Raises Failure."""
        cannot = f"cannot get a token for the identity {self.name}"
        cause = ""
        for pause in (*PAUSES_SECONDS, None):
            try:
                with self._opener.open(self._request, timeout=TIMEOUT_SECONDS) as answer:
                    return _read(answer.read(LONGEST_ANSWER))
            except urllib.error.HTTPError as error:
                cause = _refusal(error)
                if error.code not in (404, 410, 429) and error.code < 500:
                    raise Failure(IDENTITY, f"{cannot}: {cause}") from None
            except urllib.error.URLError as error:
                cause = why(error.reason) if isinstance(error.reason, OSError) else str(error.reason)
            except OSError as error:
                cause = why(error)
            except (http.client.HTTPException, ValueError, KeyError, TypeError):
                cause = "the answer has no token"
            if pause is not None:
                time.sleep(_spread(pause))
        raise Failure(IDENTITY, f"{cannot}: {cause}, after {len(PAUSES_SECONDS) + 1} attempts")


@functools.cache
def of(resource_id: str) -> Identity:
    """The one object for an identity in this process."""
    return Identity(resource_id)


def _read(answer: bytes) -> tuple[str, float]:
    """Raises ValueError, KeyError or TypeError when it is no token."""
    given = json.loads(answer)
    token = given["access_token"]
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
        raise ValueError("a token is a line of ASCII")
    return token, float(given["expires_in"]) if "expires_in" in given else float(given["expires_on"]) - time.time()


def _refusal(error: urllib.error.HTTPError) -> str:
    """What the service says, such as that there is no such identity here."""
    reason = error.reason
    try:
        with error:
            reason = json.loads(error.read(LONGEST_ANSWER))["error_description"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        pass  # the reason of its status line must do
    return f"HTTP {error.code} {reason}"


def _spread(seconds: float) -> float:
    """A little longer, by chance: the tasks of a node that began together are not to ask together each time."""
    return seconds * random.uniform(1, 1.5)
