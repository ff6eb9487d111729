"""Emoji behind sentences and clauses, without a feeling in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.sites import check_rate, taken

# Behind a sentence's mark, or a last word without one. What asks must go on ending with its mark:
# there the emoji stands before it.
_SENTENCE = re.compile(r"(?<=[^\s.!?][.!])(?=\s|\Z)|(?<=[^\s.!?])(?=\?|\s*\Z)")
_CLAUSE = re.compile(rf"{_SENTENCE.pattern}|(?<=\w)(?=[,;] )")


@dataclass(frozen=True, slots=True)
class EmojiNoise:
    """Adds emoji.

    ``rate`` is the share of its sites that get one: the ends of sentences, and with ``where:
    clauses`` those of clauses before a comma, too. ``emoji`` are those to draw from; the default
    ones say nothing about a mood. ``most`` is how many may stand together.
    """

    rate: float = 0.5
    where: Literal["sentences", "clauses"] = "sentences"
    emoji: Sequence[str] = ("👀", "📝", "💬", "📌", "📎", "🔎", "💭", "✨", "🤖", "📱")
    most: int = 1

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not self.emoji or not all(each.strip() for each in self.emoji):
            raise ValueError("emoji must be a list of those to add, and none of them empty")
        if not 1 <= self.most <= 5:
            raise ValueError("most must be between 1 and 5 emoji that stand together")

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        border = _CLAUSE if self.where == "clauses" else _SENTENCE
        places = (match.start() for match in border.finditer(passage.text))
        sites = [at for at in places if passage.is_free(at, at)]
        # Before a question mark, which has to stay the last, only where there is no other place.
        sites = [at for at in sites if passage.text[at : at + 1] != "?"] or sites
        for at in taken(sites, self.rate, rng):
            yield Edit(at, at, " " + rng.choice(self.emoji) * rng.randint(1, self.most))
