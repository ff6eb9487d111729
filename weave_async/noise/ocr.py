"""Text as it comes out of a scanner: glyphs that look alike, broken ligatures, broken lines."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import nlargest
from random import Random

from weave_async.noise.edits import Edit, Passage, num_edits
from weave_async.noise.sites import check_rate

_Ways = tuple[tuple[str, float], ...]
_CONFUSIONS: dict[str, _Ways] = {
    # How often each is confused, relative to the others: shapes that differ by one thin stroke or a
    # gap lead, as in published confusion tables of printed Latin text. The order of magnitude is
    # meant, not the second digit.
    "rn": (("m", 9.0),),
    "m": (("rn", 4.0), ("in", 0.5), ("nn", 0.5)),
    "l": (("1", 3.0), ("I", 3.0), ("i", 1.0), ("t", 0.5)),
    "I": (("l", 6.0), ("1", 3.0)),
    "i": (("l", 2.0), ("1", 0.7), ("j", 0.4)),
    "O": (("0", 6.0), ("Q", 0.7), ("D", 0.5)),
    "o": (("0", 1.2), ("c", 0.7), ("a", 0.3)),
    "cl": (("d", 8.0),),
    "d": (("cl", 1.0),),
    "e": (("c", 2.5), ("o", 0.4)),
    "c": (("e", 2.5), ("o", 0.5)),
    "li": (("h", 1.0), ("ti", 0.5)),
    "ri": (("n", 2.0),),
    "vv": (("w", 8.0),),
    "w": (("vv", 1.5),),
    "nn": (("rm", 1.0), ("m", 0.5)),
    "h": (("b", 1.2), ("li", 0.8)),
    "b": (("h", 1.0), ("6", 0.3)),
    "n": (("u", 0.8), ("ri", 0.6)),
    "u": (("n", 0.7), ("ii", 0.3)),
    "a": (("o", 0.6), ("u", 0.3)),
    "t": (("f", 0.6), ("l", 0.5)),
    "f": (("t", 0.6),),
    "g": (("q", 0.8), ("9", 0.4)),
    "s": (("5", 0.4), ("a", 0.2)),
    "S": (("5", 2.0), ("8", 0.6)),
    "B": (("8", 2.0), ("R", 0.3)),
    "Z": (("2", 1.5),),
    "y": (("v", 0.6),),
    "ffi": (("ﬃ", 9.0), ("ffl", 2.0)),
    "fi": (("ﬁ", 9.0), ("f i", 2.0), ("ﬂ", 1.0), ("h", 0.5)),
    "fl": (("ﬂ", 9.0), ("f l", 2.0), ("ﬁ", 1.0)),
    "ff": (("ﬀ", 5.0), ("f f", 1.0)),
}
_TOTALS = {glyph: sum(weight for _, weight in ways) for glyph, ways in _CONFUSIONS.items()}
_MOST_CONFUSED = max(_TOTALS.values())
_ALONE = "".join(
    glyph
    for glyph in _CONFUSIONS
    if len(glyph) == 1 and not any(len(other) > 1 and other[0] == glyph for other in _CONFUSIONS)
)
_GLYPH = re.compile(  # most letters begin no pair: they come first
    "|".join((f"[{_ALONE}]", *sorted(_CONFUSIONS.keys() - {*_ALONE}, key=len, reverse=True)))
)
_DRAWS, _FEW = 40, 0.2  # draws for each glyph wanted; the rate above which all are looked at
_SAFE_FIRST = {  # without figures: at the beginning of a word one would make a number of it
    glyph: tuple(way for way in ways if not way[0].isdigit()) for glyph, ways in _CONFUSIONS.items()
}
_MIN_PART = 3
"""Letters of a word on each side of a hyphen."""


@dataclass(frozen=True, slots=True)
class OcrNoise:
    """Misreads glyphs as scanners do: ``rn`` as ``m``, ``l`` as ``1``, ``fi`` as ``ﬁ``.

    ``rate`` is the share of its sites that change: letters, or pairs of them, that are taken for
    others; those that are confused most often are hit most often. Figures only ever come into words
    behind a letter (``he1lo``): no number arises, and none is touched.

    ``line_breaks`` is the share of the line ends that are left in, at about every ``line_chars``
    characters of each line; where a long word stands there, it is hyphenated.
    """

    rate: float = 0.02
    line_breaks: float = 0.3
    line_chars: int = 60

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not 0 <= self.line_breaks <= 1:
            raise ValueError("line_breaks must be between 0 and 1: the share of line ends to leave")
        if self.line_chars < 10:
            raise ValueError("line_chars must be at least 10: characters in a printed line")

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        ends: list[Edit] = []
        if self.line_breaks:
            line_ends = _line_ends(passage, self.line_chars)
            ends = [end for end in line_ends if rng.random() < self.line_breaks]
        breaks = {edit.start for edit in ends}
        for (start, end), ways in _misread(passage, self.rate, breaks, rng).items():
            after = rng.choices(ways, [weight for _, weight in ways])[0][0]
            yield Edit(start, end, after)
        yield from ends


def _misread(
    passage: Passage, rate: float, breaks: Collection[int], rng: Random
) -> dict[tuple[int, int], _Ways]:
    """The glyphs to misread, and as what; those that are confused most often are drawn first."""
    text = passage.text
    glyphs = passage.only_free(list(map(re.Match.span, _GLYPH.finditer(text))))
    wanted = num_edits(rate, len(glyphs), rng)
    drawn: dict[tuple[int, int], _Ways] = {}
    for _ in range(_DRAWS * wanted if rate <= _FEW else 0):
        if len(drawn) == wanted:
            return drawn
        start, end = glyph = glyphs[int(rng.random() * len(glyphs))]
        if rng.random() * _MOST_CONFUSED < _TOTALS[text[start:end]] and (
            ways := _ways(passage, start, end, breaks)
        ):
            drawn[glyph] = ways
    left = {
        glyph: ways
        for glyph in glyphs
        if glyph not in drawn and (ways := _ways(passage, *glyph, breaks))
    }
    # Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
    keys = {(start, end): rng.random() ** (1 / _TOTALS[text[start:end]]) for start, end in left}
    first = nlargest(wanted - len(drawn), left, key=keys.__getitem__)
    return drawn | {glyph: left[glyph] for glyph in first}


def _ways(passage: Passage, start: int, end: int, breaks: Collection[int]) -> _Ways:
    """As what a glyph may be misread."""
    text, words = passage.text, passage.words
    at = bisect_right(words, (start, len(text))) - 1
    if at < 0 or words[at][1] < end:
        return ()  # a part of its word is protected
    word_start = words[at][0]
    if (
        text[word_start - 1 : word_start].isspace()
        and text[word_start - 2 : word_start - 1].isdigit()
    ):
        return ()  # behind a number a misread word may become its unit: `5 rni`
    if any(place in breaks for place in range(start + 1, end)):
        return ()
    is_within = start > word_start and start not in breaks and text[start - 1].isalpha()
    return (_CONFUSIONS if is_within else _SAFE_FIRST)[text[start:end]]


def _line_ends(passage: Passage, line_chars: int) -> list[Edit]:
    """Where printed lines would end: a blank, or a hyphen in a long word."""
    text, ends = passage.text, []
    start = 0
    while len(text) - start > line_chars:
        newline = text.find("\n", start, start + line_chars)
        if newline >= 0:
            start = newline + 1
            continue
        column = start + line_chars
        blank = text.rfind(" ", start + 1, column + 1)
        if blank < 0:
            start = column
            continue
        word_end = text.find(" ", blank + 1)
        word_end = len(text) if word_end < 0 else word_end
        end = _hyphenated(passage, blank + 1, word_end, column)
        if end is None and passage.is_free(blank, blank + 1):
            end = Edit(blank, blank + 1, "\n")
        if end is not None:
            ends.append(end)
        start = blank + 1
    return ends


def _hyphenated(passage: Passage, start: int, end: int, column: int) -> Edit | None:
    """A hyphen and a line's end in a word that is too long for its line."""
    at = min(column - 1, end - _MIN_PART)
    word = passage.text[start:end]
    if at - start < _MIN_PART or not word.isalpha() or not passage.is_free(start, end):
        return None
    return Edit(at, at, "-\n")
