"""Typos: where they fall, how often, and what they leave alone."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.noise.spans import ProtectedSpans
from weave_async.noise.typos import TyposNoise

WORDS = """
the and you for are with this that have from what could would please about customer
delivery because morning afternoon another question yesterday support account payment
received package answer problem help send want know today first right little between
""".split()  # noqa: SIM905 - read as words
TERMS = ["refund policy", "Acme", "c++"]
PROTECTED = [
    "49.90€",
    "2024-01-31",
    "https://shop.example/orders?id=abc",
    "me@example.com",
    "`pip install weave`",
    "```\nfor each in rows: pass\n```",
    "{name}",
    "<b>",
    "NASA",
    "ORDER-77a",
    "Refund Policy",
    "acme",
    "C++",
]


def text_of(num_words: int, seed: int = 0) -> str:
    rng = Random(seed)
    return " ".join(rng.choice(WORDS) for _ in range(num_words))


@given(
    st.lists(st.sampled_from(PROTECTED) | st.sampled_from(WORDS), max_size=40),
    st.integers(0, 2**64),
)
def test_protected_spans_survive_byte_for_byte_for_any_seed(words: list[str], seed: int) -> None:
    noise, rng = TyposNoise(rate=0.2), Random(seed)
    noisy = ProtectedSpans(TERMS).change_between(" ".join(words), lambda free: noise(free, rng))
    at = 0
    for word in words:
        if word in PROTECTED:
            found = noisy.find(word, at)
            assert found >= 0, f"{word!r} is gone from {noisy!r}"
            at = found + len(word)


@given(st.text(), st.integers(0, 2**64))
def test_the_same_seed_makes_the_same_typos(text: str, seed: int) -> None:
    noise = TyposNoise(rate=0.2)
    assert noise(text, Random(seed)) == noise(text, Random(seed))


def test_another_seed_makes_other_typos() -> None:
    text = text_of(200)
    assert TyposNoise()(text, Random(1)) != TyposNoise()(text, Random(2))


@given(st.text(), st.integers(0, 2**64))
def test_rate_zero_changes_nothing(text: str, seed: int) -> None:
    assert TyposNoise(rate=0)(text, Random(seed)) == text


@given(st.text(st.characters(exclude_categories=["Cs", "Lu", "Ll"])), st.integers(0, 2**64))
def test_what_is_no_latin_word_is_left_alone(text: str, seed: int) -> None:
    assert TyposNoise(rate=0.2)(text, Random(seed)) == text


def test_words_of_two_letters_are_left_alone() -> None:
    text = "is it to be or no " * 100
    assert TyposNoise(rate=0.2)(text, Random(0)) == text


@given(st.integers(0, 2**64))
def test_blanks_and_the_number_of_words_stay(seed: int) -> None:
    text = "Please,  send\nmy package\ttoday! (It's late.)"
    noisy = TyposNoise(rate=0.2)(text, Random(seed))
    assert re.findall(r"\s+", noisy) == re.findall(r"\s+", text)


def changed_words(rate: float, num_words: int = 20_000) -> list[tuple[str, str]]:
    clean = text_of(num_words)
    noisy = TyposNoise(rate=rate)(clean, Random(7))
    pairs = zip(clean.split(), noisy.split(), strict=True)
    return [(before, after) for before, after in pairs if before != after]


def kind_of(before: str, after: str) -> str:
    if len(after) != len(before):
        return "delete" if len(after) < len(before) else "insert"
    differing = [at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    return "substitute" if len(differing) == 1 else "transpose"


def test_kinds_of_typos_are_as_frequent_as_people_make_them() -> None:
    changed = changed_words(rate=0.1)
    counts = Counter(kind_of(before, after) for before, after in changed)
    assert len(changed) > 5_000
    for kind, share in {
        "delete": 0.335,
        "insert": 0.280,
        "substitute": 0.198,
        "transpose": 0.186,
    }.items():
        assert counts[kind] / len(changed) == pytest.approx(share, abs=0.025), kind


@pytest.mark.parametrize("letters", [3, 4, 8])
def test_the_first_letter_is_rarely_hit_whatever_the_length_of_the_word(letters: int) -> None:
    rng = Random(3)
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    clean = [" ".join("".join(rng.sample(alphabet, letters)) for _ in range(20_000))]
    noisy = TyposNoise(rate=0.2)(clean[0], Random(5)).split()
    pairs = [(a, b) for a, b in zip(clean[0].split(), noisy, strict=True) if a != b]
    share = sum(before[0] != after[:1] for before, after in pairs) / len(pairs)
    assert share == pytest.approx(0.02, abs=0.012)


def test_the_rate_is_typos_per_character() -> None:
    num_chars = sum(map(len, text_of(20_000).split()))
    assert len(changed_words(rate=0.02)) / num_chars == pytest.approx(0.02, rel=0.1)


def test_the_default_rate_misspells_about_one_word_in_ten() -> None:
    assert 0.07 <= len(changed_words(rate=TyposNoise().rate)) / 20_000 <= 0.13


def test_a_substitute_keeps_the_case() -> None:
    text = "PLEASE Please please " * 2_000
    noisy = TyposNoise(rate=0.2)(text, Random(1)).split()
    for before, after in zip(text.split(), noisy, strict=True):
        if len(before) == len(after) and kind_of(before, after) == "substitute":
            assert [c.isupper() for c in before] == [c.isupper() for c in after]


@pytest.mark.parametrize("rate", [-0.01, 0.21, 20, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused_in_plain_words(rate: float) -> None:
    with pytest.raises(RecipeError) as caught:
        registry.build("noise", "typos", {"rate": rate})
    message = str(caught.value)
    assert message.startswith("noise 'typos': ")
    assert "rate must be between 0 and 0.2 typos per character" in message
    assert str(rate) in message
    assert "Value error" not in message


def test_a_rate_can_be_set_as_a_scalar() -> None:
    assert registry.build("noise", "typos", {"": 0.05}) == TyposNoise(rate=0.05)
