"""The folder of a run's results on this machine: outputs/RUN_KEY/, and outputs/latest that points at the newest."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path

from prefect import get_run_logger

from tasks.errors import BadInput, RunFailed
from tasks.run import Run

LONGEST_NAME_BYTES = 255  # of a file, on the file systems people use


def output_name(name: str) -> str:
    """Where a file's result goes below the run's folder: NAME_OUTPUT.txt, shortened where no file system takes it."""
    *folders, last = name.split("/")
    return "/".join([*(_short(folder, "") for folder in folders), _short(last, "_OUTPUT.txt")])


def _short(part: str, suffix: str) -> str:
    if len((part + suffix).encode()) <= LONGEST_NAME_BYTES:
        return part + suffix
    suffix = f"~{hashlib.sha256(part.encode()).hexdigest()[:16]}{suffix}"
    return part.encode()[: LONGEST_NAME_BYTES - len(suffix)].decode("utf-8", "ignore") + suffix


def check_outputs(outputs: Path) -> None:
    """Make sure that results can be kept below a folder, which may be made later. Raises BadInput."""
    nearest = next(path for path in (outputs, *outputs.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise BadInput(f"{outputs} cannot hold the results: {nearest} is not a folder.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise BadInput(f"{outputs} cannot hold the results: {nearest} may not be written.")


def prepare_folder(outputs: Path, run: Run) -> Path:
    """The run's folder OUTPUTS/RUN_KEY, made now, so that a run whose results could not be kept never starts.

    What an earlier run of the same key has left there is kept as RUN_KEY.1, RUN_KEY.2, ... (keys have no dots).
    Raises RunFailed when it cannot be made.
    """
    folder = outputs / run.key
    try:
        if folder.exists():
            number = next(number for number in itertools.count(1) if not (outputs / f"{run.key}.{number}").exists())
            folder.rename(outputs / f"{run.key}.{number}")
        folder.mkdir(parents=True)
    except OSError as error:
        raise RunFailed(f"The folder {folder} for the results cannot be made: {error.strerror}.") from None
    return folder


def point_latest(folder: Path) -> None:
    """Let OUTPUTS/latest point at this run's folder; it points at some whole run at any moment."""
    link = folder.parent / "latest"
    passing = folder.parent / f".latest-{folder.name}"
    passing.unlink(missing_ok=True)
    passing.symlink_to(folder.name, target_is_directory=True)
    try:
        passing.replace(link)
    except OSError as error:  # a folder that somebody made
        passing.unlink()
        get_run_logger().warning("%s cannot point at %s: %s", link, folder, error.strerror)


def write_output(folder: Path, name: str, text: bytes) -> None:
    """Write the text that people read for one input file. Raises RunFailed."""
    path = folder / output_name(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    except OSError as error:
        raise RunFailed(f"The result {path} cannot be written: {error.strerror}.") from error
