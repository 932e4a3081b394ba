"""The application files: what runs on a node, as it lies in node_task/ - its programs and its native engines.

The programs are Python, for every node. The engines are binaries that `make native` has built into node_task/build/,
`count-MACHINE-static` and `count-MACHINE-system`, with their SHA-256 in engines.json, where a program looks for one
that runs on its node. The two kinds of engine give equal results, so a result's key tells the engines' source and not
which compiler built them.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from azure.batch.models import ResourceFile

from tasks.access import NodeAccess
from tasks.errors import BadInput
from tasks.run import Run

NODE_TASK = Path(__file__).parent.parent / "node_task"
PROGRAMS = "*.py"
ENGINE_SOURCES = "native/*.[ch]"
ENGINES = "engines.json"  # in node_task/build/: {binary: its SHA-256}
STATIC = "-static"  # at the end of a binary's name: it runs on any Linux of its machine's kind

TRAVELLED = NODE_TASK.name  # the application's folder in its container, and where resource files bring it


@dataclass(frozen=True)
class Application:
    """The application files by name, as read: what is hashed is what is uploaded."""

    files: dict[str, bytes] = field(repr=False)
    sha256: str  # over programs and the engines' sources

    @property
    def engines(self) -> list[str]:
        """The native engines among them; without any, nodes count in Python."""
        return sorted(json.loads(self.files.get(ENGINES, b"{}")))

    @property
    def staged(self) -> str:
        """Its folder on a node whose start task has staged it, for a shell to read; another version has another."""
        return f"$AZ_BATCH_NODE_SHARED_DIR/topn-{self.sha256[:8]}"


def read_application(
    batch_endpoint: str, folder: Path = NODE_TASK, of_the_run: Mapping[str, bytes] | None = None
) -> Application:
    """Read the programs, and the engines that can run on the nodes of this Batch endpoint.

    `of_the_run` are files that go with them and are no part of the hash.

    A binary that was linked on this machine (`-system`) may not load on another distribution, so it is used only where
    the nodes are this machine: where the endpoint is one of its own addresses. Raises BadInput when an engine is older
    than its source, as its results would be kept under the newer one's key.
    """
    programs = {path.name: path.read_bytes() for path in sorted(folder.glob(PROGRAMS))}
    sources = list(folder.glob(ENGINE_SOURCES))
    engines = _engines(folder / "build", sources, here=_is_this_machine(batch_endpoint))
    sha256 = _digest(programs | {path.name: path.read_bytes() for path in sources})
    return Application({**programs, **engines, **(of_the_run or {})}, sha256)


def _engines(build: Path, sources: Iterable[Path], *, here: bool) -> dict[str, bytes]:
    if not (build / ENGINES).exists():
        return {}
    built = json.loads((build / ENGINES).read_bytes())
    used = {name: sha256 for name, sha256 in built.items() if here or name.endswith(STATIC)}
    changed = max((source.stat().st_mtime for source in sources), default=0)
    for name in used:
        if not (build / name).exists() or (build / name).stat().st_mtime < changed:
            raise BadInput(f"{build / name} is missing or older than its source: run `make native`.")
    files = {name: (build / name).read_bytes() for name in used}
    return {**files, ENGINES: json.dumps(used).encode()} if used else {}


def _digest(files: dict[str, bytes]) -> str:
    lines = "".join(f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _is_this_machine(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def resource_file(access: NodeAccess, run: Run) -> ResourceFile:
    """Brings all application files, in the folder TRAVELLED, to where a start task or a task begins."""
    return await access.folder(run.application_container, f"{TRAVELLED}/")
