"""Settings from the environment."""

from __future__ import annotations

import pytest

from tasks.errors import BadInput
from tasks.settings import Settings

WHOLE = {
    "AZURE_BATCH_ENDPOINT": "mine.westeurope.batch.azure.com",
    "AZURE_BATCH_ACCOUNT": "mine",
    "AZURE_BATCH_ACCESS_KEY": "c2VjcmV0",
    "AZURE_STORAGE_ACCOUNT": "store",
    "AZURE_STORAGE_KEY": "c2VjcmV0",
}


def test_endpoints_get_what_people_leave_out() -> None:
    settings = Settings.from_environment(WHOLE)
    assert settings.batch_endpoint == "https://mine.westeurope.batch.azure.com"
    assert settings.blob_endpoint == "https://store.blob.core.windows.net"


def test_without_keys_it_is_entra_id() -> None:
    environment = {name: value for name, value in WHOLE.items() if "KEY" not in name}
    settings = Settings.from_environment(environment)
    assert (settings.batch_key, settings.storage_key) == (None, None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"AZURE_BATCH_ENDPOINT": ""}, "AZURE_BATCH_ENDPOINT"),
        ({"AZURE_STORAGE_ACCOUNT": ""}, "AZURE_STORAGE_ACCOUNT"),
        ({"AZURE_BATCH_ACCOUNT": ""}, "AZURE_BATCH_ACCOUNT"),
        ({"AZURE_BATCH_ACCESS_KEY": "no key"}, "AZURE_BATCH_ACCESS_KEY"),
        ({"AZURE_STORAGE_KEY": "no key"}, "AZURE_STORAGE_KEY"),
        ({"AZURE_BATCH_ENDPOINT": "http://127.0.0.1:1", "AZURE_BATCH_ACCESS_KEY": ""}, "AZURE_BATCH_ACCESS_KEY"),
        ({"AZURE_STORAGE_BLOB_ENDPOINT": "http://127.0.0.1:1/s", "AZURE_STORAGE_KEY": ""}, "AZURE_STORAGE_KEY"),
    ],
)
def test_half_set_credentials_name_the_variable(change: dict[str, str], named: str) -> None:
    with pytest.raises(BadInput, match=named) as caught:
        Settings.from_environment({**WHOLE, **change})
    assert "no key" not in str(caught.value)


def test_keys_are_not_shown() -> None:
    assert "c2VjcmV0" not in repr(Settings.from_environment(WHOLE))
