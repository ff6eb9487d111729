"""What noise must not touch."""

from __future__ import annotations

import time
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.edits import Passage
from weave_async.noise.lock import MeaningLock
from weave_async.noise.spans import ProtectedSpans


def starred(text: str, *terms: str) -> str:
    """The text with every character that may change as a star, blanks apart."""
    passage = ProtectedSpans(terms).passage(text)
    letters = ["*" if not letter.isspace() else letter for letter in text]
    for start, end, _ in passage.protected:
        letters[start:end] = text[start:end]
    return "".join(letters)


def kinds(passage: Passage) -> list[tuple[str, str]]:
    return [(span.kind, passage.text[span.start : span.end]) for span in passage.protected]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("I paid 49.90€ on 2024-01-31", "* **** 49.90€ ** 2024-01-31"),
        ("order #A-1234b, please", "***** #A-1234b* ******"),
        ("see https://a.example/x?y=z now", "*** https://a.example/x?y=z ***"),
        ("or www.example.com then", "** www.example.com ****"),
        ("mail me@example.com today", "**** me@example.com today"),
        ("run `pip install x` first", "*** `pip install x` first"),
        ("so:\n```py\nx = y\n```\nright", "***\n```py\nx = y\n```\n*****"),
        ("a <b>bold</b> word", "* <b>****</b> ****"),
        ("fill {name} in", "**** {name} **"),
        ('send {"a": "b"} back', '**** {"a": "b"} ****'),
        ("the NASA of the USA", "*** NASA ** *** USA"),
    ],
)
def test_what_carries_the_meaning_is_protected(text: str, left: str) -> None:
    assert starred(text) == left


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("it weighs 12.5 kg or so", [("number", "12.5 kg")]),
        ("it costs $1,200.50, or more", [("number", "$1,200.50")]),
        ("about 30 million dollars, roughly", [("number", "30 million dollars")]),
        ("up by 7% (or 7 %)", [("number", "7%"), ("number", "7 %")]),
        ("the three of us", [("number", "three")]),
        ("in 3-5 days", [("number", "3-5 days")]),
        ("on 31/01/2024 or 5 March 2024", [("date", "31/01/2024"), ("date", "5 March 2024")]),
        ("on May 5th, 2024, or in june", [("date", "May 5th, 2024"), ("date", "june")]),
        ("you may march on", []),
        ("at 10:30 pm or 5 a.m. sharp", [("time", "10:30 pm"), ("time", "5 a.m.")]),
        ("read https://a.example/b(c). ok", [("url", "https://a.example/b(c")]),
        ("go to example.com/shop now", [("url", "example.com/shop")]),
        ("edit ~/notes/a.txt and main.py,", [("path", "~/notes/a.txt"), ("path", "main.py")]),
        (r"in C:\Users\me it is", [("path", r"C:\Users\me")]),
        ("this and/or that", []),
        ("call my_function or run() it", [("code", "my_function"), ("code", "run()")]),
        ('a {"a": {"b": ["c"]}} is', [("json", '{"a": {"b": ["c"]}}')]),
        ("{{name}}, ${city} [X] %s <name> here", [
            ("placeholder", "{{name}}"), ("placeholder", "${city}"), ("placeholder", "[X]"),
            ("placeholder", "%s"), ("placeholder", "<name>"),
        ]),
        ("he said \"give it up\" to 'the boss' there", [
            ("quoted", '"give it up"'), ("quoted", "'the boss'"),
        ]),
        ("the dogs' and the cats' food", []),
        ("i can't and won’t, dont ask", [
            ("negator", "can't"), ("negator", "won’t"), ("negator", "dont"),
        ]),
        ("ich bin nicht da", [("negator", "nicht")]),
        ("on ne sait jamais", [("negator", "ne"), ("negator", "jamais")]),
        ("no lo tengo, nunca", [("negator", "no"), ("negator", "nunca")]),
        ("I met Anna and John Smith", [("name", "Anna"), ("name", "John"), ("name", "Smith")]),
        ("Then I left. Nothing else", [("negator", "Nothing")]),
        ("my iPhone, @anna", [("name", "iPhone"), ("name", "@anna")]),
        ("is it so?!", [("question", "?")]),
        ("is it? yes", []),
    ],
)  # fmt: skip
def test_spans_have_kinds(text: str, found: list[tuple[str, str]]) -> None:
    assert kinds(ProtectedSpans().passage(text)) == found


