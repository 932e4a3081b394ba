"""Operations that later api-versions dropped: images by node agents, statistics of all jobs and pools, certificates."""

from __future__ import annotations

from itertools import groupby

from starlette.requests import Request
from starlette.responses import Response

from emulator import account_certificate, images, statistics
from emulator.account_certificate import Certificate
from emulator.retired import CertificateAddOptions, CertificateModel, NodeAgentSku
from emulator.routes.account import rows
from emulator.wire import account_of, body, created, done, element, page


async def list_node_agent_skus(request: Request) -> Response:
    """The node agents, each with its images."""

    def agent(image: dict[str, object]) -> str:
        return str(image["nodeAgentSKUId"])

    models = [
        NodeAgentSku(
            {"id": name, "verifiedImageReferences": [image["imageReference"] for image in same], "osType": kind}
        )
        for name, group in groupby(sorted(images.SUPPORTED, key=agent), agent)
        for same in [list(group)]
        for kind in [same[0]["osType"]]
    ]
    return page(request, rows(models), NodeAgentSku, "nodeagentskus")


async def get_job_statistics(request: Request) -> Response:
    """What the tasks of all jobs of the account used, deleted ones among them."""
    return element(request, statistics.of_jobs(account_of(request)), "jobstats")


async def get_pool_statistics(request: Request) -> Response:
    """What all pools of the account used, deleted ones among them."""
    return element(request, statistics.of_pools(account_of(request)), "poolstats")


def _certificate(request: Request) -> Certificate:
    names = request.path_params
    return account_certificate.find(account_of(request), names["thumbprintAlgorithm"], names["thumbprint"])


async def add_certificate(request: Request) -> Response:
    """Add a certificate to the account."""
    given = await body(request, CertificateAddOptions)
    return created(account_certificate.add(account_of(request), given).model)


async def list_certificates(request: Request) -> Response:
    """A page of the account's certificates."""
    return page(request, account_of(request).certificates, CertificateModel, "certificates")


async def get_certificate(request: Request) -> Response:
    """One certificate."""
    return element(request, _certificate(request).model, "certificates")


async def delete_certificate(request: Request) -> Response:
    """Start deleting a certificate; that fails while a pool refers to it."""
    _certificate(request).delete()
    return done(202)


async def cancel_certificate_deletion(request: Request) -> Response:
    """Keep a certificate whose deletion failed."""
    certificate = _certificate(request)
    certificate.cancel_deletion()
    return done(204, certificate.model)
