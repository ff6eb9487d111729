"""What holds for all noises of speech, print, formats, names and words, whatever they do."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_async.interfaces import EditingNoise
from weave_async.noise.asr import AsrNoise
from weave_async.noise.code_switch import CodeSwitchNoise
from weave_async.noise.edits import Span
from weave_async.noise.entities import EntitiesNoise
from weave_async.noise.lock import MeaningLock, softened
from weave_async.noise.markup import MarkupNoise
from weave_async.noise.ocr import OcrNoise
from weave_async.noise.quantities import values_in
from weave_async.noise.spans import ProtectedSpans
from weave_async.noise.synonyms import SynonymsNoise
from weave_async.noise.units_and_formats import UnitsAndFormatsNoise

from .noisy import passages, varied

Make = Callable[[float], EditingNoise]

NOISES: dict[str, Make] = {
    "asr": lambda rate: AsrNoise(rate, homophones=rate),
    "ocr": lambda rate: OcrNoise(rate, line_breaks=rate),
    "units_and_formats": UnitsAndFormatsNoise,
    "entities": EntitiesNoise,
    "html": lambda rate: MarkupNoise(rate, "html"),
    "markdown": lambda rate: MarkupNoise(rate, "markdown"),
    "quote": lambda rate: MarkupNoise(rate, "quote"),
    "paste": lambda rate: MarkupNoise(rate, "paste"),
    "markup": MarkupNoise,
    "code_switch": lambda rate: CodeSwitchNoise("de", rate),
    "synonyms": SynonymsNoise,
}
each = pytest.mark.parametrize("make", NOISES.values(), ids=NOISES)
SEEDS = st.integers(0, 2**64 - 1)
TEXTS = (
    "Anna Miller doesn't pay $1,250 for 5 km; she can't. Is their weather good in Boston today?",
    "On March 5, 2024 at 3pm we met 25 people. Why didn't the doctor buy a house, or sell it?",
    "It is a huge problem & nobody knows. Please see https://a.example/b-1?c=2 or mail me@a.com!",
    "They're here with my book, I don't know whether my friend Thomas will fix it by 2024-01-31",
    "never mind: {name} said `x = 5` and the modern office flooded, so 12,000 letters got lost",
)


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
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TEXTS), st.floats(0.01, 1), SEEDS)
def test_the_lock_finds_nothing_broken_at_the_first_try(
    make: Make, text: str, rate: float, seed: int
) -> None:
    result = MeaningLock(ProtectedSpans()).vary(make(rate), text, Random(seed), seed)
    assert result.broken == ()
    assert values_in(result.text) == values_in(text)


@each
def test_a_text_with_a_site_never_comes_back_identical(make: Make) -> None:
    text = (
        "Anna saw their big mistake, and paid $5 & more. Because of that my friend bought\n"
        "a new book of 300 pages about modern offices, in the city where it all began. Why?"
    )
    rate = 1.0 if make is EntitiesNoise else 0.001  # a name is new or is not, in the whole sample
    assert all(varied(make(rate), text, seed) != text for seed in range(100))


@each
def test_the_same_seed_makes_the_same_text(make: Make) -> None:
    lock, text = MeaningLock(ProtectedSpans()), "\n".join(TEXTS)
    texts = {lock.vary(make(0.5), text, Random(seed), seed).text for seed in (1, 1, 2, 3, 4)}
    assert len({lock.vary(make(0.5), text, Random(1), 1).text for _ in range(3)}) == 1
    assert len(texts) > 2


@each
@settings(max_examples=20)
@given(st.text() | st.sampled_from(TEXTS), SEEDS)
def test_rate_zero_changes_nothing(make: Make, text: str, seed: int) -> None:
    assert varied(make(0), text, seed) == text


@each
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_rate_that_is_no_share_is_refused(make: Make, rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be between 0 and 1"):
        make(rate)


@each
def test_half_as_much_when_softened(make: Make) -> None:
    assert softened(make(1)).rate == 0.5


@each
@pytest.mark.parametrize(
    "shape", ["Anna's 5 km, ", "word", "a ", "1,", "March ", "? ", "\n", "Smith "]
)
def test_a_long_text_of_any_shape_takes_no_time(make: Make, shape: str) -> None:
    text = shape * (60_000 // len(shape))
    for part in (text[: len(text) // share] for share in (27, 9, 3, 1)):
        began = time.thread_time()
        varied(make(0.1), part)
        assert time.thread_time() - began < 4, f"{len(part)} characters"


def test_a_scanner_misreads_as_much_of_a_long_text_as_was_asked_for() -> None:
    text = "Is anyone at the gravestone of everyone whose nose is closed in those phones? " * 20
    passage = ProtectedSpans().passage(text)
    num_sites = len(list(OcrNoise(1, line_breaks=0).edits(passage, Random(0))))
    results = [
        MeaningLock(ProtectedSpans()).vary(OcrNoise(0.3, line_breaks=0), text, Random(seed))
        for seed in range(20)
    ]
    delivered = sum(len(each.changes) for each in results) / 20 / num_sites
    assert abs(delivered / 0.3 - 1) < 0.05
