"""What the emulator was started with, read once from the command line and the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from emulator.storage import AutoStorage

DEVELOPMENT_ACCOUNT = "devbatchaccount"
# Published on purpose, as Azurite publishes its own: it guards nothing but this machine's emulator.
DEVELOPMENT_KEY = "3hkE0D099XnYHY0NbE/XEHWyMGmIDd98i7s+rC8EnzUWSeXEKPKrx3l+Zq7ffyQjPgNqHaILION5sXq99P91ew=="


@dataclass(frozen=True)
class Settings:
    """Where the emulator listens and keeps its nodes, and who may sign requests."""

    root: Path
    endpoint: str
    """`http://127.0.0.1:PORT`, as clients reach it."""
    account: str = DEVELOPMENT_ACCOUNT
    """Whose requests those with a bearer token are: such a token names no account."""
    key: str = DEVELOPMENT_KEY
    certificate: tuple[Path, Path] | None = None
    """The files of the certificate and its key, when TLS is served."""
    auto_storage: AutoStorage | None = None
    """The storage account that every account is linked with."""
    storage_timeout: float = 60.0
    """Seconds that tasks wait for storage: for an answer, and for more of one."""
    speed: float = 1.0
    """By how much the service's own delays are shortened; times of users and clocks are not."""
    path: str = os.defpath
    """Where tasks find programs: inherited from whoever started the emulator, as the next, and nothing else is."""
    trusted: str | None = None
    """`SSL_CERT_FILE`, the certificates that tasks trust, as those of a node's image: where local storage is TLS."""
    metadata: str | None = None
    """`AZURE_POD_IDENTITY_AUTHORITY_HOST`, where nodes of pools with an identity find their metadata service."""
