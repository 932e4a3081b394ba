"""What a word is.

UTF-8 text (a leading BOM dropped, invalid bytes replaced by U+FFFD), split on Unicode white space, ASCII punctuation
stripped from both ends, empty strings dropped, case kept unless it is folded. Words of more than 64 KiB are not words
that anybody wrote: they are counted as overlong and not listed.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

LONGEST_WORD_BYTES = 64 * 1024
BOM = b"\xef\xbb\xbf"
ASCII_WHITE_SPACE = re.compile(rb"[\t-\r ]")
# What str.split() takes for white space, in UTF-8. No lead byte of UTF-8 is ever a continuation byte, so a
# match in any bytes is the same white space that decoding with errors="replace" would find.
WHITE_SPACE = re.compile(
    rb"[\t-\r\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80"
)
CUT_WHITE_SPACE_BYTES = 2  # how much of white space, which is three bytes at most, a block may end with
FOLDING_ENDS = 0x20000  # no character from here on folds


class Rules:
    """Which words are told apart, and which are counted: the same for all engines."""

    def __init__(self, *, fold_case: bool = False, min_length: int = 1, stop_words: frozenset[str] = frozenset()):
        self.fold_case = fold_case
        self.min_length = min_length  # characters, after folding
        self.stop_words = stop_words  # as they would be counted
        self.plain = not fold_case and min_length <= 1 and not stop_words

    def kept(self, words: list[str]) -> list[str]:
        """What the options leave of stripped words."""
        if self.fold_case:
            words = [word.casefold() for word in words]
        return [word for word in words if len(word) >= self.min_length and word not in self.stop_words]

    def words_of(self, text: bytes) -> list[str]:
        """The words of bytes that no overlong word is in."""
        found = [word.strip(string.punctuation) for word in text.decode("utf-8", "replace").split()]
        words = [word for word in found if word]
        return words if self.plain else self.kept(words)


def stop_words_of(text: bytes, *, fold_case: bool) -> frozenset[str]:
    """The words of a stop-word file, in the form in which they would be counted."""
    return frozenset(Rules(fold_case=fold_case).words_of(text.removeprefix(BOM)))


def folded_characters() -> Iterator[tuple[int, str]]:
    """The code points that case folding changes, in ascending order, with what they become on this Python."""
    for code in range(FOLDING_ENDS):
        character = chr(code)
        folded = character.casefold()
        if folded != character:
            yield code, folded