@pytest.mark.parametrize("text", ["PLEASE HELP ME WITH MY ORDER", "How To Bake A Good Apple Cake"])
def test_capitals_tell_no_names_where_all_words_have_them(text: str) -> None:
    assert kinds(ProtectedSpans().passage(text)) == []


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
        (["refund", "refund policy"], "our refund policy here", "*** refund policy ****"),
        (["refund policy", "refund"], "our refund policy here", "*** refund policy ****"),
        (["24 hours"], "within 24 hours now", "****** 24 hours ***"),
        (["GPU memory"], "all GPU memory gone", "*** GPU memory ****"),
        (["memory of GPU"], "the memory of GPU is", "*** memory of GPU **"),
        (["new york", "york city"], "in new york city now", "** new york city ***"),
    ],
)
def test_terms_are_protected_as_whole_words_in_any_case(
    terms: list[str], text: str, left: str
) -> None:
    assert starred(text, *terms) == left


def test_values_of_the_sample_are_protected_in_its_own_text_alone() -> None:
    spans = ProtectedSpans()
    labelled = spans.passage("a Blue jacket, blueish, c++", extra_terms=["blue", "C++", "", "red"])
    assert kinds(labelled) == [("label", "Blue"), ("label", "c++")]
    assert kinds(spans.passage("a blue jacket")) == []


def test_patterns_of_the_user_are_protected() -> None:
    passage = ProtectedSpans(patterns=[r"sku-\p{L}+"]).passage("the sku-abc is out")
    assert kinds(passage) == [("pattern", "sku-abc")]


def test_a_pattern_that_does_not_compile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pattern '\(' does not compile"):
        ProtectedSpans(patterns=["("])


def test_a_pattern_that_takes_for_ever_is_ended() -> None:
    spans = ProtectedSpans(patterns=[r"(x+x+)+y"])
    with pytest.raises(ValueError, match="takes more than"):
        spans.passage("x" * 5_000)


def test_kinds_that_a_noise_rewrites_are_free_and_named() -> None:
    text = 'pay 5 km, "7 km", not 2024-01-31'
    passage = ProtectedSpans().passage(text, rewrites={"number", "date"})
    assert kinds(passage) == [("quoted", '"7 km"'), ("negator", "not")]
    assert [(span.kind, text[span.start : span.end]) for span in passage.rewritable] == [
        ("number", "5 km"),
        ("date", "2024-01-31"),
    ]
    assert all(passage.is_free(span.start, span.end) for span in passage.rewritable)


TEXTS = st.text() | st.text(st.sampled_from("a1 ,.?'\"`{}<>[]()@/:-_#\nXnot€"))


@given(TEXTS, st.lists(st.text(max_size=8), max_size=3))
def test_spans_are_in_order_and_none_lies_within_another(text: str, terms: list[str]) -> None:
    passage = ProtectedSpans(terms).passage(text, extra_terms=terms)
    for span in passage.protected:
        assert 0 <= span.start < span.end <= len(text)
    for one, other in pairwise(passage.protected):
        assert one.start < other.start
        assert one.end < other.end


@given(TEXTS, st.lists(st.text(max_size=8), max_size=3))
def test_a_noise_that_shouts_leaves_every_protected_span_as_it_is(
    text: str, terms: list[str]
) -> None:
    spans = ProtectedSpans(terms)
    noisy = MeaningLock(spans).vary(lambda free, rng: free.upper() + "!", text, Random(0)).text
    at = 0
    for span in spans.passage(text).protected:
        kept = text[span.start : span.end]
        found = noisy.find(kept, max(0, at))
        assert found >= 0, kept
        at = found


HOSTILE = {
    "no blanks": "漢字" * 50_000,
    "one word": "x" * 100_000,
    "at signs": "a@" * 50_000,
    "open code": "```x " * 20_000,
    "open marks": "`<{" * 30_000,
    "dots": "w." * 50_000,
    "braces": "{" * 1_000_000,
    "closed braces": "{" * 200_000 + "}" * 200_000,
    "nested json": '{"a":' * 100_000,
    "backticks": "`" * 1_000_000,
    "figures": "1,1," * 250_000,
    "figure marks": "1,,," * 100_000,
    "apostrophes": "don't'" * 50_000,
    "capitals": "aA" * 100_000,
    "names": "a Bcd-" * 50_000,
    "quotes": '"a' * 100_000,
    "slashes": "/a" * 100_000,
    "underscores": "a_" * 100_000,
    "negators": "not " * 50_000,
    "domains": "a.b-" * 50_000,
    "urls": "http://" * 30_000,
    "questions": "?" * 300_000,
    "dates": "1/1/" * 50_000,
    "brackets": "[a](" * 50_000,
    "dashes": "--" * 100_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_long_text_of_any_shape_takes_time_that_grows_with_its_length(text: str) -> None:
    # Short parts first: where time grows with the square, they tell before the whole text hangs.
    spans = ProtectedSpans(["term"])
    for part in (text[: len(text) // share] for share in (81, 27, 9, 3, 1)):
        began = time.thread_time()  # of our own CPU: others may need theirs
        spans.passage(part, extra_terms=["label"])
        taken_s = time.thread_time() - began
        assert taken_s < 0.2 + 2e-5 * len(part), f"{len(part)} characters took {taken_s:.2f} s"
