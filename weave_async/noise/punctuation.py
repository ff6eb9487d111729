"""Marks left out, doubled, and with blanks where they do not belong. Question marks stay."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.sites import check_rate, taken

Kind = Literal["dropped", "doubled", "unspaced", "spaced"]

# A mark behind a word, and an apostrophe within one, but not that of n't: it negates.
_MARK = re.compile(r"(?<=\w)[.,;:!?](?=\s|\Z)|(?<=\w)['’](?!t\b)(?=[a-z])", re.IGNORECASE)
_MARK_KINDS: dict[str, dict[Kind, int]] = {
    ".": {"dropped": 60, "doubled": 20, "unspaced": 8, "spaced": 12},
    ",": {"dropped": 60, "doubled": 5, "unspaced": 25, "spaced": 10},
    ";": {"dropped": 50, "unspaced": 25, "spaced": 25},
    ":": {"dropped": 50, "unspaced": 25, "spaced": 25},
    "!": {"dropped": 30, "doubled": 50, "spaced": 20},
    "?": {"spaced": 1},
    "'": {"dropped": 1},
    "’": {"dropped": 1},
}
_DOUBLED = {".": ("..", "..."), ",": (",,",), "!": ("!!", "!!!")}


@dataclass(frozen=True, slots=True)
class PunctuationNoise:
    """Drops, doubles and misplaces marks.

    ``rate`` is the share of its sites that change: marks ``. , ; : !`` behind a word, and
    apostrophes within one, but not that of n't. ``kinds`` are those to make: ``dropped``,
    ``doubled`` (``!!``, ``...``), ``unspaced`` (no blank behind the mark), ``spaced`` (a blank in
    front of it). A question mark may get a blank, and is never dropped or doubled.
    """

    rate: float = 0.3
    kinds: Sequence[Kind] = field(default=("dropped", "doubled", "unspaced", "spaced"))

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not self.kinds:
            raise ValueError("kinds must name one of dropped, doubled, unspaced, spaced, or more")

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        text, sites = passage.text, []
        for match in _MARK.finditer(text):
            at = match.start()
            kinds = [kind for kind in _MARK_KINDS[match.group()] if kind in self.kinds]
            # `3, 50` must not become `3,50`: nothing protected may stand on either side.
            if at + 2 >= len(text) or not passage.is_free(at - 1, at + 3):
                kinds = [kind for kind in kinds if kind != "unspaced"]
            if text[at - 1].isdigit():  # `in 4, people think`: the next word would become its unit
                kinds = [kind for kind in kinds if kind != "dropped"]
            is_within_word = match.group() in "'’"  # AI's, with a protected AI, must not become AIs
            if kinds and passage.is_free(at - is_within_word, at + 1 + is_within_word):
                sites.append((at, kinds))
        for at, kinds in taken(sites, self.rate, rng):
            mark = text[at]
            kind = rng.choices(kinds, [_MARK_KINDS[mark][kind] for kind in kinds])[0]
            yield _edit(at, mark, kind, rng)


def _edit(at: int, mark: str, kind: Kind, rng: Random) -> Edit:
    if kind == "dropped":
        return Edit(at, at + 1, "")
    if kind == "doubled":
        return Edit(at, at + 1, rng.choice(_DOUBLED[mark]))
    if kind == "unspaced":
        return Edit(at + 1, at + 2, "")
    return Edit(at, at, " ")
