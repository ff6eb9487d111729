"""Words and phrases cut short as in a chat (``pls``, ``u``, ``btw``) or at work (``dept.``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.shorthand import BUSINESS, CHAT, ShorthandStyle
from weave_async.noise.sites import check_rate, taken

Phrases = Mapping[str, Sequence[tuple[str, Sequence[str]]]]
"""By their first word, the longest first, with their short forms."""


@dataclass(frozen=True, slots=True)
class AbbreviationsNoise:
    """Writes words and phrases in their short form; in a chat ``I`` is ``i``, too.

    ``rate`` is the share of its sites that change: words and phrases that have a short form in this
    ``style``, which is ``chat`` (please → pls, because → bc, by the way → btw) or ``business``
    (department → dept., as soon as possible → ASAP).
    """

    rate: float = 0.5
    style: ShorthandStyle = "chat"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        phrases, text = _phrases(self.style), passage.text
        lower = text.lower()
        if len(lower) != len(text):  # as with İ: offsets would shift
            lower = text
        sites, end = [], 0
        for start, word_end in passage.words:
            if start < end or (known := phrases.get(lower[start:word_end])) is None:
                continue
            for phrase, short in known:
                after = start + len(phrase)
                if (
                    lower.startswith(phrase, start)
                    and not lower[after : after + 1].isalnum()
                    and passage.is_free(start, after)
                ):
                    end = after
                    sites.append((start, end, short))
                    break
        if self.style == "chat":
            sites += [
                (start, end, ("i",)) for start, end in passage.words if text[start:end] == "I"
            ]
        for start, end, short in taken(sites, self.rate, rng):
            yield Edit(start, end, _fitting(text, start, end, rng.choice(short)))


def _fitting(text: str, start: int, end: int, short: str) -> str:
    """With a capital where the word had one, and without a second full stop."""
    if text[start].isupper() and text[start:end] != "I":
        short = short[0].upper() + short[1:]
    return short.removesuffix(".") if text[end : end + 1] == "." else short


@cache
def _phrases(style: ShorthandStyle) -> Phrases:
    by_first: dict[str, list[tuple[str, Sequence[str]]]] = {}
    shorthand = CHAT if style == "chat" else BUSINESS
    for phrase in sorted(shorthand, key=len, reverse=True):
        by_first.setdefault(phrase.split()[0], []).append((phrase, shorthand[phrase]))
    return by_first
