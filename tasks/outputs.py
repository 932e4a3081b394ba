"""The folder of a run's results on this machine: outputs/RUN_KEY/, and outputs/latest that points at the newest."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tasks.errors import RunFailed
from tasks.run import Run

LONGEST_NAME_BYTES = 255  # of a file, on the file systems people use


def output_name(name: str) -> str:
    """Where a file's result goes below the run's folder: NAME_OUTPUT.txt, shortened where no file system takes it."""
    path = Path(name + "_OUTPUT.txt")
    if len(os.fsencode(path.name)) <= LONGEST_NAME_BYTES:
        return str(path)
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    room = LONGEST_NAME_BYTES - len(f"~{digest}_OUTPUT.txt")
    short = os.fsencode(Path(name).name)[:room].decode("utf-8", "ignore")
    return str(path.with_name(f"{short}~{digest}_OUTPUT.txt"))


def prepare_folder(outputs: Path, run: Run) -> Path:
    """The run's folder OUTPUTS/RUN_KEY, made now, so that a run whose results could not be kept never starts.

    Raises RunFailed when it cannot be made.
    """
    folder = outputs / run.key
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailed(f"The folder {folder} for the results cannot be made: {error.strerror}.") from None
    return folder


def point_latest(folder: Path) -> None:
    """Let OUTPUTS/latest point at this run's folder; it points at some whole run at any moment."""
    link = folder.parent / "latest"
    passing = folder.parent / f".latest-{folder.name}"
    passing.unlink(missing_ok=True)
    passing.symlink_to(folder.name, target_is_directory=True)
    passing.replace(link)


def write_output(folder: Path, name: str, text: bytes) -> None:
    """Write the text that people read for one input file. Raises RunFailed."""
    path = folder / output_name(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    except OSError as error:
        raise RunFailed(f"The result {path} cannot be written: {error.strerror}.") from error
