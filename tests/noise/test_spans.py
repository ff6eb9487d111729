"""What noise must not touch."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.spans import ProtectedSpans


def starred(text: str, *terms: str) -> str:
    """The text with every character that may change as a star, blanks apart."""
    return ProtectedSpans(terms).change_between(
        text, lambda free: "".join(c if c.isspace() else "*" for c in free)
    )


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("I paid 49.90€ on 2024-01-31", "* **** 49.90€ ** 2024-01-31"),
        ("order #A-1234b, please", "***** #A-1234b, ******"),
        ("see https://a.example/x?y=z now", "*** https://a.example/x?y=z ***"),
        ("or www.example.com then", "** www.example.com ****"),
        ("mail me@example.com today", "**** me@example.com *****"),
        ("run `pip install x` first", "*** `pip install x` *****"),
        ("so:\n```py\nx = y\n```\nright", "***\n```py\nx = y\n```\n*****"),
        ("a <b>bold</b> word", "* <b>****</b> ****"),
        ("fill {name} in", "**** {name} **"),
        ('send {"a": "b"} back', '**** {"a": "b"} ****'),
        ("the NASA of the USA", "*** NASA ** *** USA"),
    ],
)
def test_what_carries_the_meaning_is_protected(text: str, left: str) -> None:
    assert starred(text) == left


def test_plain_words_are_free() -> None:
    assert starred("Hello there, how are you") == "***** ****** *** *** ***"


@pytest.mark.parametrize(
    ("terms", "text", "left"),
    [
        (["refund"], "a Refund please, refunds", "* Refund ******* *******"),
        (["c++"], "learn C++ or c+", "***** C++ ** **"),
        (["New York"], "in New York now", "** New York ***"),
        (["", "tea"], "a tea", "* tea"),
        (["(a|b)+"], "a (a|b)+ b", "* (a|b)+ *"),
        (["straße"], "die Straße da", "*** Straße **"),
    ],
)
def test_terms_are_protected_as_whole_words_in_any_case(
    terms: list[str], text: str, left: str
) -> None:
    assert starred(text, *terms) == left


@pytest.mark.parametrize(
    ("terms", "text", "left"),
    [
        (["refund", "refund policy"], "our refund policy here", "*** refund policy ****"),
        (["refund policy", "refund"], "our refund policy here", "*** refund policy ****"),
        (["24 hours"], "within 24 hours now", "****** 24 hours ***"),
        (["GPU memory"], "all GPU memory gone", "*** GPU memory ****"),
        (["memory of GPU"], "the memory of GPU is", "*** memory of GPU **"),
        (["new york", "york city"], "in new york city now", "** new york city ***"),
    ],
)
def test_terms_are_protected_whole_where_they_overlap_other_spans(
    terms: list[str], text: str, left: str
) -> None:
    assert starred(text, *terms) == left


@given(st.text(), st.lists(st.text(max_size=8), max_size=3))
def test_a_change_that_changes_nothing_changes_nothing(text: str, terms: list[str]) -> None:
    assert ProtectedSpans(terms).change_between(text, lambda free: free) == text


@pytest.mark.parametrize(
    "text",
    [
        "漢字" * 50_000,
        "x" * 100_000,
        "a@" * 50_000,
        "```x " * 20_000,
        "`<{" * 30_000,
        "w." * 50_000,
    ],
    ids=["no blanks", "one word", "at signs", "open code", "open marks", "dots"],
)
def test_a_long_text_of_any_shape_takes_no_time(text: str) -> None:
    # Short parts first: where time grows with the square, they tell before the whole text hangs.
    spans = ProtectedSpans(["term"])
    for part in (text[: len(text) // share] for share in (81, 27, 9, 3, 1)):
        began = time.thread_time()  # of our own CPU: others may need theirs
        spans.change_between(part, lambda free: free)
        assert time.thread_time() - began < 0.5, f"{len(part)} characters"
