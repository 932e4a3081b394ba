"""How the programs of the node end when they cannot go on: one exit status and one line on stderr for each cause.

| status | cause |
|---|---|
| 0 | done; what was asked for is uploaded |
| 1 | a defect: whatever is not below |
| 2 | bad arguments, or an environment that lacks something |
| 3 | the input cannot be read |
| 4 | an upload failed, after retries |
| 5 | the SAS has expired, or it or the identity is refused (HTTP 401, 403) |
| 6 | the disk is full |
| 7 | the memory limit is too small, or the counter was killed for its memory |
| 8 | the input is a gzip bomb |
| 9 | a table cannot be fetched, or is damaged |
| 10 | the input is gzip, but truncated or corrupt |
| 11 | the node gives no token for the pool's identity |

The kernel that kills the whole program for its memory shows as 137, and is outside of its hands. Whatever the status
but 0, the result that is the evidence of success (KEY.json; for an inner table KEY.table.gz) is not uploaded.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

ARGUMENTS = 2
INPUT = 3
UPLOAD = 4
SAS = 5
DISK_FULL = 6
MEMORY = 7
BOMB = 8
TABLE = 9
GZIP = 10
IDENTITY = 11


class Failure(Exception):
    """Work that cannot go on, with its exit status; the text is one sentence that names the cause."""

    def __init__(self, status: int, cause: str) -> None:
        super().__init__(cause)
        self.status = status


def why(error: OSError) -> str:
    """What an error of the operating system says; never empty."""
    return error.strerror or str(error) or type(error).__name__


def on_disk(error: OSError, doing: str) -> Failure:
    """The failure for an error while a file of our own was written or read."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return Failure(DISK_FULL, f"the disk is full: {doing}: {why(error)}")
    return Failure(1, f"{doing}: {why(error)}")


def exit_status(work: Callable[[], None]) -> int:
    """Do a program's work; on a failure say the one line on stderr, and return its status."""
    try:
        work()
    except Failure as failure:
        print(" ".join(str(failure).split()), file=sys.stderr)
        return failure.status
    except MemoryError:
        print("out of memory, below the limit given", file=sys.stderr)
        return MEMORY
    return 0
