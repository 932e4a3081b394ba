"""How the words of a file are counted: what a run's options make of the node task's command line and a result's key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import BadInput

STOP_WORDS = "stop_words.txt"  # the application file that holds them, whatever it is called here
LONGEST_STOP_WORDS_BYTES = 16 * 1024 * 1024  # a node reads them whole, for each file


@dataclass(frozen=True)
class Counting:
    """The options of the counting, the same for all files of a run."""

    num_words: int
    fold_case: bool = False
    min_length: int = 1  # characters
    stop_words: bytes | None = None  # UTF-8, between white space
    table: bool = False  # whether each file's whole table is kept, beside its top words
    memory_mib: int = 256  # beyond it, counts are written to the node's disk
    threads: int = 1  # of one file's counting; 0: one for each core of the node

    @property
    def identity(self) -> str:
        """What changes a result, as a part of its key: neither memory nor threads."""
        stop_words = hashlib.sha256(self.stop_words).hexdigest() if self.stop_words is not None else "none"
        return (
            f"words={self.num_words}\nfold_case={self.fold_case}\nmin_length={self.min_length}\n"
            f"stop_words={stop_words}\ntable={self.table}"
        )

    def arguments(self, folder: str) -> str:
        """Of the node task; `folder` is the application's on the node, for a shell to read."""
        given = [f"--words {self.num_words} --memory-mib {self.memory_mib} --threads {self.threads}"]
        if self.fold_case:
            given.append("--fold-case")
        if self.min_length > 1:
            given.append(f"--min-length {self.min_length}")
        if self.stop_words is not None:
            given.append(f'--stop-words "{folder}/{STOP_WORDS}"')
        if self.table:
            given.append("--table")
        return " ".join(given)


def read_stop_words(path: Path) -> bytes:
    """The words of a file that are not to be counted. Raises BadInput."""
    try:
        content = path.read_bytes() if path.stat().st_size <= LONGEST_STOP_WORDS_BYTES else None
        if content is None:
            raise BadInput(f"The stop words of {path} are more than {LONGEST_STOP_WORDS_BYTES // 2**20} MiB.")
        content.decode("utf-8")
    except OSError as error:
        raise BadInput(f"The stop words of {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadInput(f"The stop words of {path} are not UTF-8.") from None
    return content
