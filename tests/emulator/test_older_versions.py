"""Older api-versions, from 2016-07-01 on: their own names, and what later versions dropped."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from cryptography.x509.oid import NameOID

from tests.emulator.conftest import UBUNTU, Account, until

FIRST = "2016-07-01.3.1"
SECOND = "2017-01-01.4.0"
NODE_AGENTS = "2018-03-01.6.1"
TRACK1 = "2024-02-01.19.0"


def ask(account: Account, version: str, method: str, path: str, body: Any = None, **query: str) -> Any:
    """What a client of a version gets, parsed; the query's names begin with $."""
    parameters = {"api-version": version, **{f"${name}": value for name, value in query.items()}}
    response = account.client.send_request(HttpRequest(method, path, params=parameters, json=body))
    response.raise_for_status()
    return response.json() if response.content else None


def refusal(account: Account, method: str, path: str, body: Any = None, version: str = "2024-02-01.19.0") -> Any:
    """The status and the code of the error that a client of a version gets."""
    request = HttpRequest(method, path, params={"api-version": version}, json=body)
    with pytest.raises(HttpResponseError) as refused:
        account.client.send_request(request, retry_total=0)
    assert refused.value.error is not None
    return refused.value.status_code, refused.value.error.code


def new_pool(**more: Any) -> dict[str, Any]:
    """The body of a pool without nodes."""
    return {"id": "pool", "vmSize": "STANDARD_D2S_V3", "virtualMachineConfiguration": UBUNTU, **more}


@pytest.mark.parametrize(
    ("version", "names"),
    [
        (FIRST, {"targetDedicated", "currentDedicated", "maxTasksPerNode"}),
        (SECOND, {"targetDedicated", "currentDedicated", "maxTasksPerNode"}),
        (NODE_AGENTS, {"targetDedicatedNodes", "currentLowPriorityNodes", "maxTasksPerNode"}),
        ("2020-03-01.11.0", {"targetDedicatedNodes", "targetLowPriorityNodes", "maxTasksPerNode"}),
        ("2020-09-01.12.0", {"targetDedicatedNodes", "targetLowPriorityNodes", "taskSlotsPerNode"}),
        (TRACK1, {"targetDedicatedNodes", "targetLowPriorityNodes", "taskSlotsPerNode"}),
    ],
)
def test_a_pool_has_its_versions_names(account: Account, version: str, names: set[str]) -> None:
    target, slots = names & {"targetDedicated", "targetDedicatedNodes"}, names & {"maxTasksPerNode", "taskSlotsPerNode"}
    files = [{"blobSource" if version < "2018-12" else "httpUrl": "https://x.invalid/b", "filePath": "b"}]
    start_task = {"commandLine": "x", "resourceFiles": files}
    given = {**dict.fromkeys(target, "0"), **dict.fromkeys(slots, 2), "startTask": start_task}
    ask(account, version, "POST", "/pools", new_pool(**given))
    everything = {"targetDedicated", "currentDedicated", "targetDedicatedNodes", "currentDedicatedNodes"}
    everything |= {"targetLowPriorityNodes", "currentLowPriorityNodes", "maxTasksPerNode", "taskSlotsPerNode"}
    pool = ask(account, version, "GET", "/pools/pool")
    (listed,) = ask(account, version, "GET", "/pools", filter="id eq 'pool'")["value"]
    for found in (pool, listed):
        assert names <= found.keys()
        dedicated = {"targetDedicated", "currentDedicated"}
        assert not (dedicated if version > "2017-05" else everything - names) & found.keys()
        assert found["startTask"]["resourceFiles"] == files
    assert account.client.get_pool("pool").task_slots_per_node == 2
    (selected,) = ask(account, version, "GET", "/pools", select=f"id,{next(iter(slots))}")["value"]
    assert selected == {"id": "pool", next(iter(slots)): 2}


