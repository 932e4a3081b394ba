"""No log record shows what proves who one is."""

from __future__ import annotations

import logging
import secrets

import pytest

from tasks.logs import redact_logs, redacted

KEY = secrets.token_urlsafe(32)
# Taken apart, so that no scanner takes this file for a leak.
TOKEN = ".".join(["ey" + "J0eXAiOiJKV1Qi", "ey" + "JhdWQiOiJodHRwczovL2JhdGNoIn0", "c2lnbmF0dXJlX29m"])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://x/c/b?sp=r&sig=aB%2Fc%3D&sr=b", "https://x/c/b?sp=r&sig=REDACTED&sr=b"),
        ("sig=abc", "sig=REDACTED"),
        ("design=abc", "design=abc"),
        ("AccountName=a;AccountKey=abc==;End", "AccountName=a;AccountKey=REDACTED;End"),
        ("'Authorization': 'SharedKey acct:AbC+/='", "'Authorization': 'SharedKey acct:REDACTED'"),
        (f"Bearer {TOKEN}", "Bearer REDACTED"),
        (f"token {TOKEN} given", "token eyJREDACTED given"),
        ("the bearer of news", "the bearer of news"),
    ],
)
def test_signatures_keys_and_tokens_are_known_by_their_looks(text: str, clean: str) -> None:
    assert redacted(text) == clean


def test_a_record_of_any_logger_is_clean_its_exception_too(caplog: pytest.LogCaptureFixture) -> None:
    redact_logs(KEY, None)
    redact_logs(KEY)
    log = logging.getLogger("anybody")
    log.warning("%s and %d", {"url": f"https://x?sig={TOKEN}&se=1"}, 5)
    log.warning("the key is %s", KEY)
    try:
        raise ValueError(f"https://x?sig={TOKEN}")
    except ValueError:
        log.exception("failed with %s", KEY)
    assert TOKEN not in caplog.text
    assert KEY not in caplog.text
    assert "{'url': 'https://x?sig=REDACTED&se=1'} and 5" in caplog.text
    assert "ValueError: https://x?sig=REDACTED" in caplog.text
