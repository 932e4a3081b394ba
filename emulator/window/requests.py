"""The latest requests, for the window."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import Any

_KEPT = 100


class Requests:
    """Those that were answered last, without what could be a secret in them: their queries, headers and bodies."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=_KEPT)

    def add(self, account: str | None, method: str, path: str, status: int, milliseconds: float) -> None:
        """Remember one that was answered."""
        self._kept.append(
            {
                "time": datetime.now(UTC).strftime("%H:%M:%S"),
                "account": account or "",
                "method": method,
                "path": path[:300],
                "status": status,
                "milliseconds": round(milliseconds),
            }
        )

    def newest_first(self) -> list[dict[str, Any]]:
        """All that are remembered."""
        return list(reversed(self._kept))
