"""Blanks doubled, forgotten, and turned into tabs or line breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.sites import check_rate, taken

_GAP = re.compile(r"[ \t](?<=\S.)[ \t]*+(?=\S)")
_LINE_END = re.compile(r"\n(?<=\S\n)")
_KINDS = ("doubled", "missing", "tab", "line break")
_WEIGHTS = (60, 10, 10, 20)


@dataclass(frozen=True, slots=True)
class WhitespaceNoise:
    """Doubles blanks, leaves them out, and makes tabs and line breaks of them.

    ``rate`` is the share of its sites that change: the gaps between words, and the ends of lines,
    where blanks trail. Few are left out, and only between plain words; and lines break only in
    front of a word, or a dash could make a list.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        text = passage.text
        gaps = list(map(re.Match.span, _GAP.finditer(text)))
        ends = [(match.start(), match.start()) for match in _LINE_END.finditer(text)]
        if text and not text[-1].isspace():
            ends.append((len(text), len(text)))
        sites = passage.only_free(gaps) + passage.only_free(ends)
        for start, end in taken(sites, self.rate, rng):
            if start == end:
                yield Edit(start, end, rng.choice((" ", "  ")))
                continue
            kind = rng.choices(_KINDS, _WEIGHTS)[0]
            before, after = text[start - 1], text[end]
            are_words = before.isalpha() and after.isalpha()
            if kind == "missing" and are_words and passage.is_free(start - 1, end + 1):
                yield Edit(start, end, "")
            elif kind == "line break" and after.isalpha():
                yield Edit(start, end, "\n")
            elif kind == "tab" and text[start:end] != "\t":
                yield Edit(start, end, "\t")
            else:
                yield Edit(start, end, text[start:end] + " ")
