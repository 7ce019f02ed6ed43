"""Texts from outside are made storable, and misspelt words find the known ones."""

import pytest

from adapters.text import closest_word, is_storable, storable


@pytest.mark.parametrize(
    ("text", "stored"),
    [("", ""), ("plain", "plain"), ("café 会议 🎉", "café 会议 🎉"), ("a\x00b", "a\ufffdb"), ("\ud800é\udfff", "\ufffdé\ufffd")],
)
def test_nul_and_lone_surrogates_are_replaced_and_all_else_stays(text: str, stored: str) -> None:
    assert (storable(text), is_storable(text)) == (stored, text == stored)


@pytest.mark.parametrize(
    ("word", "closest"), [("prot", "port"), ("port", "port"), ("hots", "host"), ("x", None), ("port" + "x" * 100_000, None)]
)
def test_a_misspelt_word_finds_the_most_similar_known_word(word: str, closest: str | None) -> None:
    assert closest_word(word, ("host", "port")) == closest
