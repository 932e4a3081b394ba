"""`python -m emulator.certificate DIR`: a certificate for this machine, for clients that insist on TLS."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_VALID = timedelta(days=365)


def make(directory: Path) -> tuple[Path, Path]:
    """Write `certificate.pem`, which clients trust, and `key.pem`, the emulator's own; where they are.

    Raises:
        OSError: when they cannot be written.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Azure Batch emulator on this machine")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    certificate_path, key_path = directory / "certificate.pem", directory / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    descriptor = os.open(key_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
    return certificate_path, key_path


def main() -> int:
    """Make the two files and say how they are used; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m emulator.certificate", description=__doc__)
    parser.add_argument("directory", type=Path, help="where certificate.pem and key.pem are written")
    try:
        certificate, key = make(parser.parse_args().directory)
    except OSError as error:
        sys.stderr.write(f"emulator.certificate: {error.filename}: {error.strerror}\n")
        return 2
    sys.stdout.write(f"python -m emulator --cert {certificate} --key {key} ...\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
