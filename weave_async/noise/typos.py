"""Typing errors as people make them.

The rates are those of misspellings with one edit that people made while typing (the 57,687 pairs
of the codespell dictionary, counted; the list itself is not shipped): which kind of edit, how
rarely it hits the first letter, and what a wrong letter is replaced by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from weave_async.noise.edits import Edit, Passage

_KINDS = ("delete", "insert", "substitute", "transpose")
_KIND_WEIGHTS = (0.335, 0.280, 0.198, 0.186)
_FIRST_LETTER = 0.020
_SUBSTITUTE_VOWEL, _SUBSTITUTE_NEIGHBOUR = 0.508, 0.313
_INSERT_DOUBLES = 0.323

_VOWELS = "aeiou"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_WORD = re.compile(r"[A-Za-z]{3,}")


def _neighbours() -> dict[str, str]:
    """Keys that touch on a QWERTY keyboard, whose rows are shifted by half a key."""
    place = {key: (x + y / 2, y) for y, row in enumerate(_ROWS) for x, key in enumerate(row)}
    return {
        key: "".join(
            other
            for other, (ox, oy) in place.items()
            if other != key and abs(ox - x) <= 1 and abs(oy - y) <= 1
        )
        for key, (x, y) in place.items()
    }


_NEIGHBOURS = _neighbours()


@dataclass(frozen=True, slots=True)
class TyposNoise:
    """One wrong key in some of the words of three letters and more.

    ``rate`` is typos per character of free text: 0.02 is about one word in ten.
    """

    rate: float = 0.02

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 0.2:
            raise ValueError("rate must be between 0 and 0.2 typos per character")

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        for start, end in passage.words:
            word = passage.text[start:end]
            if _WORD.fullmatch(word) and rng.random() < self.rate * len(word):
                yield Edit(start, end, _misspell(word, rng))


def _misspell(word: str, rng: Random) -> str:
    at = 0 if rng.random() < _FIRST_LETTER else rng.randrange(1, len(word))
    kind = rng.choices(_KINDS, _KIND_WEIGHTS)[0]
    letter = word[at]
    if kind == "delete":
        return word[:at] + word[at + 1 :]
    if kind == "insert":
        return word[:at] + letter + _inserted(letter, rng) + word[at + 1 :]
    if kind == "substitute":
        return word[:at] + _substitute(letter, rng) + word[at + 1 :]
    left = 0 if at == 0 else max(1, at - 1)
    return word[:left] + word[left + 1] + word[left] + word[left + 2 :]


def _inserted(letter: str, rng: Random) -> str:
    return letter.lower() if rng.random() < _INSERT_DOUBLES else rng.choice(_LETTERS)


def _substitute(letter: str, rng: Random) -> str:
    lower, draw = letter.lower(), rng.random()
    if lower in _VOWELS and draw < _SUBSTITUTE_VOWEL:
        choices = _VOWELS
    elif draw < _SUBSTITUTE_VOWEL + _SUBSTITUTE_NEIGHBOUR:
        choices = _NEIGHBOURS[lower]
    else:
        choices = _LETTERS
    other = rng.choice(choices.replace(lower, ""))
    return other.upper() if letter.isupper() else other
