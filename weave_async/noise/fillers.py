"""Words without a meaning that people put in where they think: um, you know, like."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.sites import check_rate, taken

# Where a sentence begins, behind a comma, and in front of a word that joins two clauses.
_BORDER = re.compile(
    r"\A(?=\w)|(?<=[.!?] )(?=\w)|(?<=\w,)(?= \w)"
    r"|(?<=\w )(?=(?:and|because|but|if|or|so|when|where|which|while)\b)"
)
_OPENERS = frozenset(
    """
    a after an and are as at before but can could did do does for from had has have hello here
    hey hi how i'd if in is it it's its let my on our please should since so some sorry tell
    thank thanks that the their there these they this those to was we were what when where which who
    why will with would yes you your
    """.split()  # noqa: SIM905 - read as words
)


@dataclass(frozen=True, slots=True)
class FillersNoise:
    """Puts fillers where a clause begins.

    ``rate`` is the share of its sites that get one: the beginnings of sentences, the places behind
    a comma and those in front of a joining word (and, because, ...). ``fillers`` are the words to
    put there; none may hold a negator.
    """

    rate: float = 0.3
    fillers: Sequence[str] = ("um", "uh", "you know", "basically", "like", "I mean", "well")

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not self.fillers or not all(filler.strip() for filler in self.fillers):
            raise ValueError("fillers must be a list of words to put in, and none of them empty")

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        text = passage.text
        sites = [at for each in _BORDER.finditer(text) if passage.is_free(at := each.start(), at)]
        for at in taken(sites, self.rate, rng):
            filler = rng.choice(self.fillers)
            if at > 0 and text[at - 1] == ",":
                yield Edit(at, at, f" {filler},")
            elif at > 0 and text[at - 2] not in ".!?":
                yield Edit(at, at, f"{filler} ")
            else:
                yield _opening(passage, at, filler)


def _opening(passage: Passage, at: int, filler: str) -> Edit:
    """The filler at the beginning of a sentence takes over the capital, if no name has it."""
    first = passage.text[at]
    if first.islower():
        return Edit(at, at, f"{filler}, ")
    filler = filler[0].upper() + filler[1:]
    word = _WORD.match(passage.text, at)
    if word and word.group().lower() in _OPENERS and passage.is_free(at, at + 1):
        return Edit(at, at + 1, f"{filler}, {first.lower()}")
    return Edit(at, at, f"{filler}, ")


_WORD = re.compile(r"[\w']{1,10}")
