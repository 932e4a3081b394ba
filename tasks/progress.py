"""The progress artifact: it moves in the Prefect UI while Batch works."""

from __future__ import annotations

from uuid import UUID

from azure.batch.models import BatchTaskCounts
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

PROGRESS_ARTIFACT = "topn-progress"


class Progress:
    """How many of a run's Batch tasks have ended."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._artifact: UUID | None = None

    async def show(self, counts: BatchTaskCounts, already_done: int = 0, why: str = "") -> None:
        """Move to these counts; the first call makes the artifact.

        Args:
            already_done: files that needed no Batch task.
            why: nothing runs, if so.
        """
        percent = min(100.0, 100 * (counts.succeeded + already_done) / self._total)
        description = (
            f"{counts.succeeded + already_done} of {self._total} files counted, {counts.failed} tasks failed, "
            f"{counts.running} running, {counts.active} waiting{f'. Nothing runs yet: {why}' if why else ''}"
        )
        if self._artifact is None:
            self._artifact = await acreate_progress_artifact(percent, key=PROGRESS_ARTIFACT, description=description)
        else:
            await aupdate_progress_artifact(self._artifact, percent, description=description)
