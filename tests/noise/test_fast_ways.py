"""Where a fast way is taken: that it finds what the slow one does."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from weave_async.noise.edits import Passage, Span
from weave_async.noise.quantities import _QUANTITY, quantities_in
from weave_async.noise.telling_words import WORD, telling_words, words_in

SENTENCES = Path(__file__).parents[2] / "benchmarks" / "noise_texts.txt"
PIECES = """
    twenty five one hundred and point minus - − $ € US$ C$ a us 5 1,000 12.5 3pm 4:30 2024-03-05
    03/04/2024 March may 5th USD usd km °C % k thousand _ he11o first -5 $-5 (3) foo_25 Jan. ² ½ 7
""".split()  # noqa: SIM905 - read as words


@pytest.mark.parametrize("seed", range(50))
def test_many_places_are_free_that_are_free_one_by_one(seed: int) -> None:
    rng = Random(seed)
    borders = sorted(rng.choices(range(60), k=2 * rng.randrange(6)))
    protected = [
        Span(start, end, "term")
        for start, end in zip(borders[::2], borders[1::2], strict=True)
        if start < end
    ]
    passage = Passage("x" * 60, protected)
    starts = sorted(rng.sample(range(60), 15))
    for width in (0, 1, 4):
        places = [(start, min(60, start + width)) for start in starts]
        assert passage.only_free(places) == [each for each in places if passage.is_free(*each)]


def test_quantities_begin_where_the_pattern_finds_them() -> None:
    rng = Random(5)
    for _ in range(1000):
        text = "".join(
            rng.choice(PIECES) + rng.choice((" ", " ", "", "-", "\n"))
            for _ in range(rng.randint(1, 8))
        )
        found = [quantity.start for quantity in quantities_in(text)]
        matches = list(_QUANTITY.finditer(text))
        assert len(found) >= len(matches), text
        assert all(any(m.start() <= at < m.end() for m in matches) for at in found), text


def test_telling_words_are_whole_words_in_order() -> None:
    """Not the ``no`` in ``know``, but the one behind it."""
    text = "i know no one, notably not me; don't ask, nobody knows"
    spans = list(telling_words(text))
    assert [text[span.start : span.end] for span in spans] == [
        "no",
        "one",
        "not",
        "don't",
        "nobody",
    ]
    assert spans[0].start == text.index(" no ") + 1


@pytest.mark.parametrize("text", SENTENCES.read_text(encoding="utf-8").splitlines())
def test_ascii_words_are_the_words(text: str) -> None:
    lower = text.lower()
    assert words_in(lower) == WORD.findall(lower)
    ascii_text, other = Passage(text), Passage(text + " é")
    assert ascii_text.words == other.words[:-1]
