"""Swear words and slurs, also where their letters are disguised.

A list says nothing of what is meant: it does not find insults in polite words, and it finds its
words in a quotation. For hostility there is ``toxicity``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as option
from functools import cache
from itertools import groupby
from typing import Literal, get_args

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.turns import Field, turns

Level = Literal["strong", "usual", "slur"]
MAX_NAMED = 5
MIN_PLAIN_LETTERS = 2
"""In a word with stars or digits for letters, those that are written out."""

# Words that mean little else. Those with decent uses are left out (a cock crows, Dick is a name,
# fire is retarded, "summa cum laude"), and so is what is mild ("damn", "crap", "ass").
_VERBS: dict[Level, str] = {
    "strong": "fuck motherfuck mindfuck buttfuck cocksuck",
    "usual": "shit bullshit bitch wank",
    "slur": "",
}
_NOUNS: dict[Level, str] = {
    "strong": "cunt clusterfuck fuckwit fuckface",
    "usual": "asshole arsehole dickhead shithead dipshit dumbass jackass fatass douchebag"
    " blowjob handjob whore slut pussie twat wanker bellend shitshow batshit horseshit apeshit"
    " jizz bollock",
    "slur": "nigger nigga faggot kike wetback raghead towelhead tranny trannie",
}
_VERB_ENDINGS = ("", "s", "es", "ed", "er", "ers", "in", "ing", "ings", "y", "ty", "ting", "ted")
_NOUN_ENDINGS = ("", "s", "y")

_LOOKS = str.maketrans("@4310$57!|€", "aaeiosstiie")
"""What stands for a letter that looks like it."""
_TOKEN = re.compile(r"[\w@$!|€*]+")
_SPACED = re.compile(r"(?<![\w.*-])[\w@$!](?:[ .*_-][\w@$!]){2,15}(?![\w*-])")


@cache
def _words(level: Level) -> frozenset[str]:
    verbs = (stem + ending for stem in _VERBS[level].split() for ending in _VERB_ENDINGS)
    nouns = (stem + ending for stem in _NOUNS[level].split() for ending in _NOUN_ENDINGS)
    return frozenset((*verbs, *nouns))


@dataclass(frozen=True, slots=True)
class ProfanityValidator:
    """Refuses swear words and slurs (English), as whole words in any case.

    Disguises are seen through: ``sh1t``, ``f*ck``, ``f.u.c.k``, ``fuuuck``. ``levels`` are the
    lists that count: ``strong``, ``usual``, ``slur``; mild words ("damn", "crap") and those with a
    decent meaning are on none. ``also`` adds words of one's own, ``allow`` takes words out.
    """

    field: Field = "both"
    levels: list[Level] = option(default_factory=lambda: list(get_args(Level)))
    also: list[str] = option(default_factory=list)
    allow: list[str] = option(default_factory=list)
    _words: frozenset[str] = option(init=False, repr=False)
    _by_start: dict[tuple[int, str], list[str]] = option(init=False, repr=False)
    """By their length and first letter, which disguises leave."""

    def __post_init__(self) -> None:
        if split := [word for word in self.also if not word.isalpha()]:
            raise ValueError(f"also: {split[0]!r} is not one word of letters only")
        words = {word.lower() for word in self.also}.union(*map(_words, self.levels))
        words -= {word.lower() for word in self.allow}
        by_start: dict[tuple[int, str], list[str]] = {}
        for word in sorted(words):
            by_start.setdefault((len(word), word[0]), []).append(word)
        object.__setattr__(self, "_words", frozenset(words))
        object.__setattr__(self, "_by_start", by_start)

    def __call__(self, sample: Sample) -> Verdict:
        for index, message in turns(sample, self.field):
            if found := list(self._found(message.content)):
                words = [message.content[start:end] for start, end in found[:MAX_NAMED]]
                evidence = {"words": words, "count": len(found), "at": found[0][0]}
                return Verdict(False, "profanity", {"message": index, **evidence})
        return ACCEPTED

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        for match in _TOKEN.finditer(text):
            if self._is_listed(match.group().lower()):
                yield match.span()
        for match in _SPACED.finditer(text):
            if self._is_listed(match.group()[::2].lower()):
                yield match.span()

    def _is_listed(self, token: str) -> bool:
        if token in self._words:
            return True
        if token.isdigit():
            return False
        token = token.rstrip("!|")  # "shit!" ends in a mark, and not in an i
        if token in self._words:
            return True
        if "*" in token.strip("*"):
            return self._is_starred(token.strip("*"))
        if not token.isalpha():
            if sum(map(str.isalpha, token)) < MIN_PLAIN_LETTERS:
                return False
            token = token.strip("*_").translate(_LOOKS)
        elif not _REPEATED.search(token):
            return False
        return any(spelling in self._words for spelling in _spellings(token))

    def _is_starred(self, token: str) -> bool:
        if len(token) - token.count("*") < MIN_PLAIN_LETTERS:
            return False
        shape = token.translate(_LOOKS)
        return any(
            all(sign in ("*", letter) for sign, letter in zip(shape, word, strict=True))
            for word in self._by_start.get((len(shape), shape[0]), ())
        )


_REPEATED = re.compile(r"(.)\1\1")


def _spellings(token: str) -> Iterator[str]:
    """The token as it is, and with drawn-out letters once and twice."""
    yield token
    runs = [(letter, sum(1 for _ in run)) for letter, run in groupby(token)]
    yield "".join(letter for letter, _ in runs)
    yield "".join(letter * (1 if count > 2 else count) for letter, count in runs)
    yield "".join(letter * min(count, 2) for letter, count in runs)
