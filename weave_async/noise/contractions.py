"""``it is`` → ``it's`` and back, as far as that is without doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.sites import check_rate, taken, with_case_of

_NEGATED = {  # the negator stays one: n't says not
    **{f"{verb} not": f"{verb}n't" for verb in ("is", "are", "was", "were", "do", "does", "did")},
    **{f"{verb} not": f"{verb}n't" for verb in ("has", "have", "had", "would", "could", "should")},
    "cannot": "can't",
    "will not": "won't",
}
_ENDINGS = {"am": "m", "are": "re", "is": "s", "have": "ve", "will": "ll", "would": "d"}
_SUBJECTS = {
    "am": ("i",),
    "are": ("you", "we", "they"),
    "is": ("he", "she", "it", "that", "what", "where", "who", "how", "there", "here"),
    "have": ("i", "you", "we", "they"),
    "will": ("i", "you", "he", "she", "it", "we", "they"),
    "would": ("i", "you", "he", "she", "we", "they"),
}
_POSITIVE = {
    f"{subject} {verb}": f"{subject}'{_ENDINGS[verb]}"
    for verb, subjects in _SUBJECTS.items()
    for subject in subjects
}
_SHORT = {**_POSITIVE, **_NEGATED, "let us": "let's"}
# 's may be `has` or a genitive, 'd may be `had`: these two are only made, and 's undone where what
# follows leaves no doubt.
_LONG = {short: long for long, short in _SHORT.items() if not short.endswith(("'s", "'d"))}
_LONG |= {f"{subject}'s": f"{subject} is" for subject in _SUBJECTS["is"]} | {"let's": "let us"}

# A verb with nothing behind it cannot be shortened ("tell me what it is"), and neither can one
# whose object stands in front ("what it is remains unclear").
_OBJECTS = ("what", "who", "where", "which", "how", "whatever", "whoever", "wherever", "than", "as")
_WITH_MORE = r"(?= (?!and\b|or\b|but\b|so\b|that\b|if\b|when\b)\w)"
_AFTER_IS = r"(?= (?:an?|the|so|very|too|my|your|our|their|his|not|\w{2,}ing)\b)"
_NO_QUESTION = r"(?![\w'’])(?! (?:i|you|he|she|it|we|they|this|that|there)\b)"  # isn't it
_NO_OWNING = r"(?!\w+ have (?:an?|the|to|some|any|no|my|your|more)\b)"  # you have a cat
_LONG_FORM = (
    rf"{_NO_OWNING}(?:{'|'.join(_POSITIVE)}){_WITH_MORE}"
    rf"|(?:{'|'.join(_NEGATED)}|let us(?= \w))(?![\w'’])"
)
_SHORT_FORM = (
    rf"\w+['’](?:m|re|ve|ll)(?![\w'’])|\w+n['’]t{_NO_QUESTION}|let['’]s(?= \w)|\w+['’]s{_AFTER_IS}"
)
_EITHER = re.compile(rf"(?<![\w'’])(?:(?P<long>{_LONG_FORM})|{_SHORT_FORM})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContractionsNoise:
    """Writes ``it is`` as ``it's`` and ``don't`` as ``do not``, or the other way round.

    ``rate`` is the share of its sites that change: places that can be written in both ways, without
    a doubt about what is meant. ``to`` makes them ``contracted`` or ``expanded`` only, or ``both``.
    """

    rewrites: ClassVar[frozenset[str]] = frozenset(("negator",))

    rate: float = 0.5
    to: Literal["contracted", "expanded", "both"] = "both"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        sites = []
        for match in _EITHER.finditer(passage.text):
            before = match.group()
            is_long = match["long"] is not None
            known = _SHORT if is_long else _LONG
            after = known.get(before.lower().replace("’", "'"))
            if is_long and _word_before(passage.text, match.start()) in _OBJECTS:
                continue
            if after and self.to != ("expanded" if is_long else "contracted"):
                sites.append((*match.span(), before, after))
        free = [site for site in sites if passage.is_free(site[0], site[1])]
        for start, end, before, after in taken(free, self.rate, rng):
            yield Edit(start, end, _cased(before, after))


def _word_before(text: str, start: int) -> str:
    return text[max(0, start - 12) : start].rstrip().rpartition(" ")[2].lower()


def _cased(before: str, after: str) -> str:
    if before[0].lower() == "i" and before[1:2] in (" ", "'", "’"):  # I am, I'm
        return before[0] + (after[1:].upper() if before[1:].isupper() else after[1:])
    return with_case_of(before, after)
