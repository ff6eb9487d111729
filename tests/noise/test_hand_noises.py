"""What holds for all noises of typing hands, whatever they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_async.interfaces import EditingNoise
from weave_async.noise.abbreviations import AbbreviationsNoise
from weave_async.noise.casing import CasingNoise
from weave_async.noise.contractions import ContractionsNoise
from weave_async.noise.edits import Passage, Span, applied
from weave_async.noise.emoji import EmojiNoise
from weave_async.noise.fillers import FillersNoise
from weave_async.noise.lock import softened
from weave_async.noise.misspellings import MisspellingsNoise
from weave_async.noise.punctuation import PunctuationNoise
from weave_async.noise.truncation import TruncationNoise
from weave_async.noise.typos import TyposNoise
from weave_async.noise.whitespace import WhitespaceNoise

from .noisy import SENTENCES, passages, varied

Make = Callable[[float], EditingNoise]

NOISES: dict[str, Make] = {
    "typos": lambda rate: TyposNoise(rate / 5),
    "learner": lambda rate: TyposNoise(rate / 5, "learner", "azerty", capitalised=True),
    "misspellings": lambda rate: MisspellingsNoise(rate, "rules"),
    "lower": lambda rate: CasingNoise(rate, "lower"),
    "sentence": lambda rate: CasingNoise(rate, "sentence"),
    "emphasis": lambda rate: CasingNoise(rate, "emphasis"),
    "slips": lambda rate: CasingNoise(rate, "slips"),
    "mixed": lambda rate: CasingNoise(rate),
    "punctuation": lambda rate: PunctuationNoise(rate),
    "whitespace": lambda rate: WhitespaceNoise(rate),
    "contractions": lambda rate: ContractionsNoise(rate),
    "chat": lambda rate: AbbreviationsNoise(rate, "chat"),
    "business": lambda rate: AbbreviationsNoise(rate, "business"),
    "fillers": lambda rate: FillersNoise(rate),
    "emoji": lambda rate: EmojiNoise(rate, "clauses", most=3),
    "truncation": lambda rate: TruncationNoise(rate / 2),
}
each = pytest.mark.parametrize("make", NOISES.values(), ids=NOISES)
SEEDS = st.integers(0, 2**64)


@each
@settings(max_examples=40)
@given(passages(), st.floats(0, 1), SEEDS)
def test_nothing_protected_is_touched_and_the_edits_can_be_taken_back(
    make: Make, passage: tuple[str, list[Span]], rate: float, seed: int
) -> None:
    text, protected = passage
    noisy = varied(make(rate), text, seed, protected)
    at = 0
    for span in protected:
        at = noisy.find(text[span.start : span.end], at)
        assert at >= 0
        at += span.end - span.start


@each
def test_the_same_seed_makes_the_same_text_and_another_seed_another(make: Make) -> None:
    text = " ".join(SENTENCES * 5)
    noise = make(0.3)
    assert varied(noise, text, 1) == varied(noise, text, 1)
    if not isinstance(noise, TruncationNoise):
        assert len({varied(noise, text, seed) for seed in range(9)}) > 1


@each
@settings(max_examples=20)
@given(st.text(), SEEDS)
def test_rate_zero_changes_nothing(make: Make, text: str, seed: int) -> None:
    assert varied(make(0), text, seed) == text


@each
def test_a_text_with_a_site_never_comes_back_identical_however_low_the_rate(make: Make) -> None:
    text = (
        "We are going to call your manager, because it is so late. Please help, it isn't a really "
        "definite appointment. Thanks for the payment"
    )
    assert all(varied(make(0.001), text, seed) != text for seed in range(200))


@each
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_rate_that_is_no_share_is_refused(make: Make, rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be between 0 and "):
        make(rate)


@each
def test_half_as_much_when_softened(make: Make) -> None:
    noise = make(1)
    assert softened(noise).rate == noise.rate / 2  # type: ignore[attr-defined]


@each
def test_the_lock_gets_edits_inside_the_text(make: Make) -> None:
    for seed, text in enumerate(SENTENCES):
        for edit in make(0.5).edits(Passage(text), Random(seed)):
            assert 0 <= edit.start <= edit.end <= len(text)


@each
@pytest.mark.parametrize(
    "piece", ["x", "word ", "Aa ", ", ", "' ", "  ", "It's the ", ". A", "?", "\n", "I'd've'"]
)
def test_a_long_text_takes_time_as_its_length(make: Make, piece: str) -> None:
    # Short parts first: where time grows with the square, they tell before the whole text hangs.
    noise = make(0.05)
    for num_chars in (1_000, 10_000, 60_000):
        passage = Passage((piece * num_chars)[:num_chars])
        began = time.thread_time()  # of our own CPU: others may need theirs
        applied(passage, noise.edits(passage, Random(0)))
        assert time.thread_time() - began < 2, f"{num_chars} characters"


RATED = NOISES.keys() - {"truncation", "mixed", "typos", "learner"}


@pytest.mark.parametrize("name", sorted(RATED))
@pytest.mark.parametrize("rate", [0.1, 0.37])
def test_as_many_sites_change_as_were_asked_for(name: str, rate: float) -> None:
    """All sites there are: what rate 1 changes. Typos, of other sites, have their own test."""
    text = " ".join(SENTENCES[:5] * 40)
    passage, make = Passage(text), NOISES[name]
    all_sites = len(list(make(1).edits(passage, Random(0))))
    changed = [len(list(make(rate).edits(passage, Random(seed)))) for seed in range(20)]
    assert sum(changed) / len(changed) == pytest.approx(rate * all_sites, rel=0.05)
