"""The named points at which tests kill a run: before, between and after each change at a service.

`before`: the request has left the run, and the service does not have it. `after`: the service has done it, and the
run has not heard of it. Two gates (tests/gate.py) before Batch and Storage hold the request, so that the run is
killed just there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tests.gate import Hold


@dataclass(frozen=True)
class KillPoint:
    """A request of a run that counts three local files with `--run-key KEY`."""

    name: str
    service: Literal["batch", "storage"]
    method: str
    pattern: str
    moment: Literal["before", "after"]
    nth: int = 1

    def hold(self) -> Hold:
        """A hold for its gate."""
        return Hold(self.method, self.pattern, after=self.moment == "after", nth=self.nth)


POINTS = [
    # Steps 1 and 2: containers and uploads.
    KillPoint("before-first-container", "storage", "PUT", r"-application\?restype=container", "before"),
    KillPoint("after-first-container", "storage", "PUT", r"-application\?restype=container", "after"),
    KillPoint("after-claim", "storage", "PUT", r"-application/claim.json\?comp=lease", "after"),
    KillPoint("before-claim-record", "storage", "PUT", r"-application/claim.json\?comp=metadata", "before"),
    KillPoint("after-claim-record", "storage", "PUT", r"-application/claim.json\?comp=metadata", "after"),
    KillPoint("after-second-container", "storage", "PUT", r"-input\?restype=container", "after"),
    KillPoint("after-last-container", "storage", "PUT", r"-output\?restype=container", "after"),
    KillPoint("before-application", "storage", "PUT", r"-application/node_task/", "before"),
    KillPoint("after-application", "storage", "PUT", r"-application/node_task/", "after"),
    KillPoint("before-first-input", "storage", "PUT", r"-input/", "before"),
    KillPoint("after-first-input", "storage", "PUT", r"-input/", "after"),
    KillPoint("after-last-input", "storage", "PUT", r"-input/", "after", nth=3),
    # Steps 3, 4 and 5: pool, job, batch tasks.
    KillPoint("before-pool", "batch", "POST", r"^/pools\?", "before"),
    KillPoint("after-pool", "batch", "POST", r"^/pools\?", "after"),
    KillPoint("before-job", "batch", "POST", r"^/jobs\?", "before"),
    KillPoint("after-job", "batch", "POST", r"^/jobs\?", "after"),
    KillPoint("before-batch-tasks", "batch", "POST", r"/addtaskcollection", "before"),
    KillPoint("after-batch-tasks", "batch", "POST", r"/addtaskcollection", "after"),
    # Steps 6 and 7: monitor and results.
    KillPoint("first-counts", "batch", "GET", r"/taskcounts", "before"),
    KillPoint("counting", "batch", "GET", r"/taskcounts", "after", nth=3),
    KillPoint("all-counted", "batch", "GET", r"^/jobs/[^/?]+/tasks\?", "after"),
    KillPoint("before-first-result", "storage", "GET", r"-output/", "before"),
    KillPoint("after-first-result", "storage", "GET", r"-output/", "after"),
    KillPoint("after-third-result", "storage", "GET", r"-output/", "after", nth=3),
    KillPoint("before-pictures", "storage", "PUT", r"-output/.*\.svg", "before"),
    KillPoint("after-pictures", "storage", "PUT", r"-output/.*\.svg", "after"),
    # Steps 8 and 9: release.
    KillPoint("before-release-job", "batch", "DELETE", r"^/jobs/", "before"),
    KillPoint("after-release-job", "batch", "DELETE", r"^/jobs/", "after"),
    KillPoint("before-release-pool", "batch", "DELETE", r"^/pools/", "before"),
    KillPoint("after-release-pool", "batch", "DELETE", r"^/pools/", "after"),
    KillPoint("before-release-containers", "storage", "DELETE", r"restype=container", "before"),
    KillPoint("after-release-first-container", "storage", "DELETE", r"restype=container", "after"),
    KillPoint("after-release-last-container", "storage", "DELETE", r"restype=container", "after", nth=3),
]

BY_NAME = {point.name: point for point in POINTS}

# Of each kind one, for each change of the code: in a step, between change and answer, while counting, while releasing.
FEW = ["before-job", "after-pool", "counting", "after-release-job"]

# The same for going on with the run: on its pool, on its tasks, on results that nobody has taken, on nothing to count.
FEW_RESUMED = ["after-pool", "after-batch-tasks", "before-first-result", "before-release-job"]


def reached(name: str, other: str) -> bool:
    """Whether a run that was killed at the one point has come as far as the other."""
    names = list(BY_NAME)
    return names.index(name) >= names.index(other)
