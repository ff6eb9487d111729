"""Input that was cut off: sent too early, or too long for its field."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from weave_async.noise.edits import Edit, Passage, num_edits
from weave_async.noise.sites import check_rate

_MOST = 0.5


_JOINER = "\u200d"
_SKIN_TONES = "🏻🏼🏽🏾🏿"


def _may_part(left: str, right: str) -> bool:
    """Whether they are characters of their own: no letter and its accent, no parts of an emoji."""
    if not right or (left.isascii() and right.isascii()):
        return (left, right) != ("\r", "\n")
    return (
        _JOINER not in (left, right)
        and right not in _SKIN_TONES
        and not unicodedata.category(right).startswith("M")
    )


@dataclass(frozen=True, slots=True)
class TruncationNoise:
    """Cuts off the end of a text.

    ``rate`` is the share of its characters that are lost, at most 0.5; how many texts are cut at
    all is the ``probability`` that any noise has. ``at`` is where: ``character``, mostly amid a
    word; ``word``, behind the last whole word that is left. What is protected stays, with all
    before it, and so does a question mark: a text that ends with one is left as it is.
    """

    rate: float = 0.1
    at: Literal["character", "word"] = "character"

    def __post_init__(self) -> None:
        check_rate(self.rate, _MOST)

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        text = passage.text
        end = len(text.rstrip())
        protected = passage.protected[-1].end if passage.protected else 0
        least = max(protected, text.rfind("?") + 1, 1)
        cut = end - num_edits(self.rate, end, rng)
        if self.at == "word":
            while cut > least and not (text[cut - 1].isalnum() and not text[cut].isalnum()):
                cut -= 1
        while cut > least and not _may_part(text[cut - 1], text[cut : cut + 1]):
            cut -= 1
        cut = max(cut, least)
        if cut < end and self.rate > 0:
            yield Edit(cut, len(text), "")
