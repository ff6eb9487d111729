"""Words that carry the meaning whatever stands around them: negators, number words, days."""

from __future__ import annotations

import re
from collections.abc import Iterator

from weave_async.noise.edits import Span


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AUXILIARIES = _words(
    "ai are ca could dare did does do had has have is may might must need ought sha should was were"
    " wo would"
)
NEGATORS = _words(
    """
    not no nor none nope nah nobody nothing nowhere never neither cannot without hardly barely
    scarcely idk dunno
    nicht kein keine keiner keines keinem keinen nie niemals niemand niemandem niemanden nichts
    ohne weder nirgends
    ne pas jamais aucun aucune rien sans ni
    nunca nadie nada ningún ningun ninguno ninguna sin tampoco jamás jamas
    """
) | {f"{verb}n{mark}t" for verb in _AUXILIARIES for mark in ("'", "’", "ʼ", "")}
"""As people write them in English, and the usual ones of German, French and Spanish."""

NUMBER_WORDS = _words(
    """
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
    seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
    hundreds thousand thousands million millions billion billions dozen dozens half twice percent
    first second third fourth fifth sixth seventh eighth ninth tenth
    """
)
DATE_WORDS = _words(
    """
    monday tuesday wednesday thursday friday saturday sunday january february april june july august
    september october november december today tomorrow yesterday tonight
    montag dienstag mittwoch donnerstag freitag samstag sonntag januar februar märz juni juli
    oktober dezember
    """
)
MONTHS = (
    r"Jan(?:uary|uar|vier)?|Feb(?:ruary|ruar)?|M(?:arch|ar|ärz|ars)|Apr(?:il)?|Ma[iy]|Jun[ei]?"
    r"|Jul[yi]?|Aug(?:ust)?|Sept?(?:ember)?|O[ck]t(?:ober)?|Nov(?:ember)?|De[cz](?:ember)?"
)
_MONTH_FIRST = re.compile(
    rf"(?:{MONTHS})\b\.?(?:\s\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s\d{{4}})?(?![\w:-]|[.,]\d)"
    r"|,?\s\d{4}(?![\w:-]))"
)
MONTH_NAMES = _words(
    """
    jan january januar janvier feb february februar mar march märz mars apr april may mai jun june
    juni jul july juli aug august sep sept september oct okt october oktober nov november dec dez
    december dezember
    """
)
KIND_OF = (
    dict.fromkeys(MONTH_NAMES, "month")
    | dict.fromkeys(DATE_WORDS - MONTH_NAMES, "date")
    | dict.fromkeys(NUMBER_WORDS, "number")
    | dict.fromkeys(NEGATORS, "negator")
)
WORD = re.compile(r"[^\W\d_]+(?:['’ʼ]t\b)?")
_ASCII_WORD = re.compile(r"[a-z]+(?:'t\b)?")  # the same of small letters, in half the time
_WORD_HERE = re.compile(rf"(?<![^\W\d_]){WORD.pattern}")


def words_in(lower: str) -> list[str]:
    """The words of a text in small letters: ``don't`` is one, ``dog's`` gives ``dog``."""
    return (_ASCII_WORD if lower.isascii() else WORD).findall(lower)


def telling_words(text: str) -> Iterator[Span]:
    """The words of a text that are known for themselves, and dates that begin with a month."""
    lower = text.lower()
    if len(lower) != len(text):  # as with İ: places would shift
        lower = text
    end = 0
    for word in [word for word in words_in(lower) if word in KIND_OF]:
        start = lower.find(word, end)
        while (match := _WORD_HERE.match(lower, start)) is None or match.group() != word:
            start = lower.find(word, start + 1)  # it was a part of another word
        end = start + len(word)
        kind = KIND_OF[word]
        if kind == "month":
            if (date := _MONTH_FIRST.match(text, start)) is not None:
                yield Span(start, date.end(), "date")
            elif word in DATE_WORDS:
                yield Span(start, end, "date")
        else:
            yield Span(start, end, kind)
