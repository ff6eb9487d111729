"""Words misspelt as people misspell them: by a slip of the finger, or since they do not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nlargest
from random import Random

from weave_async.noise.edits import Edit, Passage, num_edits
from weave_async.noise.keyboards import Layout
from weave_async.noise.misspelling import ProfileName, speller

_LATIN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿĀ-ſ]+")
_MIN_LETTERS = 3
_MAX_ACRONYM = 5  # letters
_BETWEEN = " \t\"'“”‘’()*_#>-"  # blanks, quotes, brackets, what opens a list or a heading


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
        words = self._words(passage)
        num_letters = sum([end - start for start, end in passage.words])
        wanted = min(num_edits(self.rate, num_letters, rng), len(words))
        if wanted == 0:
            return
        # Without replacement, and by length: a word of ten letters has ten chances.
        chances = [rng.random() ** (1 / len(word)) for _, word in words]
        spell = speller(self.profile, self.layout)
        for index in nlargest(wanted, range(len(words)), key=chances.__getitem__):
            at, word = words[index]
            for start, end, after in spell.edits(word, rng):
                yield Edit(at + start, at + end, after)

    def _words(self, passage: Passage) -> list[tuple[int, str]]:
        """Where the words begin that may be misspelt, and the words."""
        text, words = passage.text, []
        for start, end in passage.words:
            if end - start < _MIN_LETTERS:
                continue
            word = text[start:end]
            if (word.islower() or self._may_have_capitals(text, start, word)) and (
                word.isalpha() and (word.isascii() or _LATIN.fullmatch(word))
            ):
                words.append((start, word))
        return words

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
