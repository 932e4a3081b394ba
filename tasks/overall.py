"""The top words over all files, merged from each file's longest words list, and how sure that is.

Merging per-file lists is not exact by itself: a word may stand just below every list. So each result tells, beside
its most frequent words, the count of the first word that it leaves out. A word's true total then lies between the
sum of what was listed and that sum plus what the files that do not list it may hide.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence

from pydantic import BaseModel


class OverallWords(BaseModel):
    """The top words over all files, by count descending, then word."""

    words: list[tuple[str, int]]
    exact: bool  # certified: these are the top words, and these their counts
    largest_error: int  # how much too low a count may be, at the most
    reduce_tasks: int = 0  # that merged the files' whole tables; 0: their lists alone were merged
    not_reduced: str = ""  # why the tables, which were asked for, could not be merged

    @property
    def sureness(self) -> str:
        """How sure the words and counts are, for people."""
        if self.exact and self.reduce_tasks:
            tasks = "a reduce task" if self.reduce_tasks == 1 else f"{self.reduce_tasks:,} reduce tasks"
            return f"Exact: merged from the whole tables of the files, by {tasks} on Batch."
        if self.exact:
            return "Exact: no other word can have as many."
        cause = f" Their whole tables could not be merged: {self.not_reduced}" if self.not_reduced else ""
        return (
            "Not exact: merged from the most frequent words of each file; "
            f"a count may be too low by {self.largest_error:,} at the most.{cause}"
        )


class Overall:
    """Merges the files' lists one by one."""

    def __init__(self) -> None:
        self._listed: Counter[str] = Counter()
        self._first_left_out: Counter[str] = Counter()  # per word: over the files that list it
        self._hidden = 0  # over all files
        self._unlisted_after = ""  # a word that is listed nowhere and occurs `_hidden` times comes after this one

    def add(self, words: Sequence[tuple[str, int]], first_left_out: int) -> None:
        """Add a file's most frequent words, in order, and the count of the first one left out (0: none was)."""
        self._hidden += first_left_out
        for word, count in words:
            self._listed[word] += count
            self._first_left_out[word] += first_left_out
        if words and words[-1][1] == first_left_out:  # as frequent as those left out, and before them
            self._unlisted_after = max(self._unlisted_after, words[-1][0])

    def top(self, number: int) -> OverallWords:
        """The `number` top words of all files added."""
        words = heapq.nsmallest(number, self._listed.items(), key=lambda item: (-item[1], item[0]))
        errors = [self._hidden - self._first_left_out[word] for word, _ in words]
        exact = self._hidden == 0 or (len(words) == number and not any(errors) and self._none_comes_before(words))
        return OverallWords(words=words, exact=exact, largest_error=max(errors, default=0))

    def _none_comes_before(self, words: list[tuple[str, int]]) -> bool:
        """Whether all other words, be they listed somewhere or nowhere, come after the last of these."""
        chosen, (last, least) = {word for word, _ in words}, words[-1]
        if (-self._hidden, self._unlisted_after) < (-least, last):
            return False
        return all(
            (-(count + self._hidden - self._first_left_out[word]), word) > (-least, last)
            for word, count in self._listed.items()
            if word not in chosen
        )
