"""How long to wait between two looks at a job: few calls over all of it, and little time lost at its end."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(seconds=15)
LONGEST_SHARE = 1 / 30  # of what has passed, where that is longer: who waits for hours can wait for a minute
LOOKS = 4  # that tell how fast it goes now: a start that took minutes says nothing of the end
SHARE = 2 / 3  # of the rest as it looks: where it lasts as long, the looks come closer and the last one is in time
DOUBT = 4  # so many files tell half of what many tell


class Interval:
    """Between the looks at one job; knows how far it was at the last ones. Times are seconds of any one clock."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._looks = deque([(began, 0)], maxlen=LOOKS)

    def next_seconds(self, now: float, settled: int, left: int) -> float:
        """Until the next look, after one at `now`: so many files are settled, so many are left."""
        elapsed = now - self._began
        if not settled:  # there is no pace yet; it begins at the last look that sees none
            self._looks.clear()
        self._looks.append((now, settled))
        then, settled_then = self._looks[0]
        if number := settled - settled_then:
            pause = (now - then) / number * left * SHARE * number / (number + DOUBT)
        else:
            pause = elapsed / 4
        return min(max(pause, SHORTEST.total_seconds()), max(LONGEST.total_seconds(), elapsed * LONGEST_SHARE))
