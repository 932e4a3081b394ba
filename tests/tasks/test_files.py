"""Inputs that are in Blob Storage already: az://container/prefix."""

from __future__ import annotations

import pytest

from tasks.application import Application
from tasks.clients import Clients
from tasks.counting import Counting
from tasks.errors import BadInput
from tasks.files import Blob, safe_part
from tasks.plan import make_plan


@pytest.fixture
async def container(clients: Clients, request: pytest.FixtureRequest) -> str:
    """A container of this test's own, with some blobs."""
    name = "files-" + clients.settings.batch_account.removeprefix("test")  # pyright: ignore[reportOptionalMemberAccess]
    client = await clients.blobs.create_container(name)
    for blob in ("day/a.txt", "day/b.txt", "day/odd//x", "night/a.txt", "day/"):
        await client.upload_blob(blob, b"" if blob.endswith("/") else blob.encode())
    return name


async def test_a_prefix_names_all_blobs_that_begin_with_it(clients: Clients, container: str) -> None:
    plan = await make_plan(
        [f"az://{container}/day/a", f"az://{container}/day/b"], Counting(3), Application({}, "0"), clients.blobs
    )
    assert [file.name for file in plan.files] == ["a.txt", "b.txt"]
    first = plan.files[0].place
    assert isinstance(first, Blob)
    assert str(first) == f"az://{container}/day/a.txt"
    assert plan.files[0].size_bytes == len("day/a.txt")


async def test_names_stay_below_the_results_folder_whatever_the_blobs_are_called(
    clients: Clients, container: str
) -> None:
    plan = await make_plan([f"az://{container}"], Counting(3), Application({}, "0"), clients.blobs)
    names = [file.name for file in plan.files]
    assert names == ["day/a.txt", "day/b.txt", "day/odd/%2F/x", "night/a.txt"]


async def test_the_key_changes_when_the_blob_does(clients: Clients, container: str) -> None:
    async def key() -> str:
        return (
            (await make_plan([f"az://{container}/day/a"], Counting(3), Application({}, "0"), clients.blobs))
            .files[0]
            .key
        )

    before = await key()
    assert await key() == before
    await clients.blobs.get_blob_client(container, "day/a.txt").upload_blob(b"other", overwrite=True)
    assert await key() != before


@pytest.mark.parametrize(
    ("input", "sentence"),
    [
        ("az://", "az:// names no container"),
        ("az://not-there/x", "az://not-there/x: there is no container not-there in devstoreaccount1"),
        ("az://{container}/week/", "no blob begins with this prefix"),
        (
            "az://Bad_Name/x",
            "az://Bad_Name/x cannot be listed in devstoreaccount1: it answered (400 InvalidResourceName)",
        ),
    ],
)
async def test_a_bad_prefix_is_named_in_one_sentence(
    clients: Clients, container: str, input: str, sentence: str
) -> None:
    with pytest.raises(BadInput) as caught:
        await make_plan([input.format(container=container)], Counting(3), Application({}, "0"), clients.blobs)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("part", "safe"), [("..", "%2E%2E"), (".", "%2E"), ("", "%2F"), ("...", "..."), ("a..b", "a..b")]
)
def test_no_part_of_a_name_leads_out_of_a_folder(part: str, safe: str) -> None:
    assert safe_part(part) == safe
