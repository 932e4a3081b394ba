"""The top words over all files, merged from each file's longest words list, and how sure that is.

Merging per-file lists is not exact by itself: a word may stand just below every list. So each result tells, beside
its most frequent words, the count of the first word that it leaves out. A word's true total then lies between the
sum of what was listed and that sum plus what the files that do not list it may hide.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel


class OverallWords(BaseModel):
    """The top words over all files, by count descending, then word."""

    words: list[tuple[str, int]]
    exact: bool  # certified: these are the top words, and these their counts
    largest_error: int  # how much too low a count may be, at the most


class Overall:
    """Merges the files' lists one by one."""

    def __init__(self) -> None:
        self._listed: Counter[str] = Counter()
        self._first_left_out: Counter[str] = Counter()  # per word: over the files that list it
        self._hidden = 0  # over all files

    def add(self, words: Iterable[tuple[str, int]], first_left_out: int) -> None:
        """Add a file's most frequent words, and the count of the first one left out (0: none was)."""
        self._hidden += first_left_out
        for word, count in words:
            self._listed[word] += count
            self._first_left_out[word] += first_left_out

    def top(self, number: int) -> OverallWords:
        """The `number` top words of all files added."""
        words = heapq.nsmallest(number, self._listed.items(), key=lambda item: (-item[1], item[0]))
        errors = [self._hidden - self._first_left_out[word] for word, _ in words]
        exact = self._hidden == 0 or (
            len(words) == number and not any(errors) and self._most_of_others(words) < words[-1][1]
        )
        return OverallWords(words=words, exact=exact, largest_error=max(errors, default=0))

    def _most_of_others(self, words: list[tuple[str, int]]) -> int:
        """The most that any word but these can have: one that is listed somewhere, or nowhere at all."""
        chosen = {word for word, _ in words}
        listed = (
            count + self._hidden - self._first_left_out[word]
            for word, count in self._listed.items()
            if word not in chosen
        )
        return max(self._hidden, max(listed, default=0))