def test_a_filter_has_the_names_of_the_version_but_not_in_its_texts(account: Account) -> None:
    ask(account, FIRST, "POST", "/pools", new_pool(displayName="maxTasksPerNode", maxTasksPerNode=2))
    text = "maxTasksPerNode eq 2 and displayName eq 'maxTasksPerNode'"
    assert len(ask(account, FIRST, "GET", "/pools", filter=text)["value"]) == 1


@pytest.mark.parametrize(
    ("version", "path", "known", "unknown"),
    [
        (FIRST, "/pools", "maxTasksPerNode", "taskSlotsPerNode"),
        (FIRST, "/pools", "targetDedicated", "targetDedicatedNodes"),
        (FIRST, "/pools", "startTask/runElevated", "startTask/userIdentity"),
        (FIRST, "/pools", "cloudServiceConfiguration/targetOSVersion", "cloudServiceConfiguration/osVersion"),
        (SECOND, "/pools", "startTask/userIdentity/autoUser/scope", "targetLowPriorityNodes"),
        (NODE_AGENTS, "/pools", "certificateReferences", "taskSlotsPerNode"),
        (TRACK1, "/pools", "cloudServiceConfiguration/osVersion", "cloudServiceConfiguration/targetOSVersion"),
        (TRACK1, "/pools", "currentNodeCommunicationMode", "maxTasksPerNode"),
        ("2025-06-01", "/pools", "taskSlotsPerNode", "cloudServiceConfiguration"),
        (FIRST, "/jobs/job/tasks", "runElevated", "userIdentity"),
        (FIRST, "/jobs/job/tasks", "exitConditions/schedulingError", "exitConditions/preProcessingError"),
        (FIRST, "/jobs/job/tasks", "executionInfo/schedulingError/code", "executionInfo/failureInfo/code"),
        (SECOND, "/jobs/job/tasks", "executionInfo/exitCode", "executionInfo/result"),
        (NODE_AGENTS, "/jobs/job/tasks", "executionInfo/result", "requiredSlots"),
        (TRACK1, "/jobs/job/tasks", "authenticationTokenSettings", "runElevated"),
        (FIRST, "/jobs", "executionInfo/schedulingError/code", "executionInfo/preProcessingError"),
        (FIRST, "/certificates", "deleteCertificateError/code", "deleteCertificateError/nonsense"),
    ],
)
def test_a_version_knows_its_own_names_only(
    account: Account, version: str, path: str, known: str, unknown: str
) -> None:
    account.job()
    assert "value" in ask(account, version, "GET", path, filter=f"{known} eq null", select=known.split("/")[0])
    for query in ({"filter": f"{unknown} eq null"}, {"select": unknown}):
        with pytest.raises(HttpResponseError, match=r"\(InvalidQueryParameterValue\)"):
            ask(account, version, "GET", path, **query)


def test_a_pool_of_cloud_services_is_found_by_them(account: Account) -> None:
    body = {"id": "pool", "vmSize": "small", "cloudServiceConfiguration": {"osFamily": "4"}, "targetDedicated": 0}
    ask(account, FIRST, "POST", "/pools", body)
    ask(account, FIRST, "POST", "/pools", {**new_pool(), "id": "other"})
    text = "cloudServiceConfiguration/targetOSVersion eq '*'"
    (found,) = ask(account, FIRST, "GET", "/pools", filter=text, select="id,cloudServiceConfiguration")["value"]
    assert found == {"id": "pool", "cloudServiceConfiguration": {"osFamily": "4", "targetOSVersion": "*"}}


