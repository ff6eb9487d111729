"""Words misspelt as people misspell them: by a slip of the finger, or since they do not know."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import accumulate
from random import Random

from weave_async.noise.edits import Edit, Passage, num_edits
from weave_async.noise.keyboards import Layout
from weave_async.noise.misspelling import ProfileName, speller

_LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿĀ-ſ]+")
_MIN_LETTERS = 3
_DRAWS = 4  # for each word wanted
_MAX_ACRONYM = 5  # letters
_BETWEEN = " \t\"'“”‘’()*_#>-"  # blanks, quotes, brackets, what opens a list or a heading

Word = tuple[int, int]  # where it begins and ends


@dataclass(frozen=True, slots=True)
class TyposNoise:
    """Misspells words of three letters and more, the long ones more often.

    ``rate`` is typos, that is misspelt words, per letter of free text: 0.02 is about one word in
    ten. ``profile`` says whose: ``typing``, where most have one wrong key, or ``learner``, where
    two in three have more. ``layout`` is the keyboard: ``qwerty``, ``qwertz``, ``azerty``,
    ``dvorak``, ``colemak``. Acronyms, and words with a capital within a sentence, which may be
    names, stay as they are; ``capitalised: true`` misspells the latter, too (German nouns).
    """

    rate: float = 0.02
    profile: ProfileName = "typing"
    layout: Layout = "qwerty"
    capitalised: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 0.2:
            raise ValueError("rate must be between 0 and 0.2 typos per letter")

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        text, spell = passage.text, speller(self.profile, self.layout)
        for at, end in self._drawn(text, passage.words, rng):
            for begin, until, after in spell.edits(text[at:end], rng):
                yield Edit(at + begin, at + until, after)

    def _drawn(self, text: str, words: Sequence[Word], rng: Random) -> Collection[Word]:
        """The words to misspell, by length: one of ten letters has ten chances."""
        cumulated = list(accumulate([end - start for start, end in words]))
        wanted = num_edits(self.rate, cumulated[-1] if words else 0, rng)
        drawn = dict[Word, None]()
        for _ in range(_DRAWS * wanted):  # of all words: most may be misspelt
            if len(drawn) == wanted:
                return drawn
            word = words[bisect(cumulated, rng.random() * cumulated[-1])]
            if self._may_change(text, *word):
                drawn[word] = None
        left = [word for word in words if word not in drawn and self._may_change(text, *word)]
        # Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006.
        keys = {(start, end): rng.random() ** (1 / (end - start)) for start, end in left}
        return [*drawn, *nlargest(wanted - len(drawn), left, key=keys.__getitem__)]

    def _may_change(self, text: str, start: int, end: int) -> bool:
        word = text[start:end]
        return (
            end - start >= _MIN_LETTERS
            and word.isalpha()
            and (word.islower() or self._may_have_capitals(text, start, word))
            and (word.isascii() or _LATIN.fullmatch(word) is not None)
        )

    def _may_have_capitals(self, text: str, start: int, word: str) -> bool:
        if word.isupper():
            return len(word) > _MAX_ACRONYM
        if not word[1:].islower():
            return False
        return self.capitalised or begins_sentence(text, start)


def begins_sentence(text: str, start: int) -> bool:
    """Whether nothing, a mark that ends one, or the end of a line stands before ``start``."""
    while start > 0 and text[start - 1] in _BETWEEN:
        start -= 1
    return start == 0 or text[start - 1] in ".!?:…\n"
