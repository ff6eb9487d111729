"""Capitals as people forget, slip into, and shout them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.sites import check_rate, taken
from weave_async.noise.typos import begins_sentence

Style = Literal["lower", "sentence", "emphasis", "slips"]

_EMPHATIC = frozenset(
    """
    absolutely actually again all always amazing any anyone anything asap awful bad best better big
    completely definitely every everyone everything exactly extremely first great help huge
    immediately important just least literally many more most much must need now only please really
    same seriously so still terrible today too totally truly unacceptable urgent urgently very want
    worst wrong
    """.split()  # noqa: SIM905 - read as words
)
_WEIGHTS: dict[Style, int] = {"lower": 45, "sentence": 25, "emphasis": 15, "slips": 15}


@dataclass(frozen=True, slots=True)
class CasingNoise:
    """Changes capital letters, in one ``style`` throughout a text.

    ``rate`` is the share of its sites that change. By style the sites are: ``lower``, words with
    capitals, which lose them; ``sentence``, capitals at the beginning of a sentence, which go;
    ``emphasis``, words that people stress, written in CAPITALS (any word of four letters, where
    there is none); ``slips``, words with a capital, for which the shift key was held too long
    (THis). ``mixed`` draws one for each text among those that have a site in it.
    """

    rate: float = 1.0
    style: Literal["lower", "sentence", "emphasis", "slips", "mixed"] = "mixed"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def edits(self, passage: Passage, rng: Random) -> Sequence[Edit]:
        if self.style != "mixed":
            return taken(_sites(passage, self.style), self.rate, rng)
        left = dict(_WEIGHTS)
        while left:
            style = rng.choices(list(left), list(left.values()))[0]
            if sites := _sites(passage, style):
                # Nobody shouts every word or slips in each: these two are sparing.
                sparing = 1.0 if style in ("lower", "sentence") else 0.2
                return taken(sites, self.rate * sparing, rng)
            del left[style]
        return ()


def _sites(passage: Passage, style: Style) -> Sequence[Edit]:
    """Edits for all places; letters of scripts without capitals offer none."""
    text = passage.text
    words = [(start, end, text[start:end]) for start, end in passage.words]
    if style == "lower":
        edits = [Edit(start, end, word.lower()) for start, end, word in words if not word.islower()]
    elif style == "sentence":
        edits = [
            Edit(start, start + 1, word[0].lower())
            for start, _, word in words
            if word[0].isupper() and not word[1:].isupper() and begins_sentence(text, start)
        ]
    elif style == "emphasis":
        stressed = [each for each in words if each[2].lower() in _EMPHATIC]
        loud = stressed or [each for each in words if len(each[2]) >= 4]
        edits = [Edit(start, end, word.upper()) for start, end, word in loud]
    else:  # the shift key held for two letters of a word that has a capital
        edits = [
            Edit(start + 1, start + 2, word[1].upper())
            for start, _, word in words
            if word[0].isupper() and word[1:].islower()
        ]
    return [edit for edit in edits if edit.after != text[edit.start : edit.end]]
