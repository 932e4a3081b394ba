"""The parameter pool_identity, and what is asked before a run makes anything."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from azure.core.rest import HttpRequest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import is_valid_schema, validate

from flows.command_line import parse
from flows.parameters import Parameters, estimate_of
from flows.preflight import check_local, preflight
from flows.topn import topn
from tasks.clients import Clients
from tasks.errors import BadInput
from tests.conftest import create_pool

SAMPLE = "data/taskdata1.txt"
OURS = (
    "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/my.group(1)"
    "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
)
OTHER = OURS.replace("nodes", "other")


def test_the_command_line_takes_it() -> None:
    parameters = parse([SAMPLE, "--pool-id", "mine", "--pool-identity", OURS])
    assert (parameters.pool_id, parameters.pool_identity) == ("mine", OURS)
    lower = OURS.replace("resourceGroups", "resourcegroups").replace("Microsoft.Managed", "microsoft.managed")
    assert parse([SAMPLE, "--pool-id", "mine", "--pool-identity", lower]).pool_identity == lower


def test_without_a_named_pool_it_is_refused() -> None:
    with pytest.raises(BadInput, match=r"^pool_identity needs pool_id: .* only Azure's management plane .*one\.$"):
        parse([SAMPLE, "--pool-identity", OURS])


@pytest.mark.parametrize(
    "identity",
    [
        "nodes",
        "",
        OURS + "/more",
        OURS + "\n",
        OURS.replace("resourceGroups/my.group(1)/", ""),
        OURS.replace("Microsoft.ManagedIdentity", "Microsoft.Batch"),
        OURS.replace("11111111-", "some-"),
    ],
)
def test_what_is_no_identity_is_refused_in_words(identity: str) -> None:
    with pytest.raises(BadInput, match="it should be the resource id of a user-assigned managed identity"):
        parse([SAMPLE, "--pool-id", "mine", "--pool-identity", identity])


def test_a_deployment_refuses_it_before_a_run() -> None:
    schema = parameter_schema(topn).model_dump_for_openapi()
    assert is_valid_schema(schema) is None

    def errors(identity: str | None) -> list[str]:
        given = {"parameters": {"pool_id": "mine", "pool_identity": identity}}
        return [error.message for error in validate(given, schema)]

    assert errors(OURS) == errors(None) == []
    assert errors("nodes")


def test_a_run_without_sas_may_last_as_long_as_it_likes() -> None:
    week = 7 * 24 * 60
    check_local(Parameters(inputs=[SAMPLE], pool_id="mine", pool_identity=OURS, timeout_minutes=week))
    with pytest.raises(BadInput, match="Nodes would need a SAS for"):
        check_local(Parameters(inputs=[SAMPLE], pool_id="mine", timeout_minutes=week))


async def assign(clients: Clients, *identities: str) -> None:
    """Give the pool `mine` these identities, as the management plane does."""
    request = HttpRequest("POST", "/_emulator/pools/mine/identity", json={"userAssignedIdentities": list(identities)})
    (await clients.batch.send_request(request)).raise_for_status()


async def test_the_named_pool_must_have_the_identity(clients: Clients) -> None:
    await create_pool(clients, "mine", target_dedicated_nodes=0)
    parameters = Parameters(inputs=[SAMPLE], pool_id="mine", pool_identity=OURS)
    lacks = re.escape(f"The pool mine does not have the identity {OURS}; it has ")
    with pytest.raises(BadInput, match=f"^{lacks}none.$"):
        await preflight(clients, parameters)
    await assign(clients, OTHER, OTHER + "2")
    with pytest.raises(BadInput, match=f"^{lacks}{re.escape(OTHER)}, {re.escape(OTHER)}2.$"):
        await preflight(clients, parameters)

    await assign(clients, OTHER, OURS.upper())
    with pytest.raises(BadInput, match=r"Nodes send a token of the identity nodes .* is not https"):
        await preflight(clients, parameters)
    settings = replace(clients.settings, blob_endpoint="https://store.blob.core.windows.net")
    secure = Clients(settings, clients.batch, clients.blobs, None)
    plan = await preflight(secure, parameters)
    planned = dict(estimate_of(plan, parameters).lines())
    assert planned["nodes' access"] == f"as the identity {OURS}, with no SAS"
