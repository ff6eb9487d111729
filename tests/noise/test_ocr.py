"""Text as it comes out of a scanner."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.edits import Passage
from weave_async.noise.ocr import OcrNoise
from weave_async.noise.quantities import values_in

from .noisy import varied

TEXT = (
    "the modern clinic offered a final, official illustration of Oslo, and I flew till dawn; " * 40
)


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_a_figure_never_begins_a_word_and_no_number_arises(seed: int, rate: float) -> None:
    noisy = varied(OcrNoise(rate), TEXT[:400], seed)
    assert not re.search(r"(?<![^\W\d_])\d", re.sub(r"(?<=[^\W\d_])\d+", "", noisy))
    assert not values_in(noisy)


def test_the_rate_is_the_share_of_glyphs_misread() -> None:
    few, many = (
        len(list(OcrNoise(rate, line_breaks=0).edits(_passage(TEXT), Random(1))))
        for rate in (0.05, 0.5)
    )
    assert many == pytest.approx(few * 10, rel=0.02)


def test_what_looks_alike_most_is_confused_most() -> None:
    counts = Counter(
        (TEXT[edit.start : edit.end], edit.after)
        for seed in range(30)
        for edit in OcrNoise(0.1, line_breaks=0).edits(_passage(TEXT), Random(seed))
    )
    per_site = {pair: count / TEXT.count(pair[0]) for pair, count in counts.items()}
    assert per_site["rn", "m"] > per_site["e", "c"] > per_site["a", "o"]
    assert ("fi", "ﬁ") in counts
    assert ("fl", "ﬂ") in counts


def test_lines_end_where_a_printed_line_would_and_long_words_are_hyphenated() -> None:
    text = "a word of communication about internationalisations " * 20
    noisy = varied(OcrNoise(0, line_breaks=1, line_chars=40), text.strip())
    lines = noisy.split("\n")
    assert all(len(line) <= 41 for line in lines)
    assert any(line.endswith("-") for line in lines)
    assert noisy.replace("-\n", "").replace("\n", " ") == text.strip()


@pytest.mark.parametrize(
    "options", [{"line_breaks": 2}, {"line_breaks": float("nan")}, {"line_chars": 5}]
)
def test_lines_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="line_"):
        OcrNoise(**options)  # type: ignore[arg-type]


def _passage(text: str) -> Passage:
    return Passage(text)
