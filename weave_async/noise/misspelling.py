"""How people misspell a word: the kinds of errors, their places, and how often each occurs.

The rates are those of pairs that people made: ``typing`` of the 57,687 pairs of the codespell
dictionary, ``learner`` of the 34,846 of the Birkbeck corpus. They were counted; neither list is
shipped. Kinds are of the pairs with one edit.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from random import Random
from typing import Literal, NamedTuple

from weave_async.noise.edits import Edit
from weave_async.noise.keyboards import Layout, neighbours

ProfileName = Literal["typing", "learner"]
Kind = Literal["delete", "insert", "substitute", "transpose"]

_KINDS: tuple[Kind, ...] = ("delete", "insert", "substitute", "transpose")
_TRIES = 8
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_VOWELS = "aeiouy"
# Which vowel people write for which, of the same pairs, in %.
_VOWEL_FOR: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "a": ("eiou", (60, 20, 15, 5)),
    "e": ("aiouy", (57, 28, 11, 4, 1)),
    "i": ("aeouy", (23, 35, 14, 14, 14)),
    "o": ("aeiu", (26, 31, 22, 21)),
    "u": ("aeioy", (17, 17, 40, 22, 4)),
    "y": ("aeiou", (2, 3, 83, 3, 8)),
}
_WRONG_VOWEL = {"a": 21, "e": 27, "i": 25, "o": 14, "u": 8, "y": 4}  # what is written for, in %
_CONSONANT_FIRST = 0.7  # of words: those whose first letter cannot become another vowel

TELLING = frozenset(
    """
    no nor not nope nah none never nothing nobody aint cant dont isnt shant wont ne ni nie pas
    rien sans sin one two four five six nine ten half
    """.split()  # noqa: SIM905 - read as words
)
"""Words that no misspelling may turn into: ``then`` → ``ten``, ``now`` → ``no``. The lock on
meaning would refuse the whole text for it.
"""


class Profile(NamedTuple):
    """Shares of misspellings; ``substitute_…`` and ``insert_…`` are of those kinds alone."""

    distances: tuple[float, float, float, float]
    """With one edit, two, three, and more."""
    first_letter: float
    kinds: tuple[float, float, float, float]
    """In the order delete, insert, substitute, transpose."""
    substitute_neighbour: float
    substitute_vowel: float
    insert_repeats: float


PROFILES: Mapping[ProfileName, Profile] = {
    "typing": Profile(
        (0.823, 0.138, 0.027, 0.011), 0.020, (0.335, 0.280, 0.198, 0.186), 0.313, 0.508, 0.323
    ),
    "learner": Profile(
        (0.330, 0.249, 0.181, 0.240), 0.096, (0.336, 0.221, 0.380, 0.062), 0.135, 0.603, 0.224
    ),
}


@dataclass(frozen=True, slots=True)
class Speller:
    """Misspells words as in a profile, on a keyboard."""

    profile: Profile
    distances: Sequence[float]
    """Borders between 0 and 1: a draw below the first is one edit, below the second two, ..."""
    kinds: Sequence[float]
    """The same of the kinds."""
    neighbours: Mapping[str, str]
    neighbour_share: float
    """Of substitutions that are not of a vowel for a vowel: those by a neighbouring key."""
    first_share: float
    """Of errors that can hit the first letter, so that ``profile.first_letter`` of all do."""

    def edits(self, word: str, rng: Random) -> list[Edit]:
        """Edits of a word of three letters or more, small ones, which do not undo each other.

        A word gets at most half as many as it has letters, or it could be any word.
        """
        distance = min(1 + bisect(self.distances, rng.random()), len(word) // 2)
        for _ in range(_TRIES):
            edits = self._one_edit(word, rng) if distance == 1 else self._some(word, distance, rng)
            misspelt = _edited(word, edits)
            if misspelt != word and misspelt.lower() not in TELLING:
                return edits
        return [Edit(len(word), len(word), word[-1])]

    def _one_edit(self, word: str, rng: Random) -> list[Edit]:
        kind = _KINDS[bisect(self.kinds, rng.random())]
        is_vowel = kind == "substitute" and rng.random() < self.profile.substitute_vowel
        if rng.random() < self.first_share and not (is_vowel and word[0].lower() not in _VOWELS):
            return [self._edit(kind, word, 0, rng, is_vowel)]
        places: Sequence[int] = range(1, len(word))
        if is_vowel:
            vowels = [at for at in places if word[at].lower() in _VOWELS]
            places, is_vowel = vowels or places, bool(vowels)
        elif kind == "transpose":
            places = [at for at in range(1, len(word) - 1) if word[at] != word[at + 1]]
        return [self._edit(kind, word, rng.choice(places), rng, is_vowel)] if places else []

    def _some(self, word: str, distance: int, rng: Random) -> list[Edit]:
        first = 0 if rng.random() < self.profile.first_letter else 1
        # Letters that are no neighbours: drawn from fewer, then moved apart.
        room = range(first, len(word) - distance + 1)
        drawn = rng.sample(room, min(distance, len(room)))
        if first == 0:
            drawn[0] = 0
        places = [at + index for index, at in enumerate(sorted(set(drawn)))]
        edits = []
        for at in places:
            kind = _KINDS[bisect(self.kinds, rng.random())]
            if kind == "transpose" and (at + 1 == len(word) or word[at] == word[at + 1]):
                kind = "substitute"
            is_vowel = word[at].lower() in _VOWELS and rng.random() < self.profile.substitute_vowel
            edits.append(self._edit(kind, word, at, rng, is_vowel))
        return edits

    def _edit(self, kind: Kind, word: str, at: int, rng: Random, is_vowel: bool) -> Edit:
        letter = word[at]
        if kind == "delete":
            return Edit(at, at + 1, "")
        if kind == "transpose":
            return Edit(at, at + 2, _cased(letter, word[at + 1]) + _cased(word[at + 1], letter))
        if kind == "substitute":
            other = self._vowel(letter, rng) if is_vowel else self._other(letter, rng)
            return Edit(at, at + 1, _cased(letter, other))
        inserted = self._inserted(word, at, rng)
        if at > 0:
            return Edit(at + 1, at + 1, inserted)
        return Edit(0, 1, _cased(letter, inserted) + (letter if word.isupper() else letter.lower()))

    def _vowel(self, letter: str, rng: Random) -> str:
        return rng.choices(*_VOWEL_FOR[letter.lower()])[0]

    def _other(self, letter: str, rng: Random) -> str:
        """Another letter, but no vowel for a vowel."""
        letter = letter.lower()
        near = self.neighbours.get(letter, "")
        others = near if rng.random() < self.neighbour_share else _LETTERS
        barred = letter + (_VOWELS if letter in _VOWELS else "") + (near if others != near else "")
        left = [other for other in others if other not in barred]
        return rng.choice(left or _LETTERS.replace(letter, ""))

    def _inserted(self, word: str, at: int, rng: Random) -> str:
        """A letter to stand behind that at ``at``, or in front of the first."""
        if at > 0 and rng.random() < self.profile.insert_repeats / (1 - self.first_share):
            letter = word[at]
        else:
            beside = word[at : at + 2] if at > 0 else word[0]
            letter = rng.choice([each for each in _LETTERS if each not in beside.lower()])
        return letter.upper() if word.isupper() else letter.lower()


@cache
def speller(name: ProfileName, layout: Layout) -> Speller:
    """The speller of that profile and keyboard."""
    profile, near = PROFILES[name], neighbours(layout)
    vowels_near = sum(
        _WRONG_VOWEL[vowel] * share
        for vowel, (others, shares) in _VOWEL_FOR.items()
        for other, share in zip(others, shares, strict=True)
        if other in near[vowel]
    ) / sum(_WRONG_VOWEL[vowel] * sum(shares) for vowel, (_, shares) in _VOWEL_FOR.items())
    vowel = profile.substitute_vowel
    barred = profile.kinds[2] * vowel * _CONSONANT_FIRST
    return Speller(
        profile,
        _borders(profile.distances),
        _borders(profile.kinds),
        near,
        neighbour_share=max(0, profile.substitute_neighbour - vowel * vowels_near) / (1 - vowel),
        first_share=profile.first_letter / (1 - barred),
    )


def _borders(shares: Sequence[float]) -> Sequence[float]:
    sums = list(accumulate(shares))
    return [each / sums[-1] for each in sums[:-1]]


def _cased(like: str, letter: str) -> str:
    return letter.upper() if like.isupper() else letter.lower()


def _edited(word: str, edits: list[Edit]) -> str:
    for start, end, after in reversed(edits):
        word = word[:start] + after + word[end:]
    return word