@pytest.mark.parametrize(("elevated", "level"), [(True, "admin"), ("true", "admin"), (False, "nonadmin")])
def test_run_elevated_was_the_user_of_a_task(account: Account, elevated: Any, level: str) -> None:
    account.job()
    body = {"id": "task", "commandLine": "/bin/true", "runElevated": elevated}
    ask(account, FIRST, "POST", "/jobs/job/tasks", body)
    assert ask(account, FIRST, "GET", "/jobs/job/tasks/task")["runElevated"] is (level == "admin")
    assert "userIdentity" not in ask(account, FIRST, "GET", "/jobs/job/tasks/task")
    for text, number in (("runElevated eq true", level == "admin"), ("not runElevated", level == "nonadmin")):
        assert len(ask(account, FIRST, "GET", "/jobs/job/tasks", filter=text)["value"]) == number
    assert account.client.get_task("job", "task").user_identity.auto_user.elevation_level == level
    assert "runElevated" not in ask(account, SECOND, "GET", "/jobs/job/tasks/task")
    assert ask(account, FIRST, "GET", "/jobs/job/tasks", select="id,runElevated")["value"][0].keys() == {
        "id",
        "runElevated",
    }


@pytest.mark.parametrize("version", [FIRST, SECOND])
def test_scheduling_error_was_a_tasks_failure_but_no_bad_exit_code_was_one(account: Account, version: str) -> None:
    account.pool()
    account.job()
    account.task("bad", "/bin/false")
    account.task("absent", "/no/such/program")
    assert account.completed("bad").execution_info.failure_info.code == "FailureExitCode"
    account.completed("absent")
    bad = ask(account, version, "GET", "/jobs/job/tasks/bad")["executionInfo"]
    assert bad["exitCode"] == 1
    absent = ask(account, version, "GET", "/jobs/job/tasks/absent")["executionInfo"]
    assert absent["schedulingError"]["code"] == "CommandProgramNotFound"
    for execution in (bad, absent):
        assert not {"failureInfo", "result"} & execution.keys()
    assert "schedulingError" not in bad
    text = "executionInfo/schedulingError/code eq 'commandprogramnotfound'"
    assert [task["id"] for task in ask(account, version, "GET", "/jobs/job/tasks", filter=text)["value"]] == ["absent"]
    text = "executionInfo/schedulingError eq null"
    assert [task["id"] for task in ask(account, version, "GET", "/jobs/job/tasks", filter=text)["value"]] == ["bad"]
    newer = ask(account, NODE_AGENTS, "GET", "/jobs/job/tasks/absent")["executionInfo"]
    assert newer["result"] == "failure"
    assert newer["failureInfo"] == absent["schedulingError"]


def test_exit_conditions_had_a_scheduling_error(account: Account) -> None:
    account.job(onTaskFailure="performexitoptionsjobaction")
    conditions = {"schedulingError": {"jobAction": "terminate"}}
    body = {"id": "task", "commandLine": "/bin/true", "exitConditions": conditions}
    ask(account, SECOND, "POST", "/jobs/job/tasks", body)
    assert ask(account, SECOND, "GET", "/jobs/job/tasks/task")["exitConditions"] == conditions
    found = account.client.get_task("job", "task").exit_conditions
    assert found.pre_processing_error.job_action == "terminate"


def test_a_pool_had_one_resize_error(account: Account) -> None:
    account.control("POST", "/settings", {"quotas": {"dedicated_cores": 2}})
    account.pool(nodes=2, wait=False)

    def failed() -> Any:
        return ask(account, FIRST, "GET", "/pools/pool").get("resizeError")

    assert until(failed, "the resize fails")["code"] == "AccountCoreQuotaReached"
    found = ask(account, FIRST, "GET", "/pools", filter="resizeError/code eq 'accountcorequotareached'")["value"]
    assert [pool["id"] for pool in found] == ["pool"]
    (error,) = account.client.get_pool("pool").resize_errors
    assert error.code == "AccountCoreQuotaReached"


def test_task_counts_were_flat(account: Account) -> None:
    account.job()
    account.task("task", "/bin/true")
    counts = {"active": 1, "running": 0, "completed": 0, "succeeded": 0, "failed": 0}
    path = "/jobs/job/taskcounts"
    assert ask(account, NODE_AGENTS, "GET", path) == {**counts, "validationStatus": "validated"}
    assert ask(account, "2020-03-01.11.0", "GET", path) == counts
    assert ask(account, "2020-09-01.12.0", "GET", path) == {"taskCounts": counts, "taskSlotCounts": counts}


