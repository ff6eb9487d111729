"""Words of another language among the English ones, as people write who live in two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from weave_async.noise.dictionaries import DICTIONARIES
from weave_async.noise.edits import Edit, Passage
from weave_async.noise.quantities import follows_number
from weave_async.noise.sites import check_rate, taken, with_case_of


@dataclass(frozen=True, slots=True)
class CodeSwitchNoise:
    """Puts words of another language in the place of common English ones.

    ``language`` is ``es``, ``de`` or ``fr``. ``rate`` is the share of its sites that change: words
    of a small dictionary, none of which negates, counts or names a day.
    """

    language: Literal["es", "de", "fr"] = "es"
    rate: float = 0.2

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        words = DICTIONARIES[self.language]
        sites = [
            (start, end, before, after)
            for start, end in passage.words
            if (after := words.get((before := passage.text[start:end]).lower())) is not None
            and after != before.lower()
            and not follows_number(passage.text, start)
        ]
        for start, end, before, after in taken(sites, self.rate, rng):
            yield Edit(start, end, with_case_of(before, after))
