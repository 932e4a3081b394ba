"""The top words over all files: what is called exact is exact."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tasks.overall import Overall

files = st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 20), max_size=8), min_size=1, max_size=6)


def merge(counts: list[dict[str, int]], listed: int, number: int):
    overall = Overall()
    for count in counts:
        ranked = sorted(count.items(), key=lambda item: (-item[1], item[0]))
        overall.add(ranked[:listed], ranked[listed][1] if len(ranked) > listed else 0)
    return overall.top(number)


@given(counts=files, listed=st.integers(1, 8), number=st.integers(1, 8))
def test_what_is_certified_is_the_truth_and_errors_are_bounded(
    counts: list[dict[str, int]], listed: int, number: int
) -> None:
    truth = Counter[str]()
    for count in counts:
        truth.update(count)
    expected = sorted(truth.items(), key=lambda item: (-item[1], item[0]))[:number]
    merged = merge(counts, listed, number)
    if merged.exact:
        assert merged.words == expected
    for word, count in merged.words:
        assert count <= truth[word] <= count + merged.largest_error


@given(counts=files, number=st.integers(1, 8))
def test_whole_lists_are_always_exact(counts: list[dict[str, int]], number: int) -> None:
    assert merge(counts, 8, number).exact


def test_a_word_just_below_every_list_makes_it_inexact() -> None:
    merged = merge([{"a": 5, "x": 4}, {"b": 5, "x": 4}], 1, 1)
    assert not merged.exact
    assert (merged.words, merged.largest_error) == ([("a", 5)], 4)


@given(counts=files, listed=st.integers(1, 8), number=st.integers(1, 8))
def test_the_list_of_one_file_alone_is_exact(counts: list[dict[str, int]], listed: int, number: int) -> None:
    assert merge(counts[:1], max(listed, number), number).exact