def test_node_agents_listed_their_images(account: Account) -> None:
    found = ask(account, NODE_AGENTS, "GET", "/nodeagentskus", filter="osType eq 'linux'")["value"]
    (ubuntu,) = [agent for agent in found if agent["id"] == UBUNTU["nodeAgentSKUId"]]
    assert ubuntu["verifiedImageReferences"][0]["offer"] == "ubuntu-24_04-lts"
    (debian,) = [agent for agent in found if agent["id"] == "batch.node.debian 12"]
    assert [image["sku"] for image in debian["verifiedImageReferences"]] == ["12", "12-gen2"]
    assert refusal(account, "GET", "/nodeagentskus") == (400, "InvalidUri")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (new_pool(applicationLicenses=["maya"]), "/pools"),
        (new_pool(targetNodeCommunicationMode="simplified"), "/pools"),
        (new_pool(resourceTags={"a": "b"}), "/pools"),
        (
            {"id": "task", "commandLine": "x", "authenticationTokenSettings": {"access": ["job"]}},
            "/jobs/job/tasks",
        ),
    ],
    ids=lambda value: list(value)[-1] if isinstance(value, dict) else "",
)
def test_what_only_older_versions_have_is_refused_by_name(account: Account, body: dict[str, Any], path: str) -> None:
    account.job()
    with pytest.raises(HttpResponseError, match=list(body)[-1]) as refused:
        account.client.send_request(HttpRequest("POST", path, params={"api-version": TRACK1}, json=body), retry_total=0)
    assert refused.value.status_code == 501


def test_properties_are_replaced_with_the_empty_lists_that_older_clients_must_send(account: Account) -> None:
    ask(account, TRACK1, "POST", "/pools", new_pool())
    metadata = [{"name": "a", "value": "b"}]
    body = {"certificateReferences": [], "applicationPackageReferences": [], "metadata": metadata}
    ask(account, TRACK1, "POST", "/pools/pool/updateproperties", body)
    assert ask(account, TRACK1, "GET", "/pools/pool")["metadata"] == metadata


# Certificates


