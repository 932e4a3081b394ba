"""Who signs a request: Batch's shared key over the request as it came, or a bearer token over TLS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, MutableMapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs

from emulator.errors import AuthenticationFailed
from emulator.settings import Settings

_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
ACCOUNT_NAME = re.compile(r"[a-z0-9]{3,24}")
_SKEW = timedelta(minutes=15)  # a signature older or newer than this is a replay or a wrong clock


def account_name(settings: Settings, scope: MutableMapping[str, Any]) -> str:
    """The name of the account whose key signed the request of this ASGI scope.

    Raises:
        AuthenticationFailed: when nothing proves that the sender has a key or, over TLS, a token.
    """
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credential.strip():
        if scope["scheme"] != "https":
            raise AuthenticationFailed(AuthenticationErrorDetail="A bearer token is accepted over TLS only.")
        return settings.account
    if scheme != "SharedKey":
        raise AuthenticationFailed(AuthenticationErrorDetail="There is no SharedKey Authorization header.")
    name, _, signature = credential.strip().partition(":")
    if not ACCOUNT_NAME.fullmatch(name):
        raise AuthenticationFailed(AuthenticationErrorDetail="An account name is 3 to 24 of a-z and 0-9.")
    _check_date(headers)
    try:
        sent = base64.b64decode(signature, validate=True)
    except ValueError:  # binascii.Error, or a character that is not ASCII
        sent = b""
    key = base64.b64decode(settings.key)
    path = scope["raw_path"].split(b"?")[0].decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    for text in _strings_to_sign(scope["method"], headers, name, path, query):
        if hmac.compare_digest(hmac.digest(key, text.encode("utf-8"), hashlib.sha256), sent):
            return name
    raise AuthenticationFailed(
        AuthenticationErrorDetail=f"The signature of account {name!r} is not that of the request as it came."
    )


def _check_date(headers: dict[str, str]) -> None:
    sent = headers.get("ocp-date") or headers.get("date")
    try:
        moment = parsedate_to_datetime(sent or "")
    except (ValueError, OverflowError):
        raise AuthenticationFailed(
            AuthenticationErrorDetail="The ocp-date header must hold an RFC 1123 date."
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if abs(datetime.now(UTC) - moment) > _SKEW:
        raise AuthenticationFailed(AuthenticationErrorDetail=f"The request's date {sent} is stale.")


def _strings_to_sign(method: str, headers: dict[str, str], name: str, path: str, query: str) -> Iterable[str]:
    """What clients sign: some write query names as sent, some lower-cased."""
    text = "\n".join([method, *(headers.get(header, "") for header in _SIGNED_HEADERS)]) + "\n"
    text += "".join(f"{header}:{value}\n" for header, value in sorted(headers.items()) if header.startswith("ocp-"))
    text += f"/{name}{path}"
    values = {key: found[0] for key, found in parse_qs(query).items() if found[0]}
    yield text + "".join(f"\n{key}:{values[key]}" for key in sorted(values))
    lowered = {key.lower(): value for key, value in values.items()}
    yield text + "".join(f"\n{key}:{lowered[key]}" for key in sorted(lowered))
