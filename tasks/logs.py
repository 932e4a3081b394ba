"""Where this project's own messages go; and what no message of any logger shows: keys, tokens, signatures."""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

from prefect import get_run_logger
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger

HIDDEN = "REDACTED"

# The signature of a SAS; account keys in connection strings; headers that prove who asks; Entra ID's tokens.
_SECRETS = re.compile(
    r"(?P<sig>\bsig=)[^&\s\"'<>\\]+"
    r"|(?P<key>\bAccountKey=)[^;\s\"']+"
    r"|(?P<shared>\bSharedKey(?:Lite)? [^:\s]+:)[A-Za-z0-9+/=]+"
    r"|(?P<bearer>\bBearer )[A-Za-z0-9._~+/=-]{20,}"
    r"|(?P<token>\beyJ)[\w-]+\.[\w-]+\.[\w-]*"
)
_known: set[str] = set()


def run_logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """The logger of the run in whose context this is called; outside of any (hooks, sweep), the project's own."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("topn")


def redacted(text: str) -> str:
    """The text without what proves who one is."""
    for secret in _known:
        text = text.replace(secret, HIDDEN)
    return _SECRETS.sub(lambda found: f"{found[found.lastgroup or 0]}{HIDDEN}", text)


def redact_logs(*secrets: str | None) -> None:
    """From now on no log record of this process, whoever writes it, shows these secrets, or any signature or token.

    Records are cleaned as they are made, not by a filter of some logger or handler: those that other libraries add
    later see nothing else either.
    """
    _known.update(secret for secret in secrets if secret)
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def make_redacted(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        try:
            message = record.getMessage()
        except Exception:  # the logger's own mistake, which logging reports when it formats the record
            return record
        clean = redacted(message)
        if clean != message:
            record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[0] is not None:
            text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            clean = redacted(text)
            if clean != text:
                record.exc_text = clean  # which formatters show instead of formatting the exception
        return record

    make_redacted.redacts = True  # pyright: ignore[reportFunctionMemberAccess]
    logging.setLogRecordFactory(make_redacted)