def made(*, password: str | None = None) -> dict[str, str]:
    """A new certificate as it is added: a PFX file if there is a password, else a CER file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex()  # its name, as Batch has it
    data = certificate.public_bytes(Encoding.DER)
    more = {"certificateFormat": "cer"}
    if password is not None:
        data = pkcs12.serialize_key_and_certificates(
            b"test", key, certificate, None, BestAvailableEncryption(password.encode())
        )
        more = {"certificateFormat": "pfx", "password": password}
    return {"thumbprint": thumbprint, "thumbprintAlgorithm": "sha1", "data": base64.b64encode(data).decode(), **more}


def of(certificate: dict[str, str]) -> str:
    """Where a certificate is."""
    return f"/certificates(thumbprintAlgorithm=sha1,thumbprint={certificate['thumbprint']})"


@pytest.mark.parametrize("password", ["k7 secret", None], ids=["pfx", "cer"])
def test_a_certificate_is_kept_without_its_secrets(account: Account, password: str | None) -> None:
    certificate = made(password=password)
    ask(account, TRACK1, "POST", "/certificates", certificate)
    found = ask(account, TRACK1, "GET", of(certificate))
    assert (found["thumbprint"], found["state"]) == (certificate["thumbprint"], "active")
    assert not {"data", "password"} & found.keys()
    public = x509.load_der_x509_certificate(base64.b64decode(found["publicData"]))
    assert public.fingerprint(hashes.SHA1()).hex() == certificate["thumbprint"]
    (listed,) = ask(account, FIRST, "GET", "/certificates", filter="state eq 'active'")["value"]
    assert listed["thumbprint"] == certificate["thumbprint"]
    assert refusal(account, "POST", "/certificates", certificate) == (409, "CertificateExists")
    state = refusal(account, "POST", f"{of(certificate)}/canceldelete")
    assert state == (409, "CertificateStateActive")
    ask(account, TRACK1, "DELETE", of(certificate))
    until(lambda: not ask(account, TRACK1, "GET", "/certificates")["value"], "the certificate is deleted")
    assert refusal(account, "GET", of(certificate)) == (404, "CertificateNotFound")


def test_a_certificate_that_a_pool_names_is_not_deleted(account: Account) -> None:
    certificate = made()
    reference = {"thumbprint": certificate["thumbprint"].upper(), "thumbprintAlgorithm": "SHA1"}
    body = new_pool(certificateReferences=[reference])
    assert refusal(account, "POST", "/pools", body) == (404, "CertificateNotFound")
    ask(account, TRACK1, "POST", "/certificates", certificate)
    ask(account, TRACK1, "POST", "/pools", body)
    assert ask(account, TRACK1, "GET", "/pools/pool")["certificateReferences"] == [reference]
    ask(account, TRACK1, "DELETE", of(certificate))

    def failed() -> Any:
        found = ask(account, TRACK1, "GET", of(certificate))
        return found if found["state"] == "deletefailed" else None

    error = until(failed, "the deletion fails")["deleteCertificateError"]
    assert error["values"] == [{"name": "PoolId", "value": "pool"}]
    ask(account, TRACK1, "POST", f"{of(certificate)}/canceldelete")
    kept = ask(account, TRACK1, "GET", of(certificate))
    assert (kept["state"], kept["previousState"]) == ("active", "deletefailed")
    assert "deleteCertificateError" not in kept


def test_a_certificate_is_what_its_thumbprint_says(account: Account) -> None:
    certificate = made(password="right")
    for wrong in ({"password": "wrong"}, {"thumbprint": "0" * 40}, {"data": "?"}, {"thumbprintAlgorithm": "md5"}):
        found = refusal(account, "POST", "/certificates", {**certificate, **wrong})
        assert found == (400, "InvalidPropertyValue"), wrong


def test_newer_versions_have_no_certificates(account: Account) -> None:
    assert refusal(account, "GET", "/certificates", version="2024-07-01.20.0") == (400, "InvalidUri")


def test_a_cloud_services_pool_has_windows_nodes(account: Account) -> None:
    body = {"id": "pool", "vmSize": "small", "cloudServiceConfiguration": {"osFamily": "4"}, "targetDedicated": 1}
    ask(account, FIRST, "POST", "/pools", body)
    old = ask(account, FIRST, "GET", "/pools/pool")
    assert old["cloudServiceConfiguration"] == {"osFamily": "4", "targetOSVersion": "*"}
    assert ask(account, TRACK1, "GET", "/pools/pool")["cloudServiceConfiguration"]["osVersion"] == "*"
    account.nodes_become("idle", number=1)
    account.job()
    account.task("task", "cmd /c echo %AZ_BATCH_POOL_ID%& exit /b 3")
    assert account.completed("task").execution_info.exit_code == 3
    assert account.text("task") == "pool\r\n"
    (node,) = account.client.list_nodes("pool")
    assert list(account.client.list_node_extensions("pool", node.id)) == []


@pytest.mark.parametrize("wrong", [{"vmSize": "tiny"}, {"cloudServiceConfiguration": {"osFamily": "9"}}, UBUNTU])
def test_a_cloud_services_pool_that_makes_no_sense_is_refused(account: Account, wrong: dict[str, Any]) -> None:
    more = {"virtualMachineConfiguration": UBUNTU} if wrong is UBUNTU else wrong
    body = {"id": "pool", "vmSize": "small", "cloudServiceConfiguration": {"osFamily": "4"}, **more}
    assert refusal(account, "POST", "/pools", body) == (400, "InvalidPropertyValue")
