"""Misspellings by rules of English spelling, for words that no list knows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

# Written as it sounds, with a letter too many or too few, or with the ending of another word.
_RULES = (
    (r"ph", "f"),
    (r"ie", "ei"),
    (r"ei", "ie"),
    (r"(?<=[a-z]{2})ible\b", "able"),
    (r"(?<=[a-z]{3})able\b", "ible"),
    (r"ibility\b", "ability"),
    (r"(?<=[a-z]{3})ance\b", "ence"),
    (r"(?<=[a-z]{3})ence\b", "ance"),
    (r"(?<=[a-z]{3})ant\b", "ent"),
    (r"(?<=[a-z]{3})ent\b", "ant"),
    (r"(?<=[a-z]{3})er\b", "or"),
    (r"(?<=[a-z]{3})or\b", "er"),
    (r"ary\b", "ery"),
    (r"ery\b", "ary"),
    (r"(?<=[a-z]{2})tion\b", "sion"),
    (r"ssion\b", "tion"),
    (r"cian\b", "tion"),
    (r"ful\b", "full"),
    (r"ully\b", "uly"),
    (r"ely\b", "ly"),
    (r"(?<=[a-z]{2})ite(?=ly\b|\b)", "ate"),
    (r"(?<=[a-z]{2})ate(?=ly\b)", "ite"),
    (r"eous\b", "ious"),
    (r"(?<=[aeiou])([bdfglmnprst])\1(?=[aeiouy])", r"\1"),
    (r"ll\b", "l"),
    (r"(?<=[a-z][aeiou])([lmnprst])(?=[aeiou][a-z]{2})", r"\1\1"),
    (r"\bkn", "n"),
    (r"\bwr", "r"),
    (r"\bwh(?=[aei])", "w"),
    (r"\bgu(?=[aei])", "g"),
    (r"mb\b", "m"),
    (r"mn\b", "m"),
    (r"sc(?=[ei])", "s"),
    (r"(?<=[a-z])ght", "gth"),
    (r"(?<=[st])h(?=[mr])", ""),
    (r"ough\b", "uff"),
    (r"augh", "auf"),
    (r"ch(?=[aeo]\w*\b)(?<=\bch)", "k"),
    (r"(?<=[a-z])c(?=[ei])", "s"),
    (r"(?<=[aeiou])s(?=[ei]\w)", "c"),
    (r"cq", "q"),
    (r"ck(?=[a-z])", "k"),
    (r"dge", "ge"),
    (r"tch", "ch"),
    (r"ea(?=[dlmnrst])", "ee"),
    (r"ee(?=[dlmnprt])", "ea"),
    (r"(?<=[a-z])ai(?=[nlr])", "ia"),
    (r"ou(?=r[a-z])", "o"),
    (r"(?<=[a-z][a-z])e(?=ment\b)", ""),
    (r"(?<=[a-z]{2}[^aeiou])e(?=[nrt][a-z])", "a"),
    (r"(?<=[a-z]{2}[^aeiou])a(?=[nrt][a-z])", "e"),
    (r"(?<=[a-z]{2}[^aeiou])i(?=[nt][a-z]{2})", "e"),
)
_MIN_LETTERS = 4


@lru_cache(maxsize=1 << 16)
def misspelt(word: str) -> Sequence[str]:
    """How a word in small letters would be misspelt, by one rule in one place; maybe no way."""
    if len(word) < _MIN_LETTERS or not (word.isascii() and word.isalpha()):
        return ()
    found = {
        word[: match.start()] + match.expand(wrong) + word[match.end() :]
        for pattern, wrong in _compiled()
        for match in pattern.finditer(word)
    }
    return sorted(found - {word})


@lru_cache(maxsize=1)
def _compiled() -> Sequence[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), wrong) for pattern, wrong in _RULES]
