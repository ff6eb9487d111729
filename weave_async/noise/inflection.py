"""Regular English endings: taken off a word, and put on another one."""

from __future__ import annotations

from collections.abc import Iterator

_VOWELS = "aeiou"
_STRESSED_ENDS = ("mit", "cur", "pel", "gret", "refer", "defer", "infer", "confer")
_HISSING = ("s", "x", "z", "ch", "sh")


def plural(noun: str) -> str:
    """``box`` → ``boxes``; also the third person of a verb: ``try`` → ``tries``."""
    if noun.endswith(_HISSING):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def past(verb: str) -> str:
    """``try`` → ``tried``, ``stop`` → ``stopped``."""
    if verb.endswith("e"):
        return f"{verb}d"
    if verb.endswith("y") and verb[-2:-1] not in _VOWELS:
        return f"{verb[:-1]}ied"
    return f"{_doubled(verb)}ed"


def gerund(verb: str) -> str:
    """``take`` → ``taking``, ``stop`` → ``stopping``."""
    if verb.endswith("ie"):
        return f"{verb[:-2]}ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return f"{verb[:-1]}ing"
    return f"{_doubled(verb)}ing"


def forms(word: str, part_of_speech: str) -> Iterator[str]:
    """The word in all its forms, in an order that is the same for all of one part of speech.

    Nouns (``n``) have two forms, verbs (``v``) four, all others one.
    """
    yield word
    if part_of_speech in ("n", "v"):
        yield plural(word)
    if part_of_speech == "v":
        yield past(word)
        yield gerund(word)


def _doubled(verb: str) -> str:
    """The last letter twice, as in verbs that end like ``stop`` or ``permit``."""
    is_short = len(verb) <= 5 and sum(letter in _VOWELS for letter in verb) == 1
    ends_so = verb[-2:-1] in _VOWELS and verb[-1] not in "aeiouwxy"
    return verb + verb[-1] if (is_short and ends_so) or verb.endswith(_STRESSED_ENDS) else verb
