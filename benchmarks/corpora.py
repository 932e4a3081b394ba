"""Texts to count, made from a seed: the same bytes on every machine, kept in ~/.cache/topn."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "topn"
MB = 1_000_000
AT_ONCE = 100_000  # tokens
SYLLABLES = {
    "english": "a al an ar be ca con de di en er est for ing ion it ly men ness of on or pro re sta ter th ti un ver",
    "czech": "á bě če dí ěl éš hla ích jí kla ký lo mě ná ně ou pří ra ře sta ší ti ů vá vě ých zá že žlu ťou",
}


def corpus(name: str, size_bytes: int) -> Path:
    """The path of a text: english, czech or log. It is made at the first use."""
    path = CACHE / f"{name}-{size_bytes}.txt"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as stream:
            for piece in MAKERS[name](random.Random(name)):
                stream.write(piece[: size_bytes - stream.tell()])
                if stream.tell() == size_bytes:
                    break
        unfinished.replace(path)
    return path


def copies(path: Path, number: int) -> Path:
    """A text several times over: more to count, and no new words."""
    path_of_all = path.with_name(f"{path.stem}x{number}.txt")
    if not path_of_all.exists():
        content = path.read_bytes()
        unfinished = path_of_all.with_suffix(".unfinished")
        with unfinished.open("wb") as stream:
            for _ in range(number):
                stream.write(content + b"\n")
        unfinished.replace(path_of_all)
    return path_of_all


def vocabulary(language: str, number: int, chance: random.Random) -> list[str]:
    """Words that look like the language's, the frequent ones shorter."""
    syllables, words = SYLLABLES[language].split(), dict[str, None]()
    while len(words) < number:
        length = chance.randrange(1, 3 + (len(words) > 200) + (len(words) > 5000))
        words["".join(chance.choices(syllables, k=length))] = None
    return list(words)


def prose(chance: random.Random, spellings: list[tuple[str, float]], ends: list[str]) -> Iterator[bytes]:
    """Endless text of these tokens, by weight, with one of the ends behind each."""
    tokens, bounds = [token for token, _ in spellings], list(accumulate(weight for _, weight in spellings))
    while True:
        chosen = chance.choices(tokens, cum_weights=bounds, k=AT_ONCE)
        between = chance.choices(ends, k=AT_ONCE)
        yield "".join(token + end for token, end in zip(chosen, between, strict=True)).encode()


def english(chance: random.Random) -> Iterator[bytes]:
    """Zipf's law over 185,000 words, each plain, with a comma, a full stop, a capital, quotes."""
    spellings = []
    for rank, word in enumerate(vocabulary("english", 185_000, chance), 1):
        weight = 1 / (rank + 2.7)
        variants = ((word, 80), (f"{word},", 8), (f"{word}.", 5), (word.title(), 6), (f'"{word}"', 1))
        spellings += [(token, weight * share) for token, share in variants]
    return prose(chance, spellings, [" "] * 11 + ["\n"])


def czech(chance: random.Random) -> Iterator[bytes]:
    """Words with accents, Unicode quotes, no-break and em spaces."""
    spellings = []
    for rank, word in enumerate(vocabulary("czech", 300_000, chance), 1):
        weight = 1 / (rank + 2.7)
        variants = ((word, 80), (f"{word},", 8), (f"{word}.", 5), (word.title(), 5), (f"\u201e{word}\u201c", 2))
        spellings += [(token, weight * share) for token, share in variants]
    return prose(chance, spellings, [" "] * 20 + ["\u00a0", "\u2003", "\n", "\r\n"])


def log(chance: random.Random) -> Iterator[bytes]:
    """Lines of a service's log, a UUID in each: nearly a word in six is new."""
    second = 1_700_000_000
    while True:
        lines = []
        for _ in range(AT_ONCE // 10):
            second += chance.randrange(2)
            request = uuid.UUID(int=chance.getrandbits(128))
            lines.append(
                f"{second} INFO request={request} GET /v1/items/{chance.randrange(1000)} 200 {request.node}us\n"
            )
        yield "".join(lines).encode()


MAKERS: dict[str, Callable[[random.Random], Iterator[bytes]]] = {"english": english, "czech": czech, "log": log}
