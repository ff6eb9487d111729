"""Texts that are lists, menus or other remains of pages: by FineWeb's own filters.

The measures and the bounds for documents are those of section 3.6 in Penedo et al. 2024, "The
FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale",
https://arxiv.org/abs/2406.17557, and of the pipeline published with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import regex  # type: ignore[import-untyped]

from weave_async.records import Sample, Verdict
from weave_async.validation.bounds import (
    Bound,
    Bounds,
    Measure,
    TextKind,
    bounds_of,
    first_broken,
)
from weave_async.validation.text_units import duplicates, words

_DOCUMENT: Bounds = {
    "min_punctuated_lines": 0.12,
    "max_short_lines": 0.67,
    "short_line_chars": 30,
    "max_duplicate_chars": 0.01,
    "max_line_breaks_per_word": 0.3,
}
_CHAT: Bounds = {
    "min_punctuated_lines": None,  # many a good answer is a name or a number
    "max_short_lines": None,
    "short_line_chars": 30,
    "max_duplicate_chars": 0.2,
    "max_line_breaks_per_word": 0.5,
}
PRESETS: dict[TextKind, Bounds] = {
    "question": {**_CHAT, "max_line_breaks_per_word": 0.3},
    "chat": _CHAT,
    "paragraph": {  # of one line, which may end with a quotation mark
        **_DOCUMENT,
        "min_punctuated_lines": None,
        "max_duplicate_chars": 0.05,
    },
    "document": _DOCUMENT,
}


@dataclass(frozen=True, slots=True)
class FineWebValidator:
    """Refuses completions that look like remains of a page, by the rules of FineWeb.

    ``preset`` says what kind of text the rows are: ``document`` has the paper's bounds, the others
    have bounds for shorter texts. Each bound may be set by itself; ``null`` turns it off.
    ``min_punctuated_lines`` is the least share of lines that end a sentence; ``max_short_lines``
    bounds the share of lines of at most ``short_line_chars`` characters, ``max_duplicate_chars``
    the share of characters in lines that stood before already, and ``max_line_breaks_per_word`` the
    line breaks for each word.
    """

    preset: TextKind = "chat"
    min_punctuated_lines: Bound = "preset"
    max_short_lines: Bound = "preset"
    short_line_chars: Bound = "preset"
    max_duplicate_chars: Bound = "preset"
    max_line_breaks_per_word: Bound = "preset"
    _bounds: dict[str, float | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bounds", bounds_of(self, PRESETS))

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines:
            return Verdict(False, "empty")
        return first_broken(self._measures(text, lines), self._bounds)

    def _measures(self, text: str, lines: list[str]) -> Iterator[Measure]:
        share = sum(_ends_sentence(line[-1]) for line in lines) / len(lines)
        yield "unpunctuated_lines", "min_punctuated_lines", share
        short_line_chars = self._bounds["short_line_chars"] or 0
        share = sum(len(line) <= short_line_chars for line in lines) / len(lines)
        yield "short_lines", "max_short_lines", share
        num_breaks = text.count("\n")
        share = duplicates(lines)[1] / (len(text) - num_breaks)
        yield "duplicate_chars", "max_duplicate_chars", share
        most = self._bounds["max_line_breaks_per_word"]
        if most is not None and num_breaks / len(text.split()) > most:
            # The words need to be found only now: there are no fewer of them than of such pieces.
            per_word = num_breaks / len(words(text))
            yield "too_many_line_breaks", "max_line_breaks_per_word", per_word


@cache
def _ends_sentence(char: str) -> bool:
    """Whether it closes sentences in one of Unicode's scripts."""
    return regex.fullmatch(r"\p{Sentence_Terminal}", char) is not None
