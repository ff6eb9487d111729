"""Words spelt as people wrongly spell them, from a list of real misspellings or by rules."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from random import Random
from typing import Literal

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.misspelling import TELLING
from weave_async.noise.phonetics import misspelt
from weave_async.noise.sites import check_rate, taken, with_case_of

logger = logging.getLogger(__name__)

_VOWELS = "aeiouy"
_SOUND_ALIKE = (_VOWELS, "csz", "ckqx", "dt", "fv", "gj", "bp", "mn", "vw", "lr")


@dataclass(frozen=True, slots=True)
class MisspellingsNoise:
    """Misspells words in the ways that are known for them.

    ``rate`` is the share of its sites that change: words with a known misspelling. ``source`` is
    where they are known from: ``codespell``, tens of thousands that people have made (extra
    ``noise``), ``rules`` of English spelling (ph → f, doubled letters, ie/ei, -ible/-able, silent
    letters), or ``auto``: codespell where it is installed. To get the same text on another
    machine, name one of the two.
    """

    rate: float = 0.2
    source: Literal["auto", "codespell", "rules"] = "auto"

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if self.source == "codespell" and not _has_codespell():
            raise ValueError(
                "source: codespell is not installed: pip install 'weave-async[noise]', "
                "or take source: rules"
            )

    @property
    def source_in_use(self) -> Literal["codespell", "rules"]:
        if self.source == "auto":
            return "codespell" if _has_codespell() else "rules"
        return self.source

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        known = _known_to(self.source_in_use)
        sites = []
        for start, end in passage.words:
            word = passage.text[start:end]
            wrong = known(word.lower())
            if wrong and (word.isupper() or word[1:].islower()):
                sites.append((start, word, wrong))
        for start, word, wrong in taken(sites, self.rate, rng):
            yield _smallest(start, word, with_case_of(word, rng.choice(wrong)))


def _smallest(start: int, before: str, after: str) -> Edit:
    """The edit of what differs, without the letters that both begin and end with."""
    same = _same_start(before, after)
    left, right = before[same:], after[same:]
    tail = _same_start(left[::-1], right[::-1])
    return Edit(start + same, start + len(before) - tail, right[: len(right) - tail])


def _same_start(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


@cache
def _has_codespell() -> bool:
    return find_spec("codespell_lib") is not None


@cache
def _known_to(source: Literal["codespell", "rules"]) -> Callable[[str], Sequence[str] | None]:
    """Looks up the misspellings of a word in small letters."""
    if source == "rules":
        logger.info("misspellings come from rules of spelling")
        return misspelt
    found = _codespell()
    logger.info("misspellings of %d words come from codespell", len(found))
    return found.get


def _is_slip(wrong: str, correct: str) -> bool:
    """Whether a finger has slipped, which is for ``typos``, rather than the speller erred: one
    consonant too many, or one letter for another that sounds like no other.
    """
    edit = _smallest(0, correct, wrong)
    before, after = correct[edit.start : edit.end], edit.after
    if not before and len(after) == 1:
        neighbours = correct[max(0, edit.start - 1) : edit.start + 1]
        return after not in neighbours and (after not in _VOWELS or edit.start == 0)
    if len(before) == len(after) == 1:
        return not any(before in alike and after in alike for alike in _SOUND_ALIKE)
    return False


def _codespell() -> Mapping[str, Sequence[str]]:
    """Correct word → misspellings, of codespell's entries with one correction and no reservation.

    The list is share-alike (CC BY-SA): it is read where it is installed, and never shipped.
    """
    path = files("codespell_lib") / "data" / "dictionary.txt"
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        wrong, _, correct = line.lower().partition("->")
        # A comma: there are several corrections, or a reason to take none.
        if not (correct.isalpha() and wrong.isalpha()) or {wrong, correct} & TELLING:
            continue
        if not _is_slip(wrong, correct):
            found.setdefault(correct, []).append(wrong)
    return found
