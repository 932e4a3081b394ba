"""A certificate of the account, as older api-versions have them: kept, listed and deleted, but on no node."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs12

from emulator.errors import (
    CertificateBeingDeleted,
    CertificateExists,
    CertificateNotFound,
    CertificateStateActive,
    invalid,
)
from emulator.lifecycle import transition
from emulator.retired import CertificateAddOptions, CertificateModel, CertificateReference, CertificateState

if TYPE_CHECKING:
    from emulator.account import Account


def key(algorithm: str, thumbprint: str) -> str:
    """What the account finds a certificate by."""
    return f"{algorithm.lower()}-{thumbprint.lower()}"


class Certificate:
    """One certificate."""

    def __init__(self, account: Account, model: CertificateModel, serial: int) -> None:
        self.account = account
        self.model = model
        self.serial = serial

    @property
    def id(self) -> str:
        """What the account finds it by."""
        return key(self.model["thumbprintAlgorithm"], self.model["thumbprint"])

    def _enter(self, state: CertificateState) -> None:
        transition(self.model, state, self.account.clock.stamp())

    def delete(self) -> None:
        """Start deleting it.

        Raises:
            CertificateBeingDeleted: when that is under way.
        """
        if self.model["state"] == "deleting":
            raise CertificateBeingDeleted
        self.model.pop("deleteCertificateError", None)
        self._enter(CertificateState.DELETING)
        self.account.spawn(self._delete())

    async def _delete(self) -> None:
        await self.account.clock.delay(self.account.delays.delete)
        users = [pool.id for pool in self.account.pools if self.id in _named(pool.model)]
        if not users:
            self.account.certificates.remove(self.id)
            return
        self._enter(CertificateState.DELETE_FAILED)
        self.model["deleteCertificateError"] = {
            "code": "CertificateInUse",
            "message": "The specified certificate is in use by pools.",
            "values": [{"name": "PoolId", "value": pool_id} for pool_id in users],
        }

    def cancel_deletion(self) -> None:
        """Let it be again, after its deletion failed.

        Raises:
            CertificateStateActive, CertificateBeingDeleted: when it did not fail.
        """
        if self.model["state"] == "active":
            raise CertificateStateActive
        if self.model["state"] == "deleting":
            raise CertificateBeingDeleted
        self.model.pop("deleteCertificateError", None)
        self._enter(CertificateState.ACTIVE)


def _named(pool: object) -> set[str]:
    """The certificates that a pool's model refers to."""
    references: list[CertificateReference] = pool.get("certificateReferences") or []  # pyright: ignore[reportAttributeAccessIssue]
    return {key(each["thumbprintAlgorithm"], each["thumbprint"]) for each in references}


def check_references(account: Account, references: list[CertificateReference] | None) -> None:
    """Refuse references to what is not there.

    Raises:
        CertificateNotFound: for the first one.
    """
    for reference in references or ():
        find(account, reference["thumbprintAlgorithm"], reference["thumbprint"])


def find(account: Account, algorithm: str, thumbprint: str) -> Certificate:
    """The certificate of a thumbprint.

    Raises:
        CertificateNotFound: when there is none.
    """
    found = account.certificates.get(key(algorithm, thumbprint))
    if found is None:
        raise CertificateNotFound
    return found


def add(account: Account, given: CertificateAddOptions) -> Certificate:
    """Keep a certificate's public part; the password and the private key are forgotten.

    Raises:
        InvalidPropertyValue: when it cannot be read, or has another thumbprint.
        CertificateExists: when it is there already.
    """
    if given["thumbprintAlgorithm"].lower() != "sha1":
        raise invalid("thumbprintAlgorithm", given["thumbprintAlgorithm"], "must be sha1")
    certificate = _read(given)
    # Batch names certificates by this hash; nothing is trusted because of it.
    thumbprint = certificate.fingerprint(hashes.SHA1()).hex()
    if given["thumbprint"].lower() != thumbprint:
        raise invalid("thumbprint", given["thumbprint"], "is not that of the certificate")
    if account.certificates.get(key("sha1", thumbprint)) is not None:
        raise CertificateExists
    address = f"/certificates(thumbprintAlgorithm=sha1,thumbprint={thumbprint})"
    model = CertificateModel(
        {
            "thumbprint": thumbprint,
            "thumbprintAlgorithm": "sha1",
            "url": account.settings.endpoint + address,
            "publicData": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
        }
    )
    transition(model, CertificateState.ACTIVE, account.clock.stamp())
    added = Certificate(account, model, account.next_serial())
    account.certificates.add(added.id, added)
    return added


def _read(given: CertificateAddOptions) -> x509.Certificate:
    kind = (given.get("certificateFormat") or "pfx").lower()
    if kind not in ("pfx", "cer"):
        raise invalid("certificateFormat", kind, "must be one of pfx, cer")
    password = given.get("password")
    if kind == "cer" and password:
        raise invalid("password", "", "must be omitted if the certificate format is cer")
    try:
        data = base64.b64decode(given["data"], validate=True)
        if kind == "pfx":
            certificate = pkcs12.load_key_and_certificates(data, (password or "").encode())[1]
        elif data.startswith(b"-----BEGIN"):
            certificate = x509.load_pem_x509_certificate(data)
        else:
            certificate = x509.load_der_x509_certificate(data)
    except (ValueError, binascii.Error):
        certificate = None
    if certificate is None:
        raise invalid("data", "", f"is not a {kind} file in base 64 that this password opens")
    return certificate
