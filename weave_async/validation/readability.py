"""How hard English prose is to read, by two published formulas.

Flesch reading ease: R. Flesch, "A new readability yardstick", Journal of Applied Psychology 32
(1948). Flesch-Kincaid grade: J. P. Kincaid et al., "Derivation of new readability formulas",
Research Branch Report 8-75, Naval Technical Training Command (1975).

Both count syllables, which spelling tells only roughly: a group of vowels is one, "y" counts as a
vowel, and a silent ending is none ("e", "es", "ed"; but "-le" after a consonant is one).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.code import without_code

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?:\s|\Z)|\n\s*\n|\n(?=[ \t]*[-*•\d])")
_VOWELS = re.compile(r"[aeiouyà-öø-ÿ]+")
_SILENT = re.compile(r"(?:[^aeiouylr]e|[aeiouy][lr]e|[^aeiouytd]ed|[^aeiouyszxcgh]es)\Z")
_HIATUS = re.compile(r"i[ao](?!u)|eo(?!u)|ua|uou|yi|[aeiou]ing\Z|ism\Z")
_NO_HIATUS = re.compile(r"[ctsgx]i[ao]|qua|gua|geo[nu]")


@dataclass(frozen=True, slots=True)
class ReadabilityValidator:
    """Bounds on how hard the completion is to read, inclusive; for English only.

    ``min_grade`` and ``max_grade`` bound the Flesch-Kincaid grade (school years that it takes to
    understand it: 5 is easy, 12 the end of school, above 16 for experts). ``min_ease`` and
    ``max_ease`` bound the Flesch reading ease (90 is very easy, 60 plain, below 30 very hard).
    Texts of fewer than ``min_words`` words pass: the formulas are averages, and say nothing there.
    Code is left out.
    """

    max_grade: float | None = None
    min_grade: float | None = None
    min_ease: float | None = None
    max_ease: float | None = None
    min_words: int = 30

    def __post_init__(self) -> None:
        bounds = [self.min_grade, self.max_grade, self.min_ease, self.max_ease]
        if all(bound is None for bound in bounds):
            raise ValueError("set max_grade, min_grade, min_ease or max_ease")
        for name, low, high in (
            ("grade", self.min_grade, self.max_grade),
            ("ease", self.min_ease, self.max_ease),
        ):
            if low is not None and high is not None and low > high:
                raise ValueError(f"min_{name} {low} is above max_{name} {high}")
        if self.min_words < 1:
            raise ValueError(f"min_words {self.min_words} must be at least 1")

    def __call__(self, sample: Sample) -> Verdict:
        counted = counts(sample.completion)
        if counted["words"] < self.min_words:
            return ACCEPTED
        measures = (
            ("grade", grade(**counted), self.min_grade, self.max_grade),
            ("ease", ease(**counted), self.min_ease, self.max_ease),
        )
        for name, value, low, high in measures:
            evidence: dict[str, Any] = {name: round(value, 1), **counted}
            if low is not None and value < low:
                return Verdict(False, f"{name}_too_low", {**evidence, f"min_{name}": low})
            if high is not None and value > high:
                return Verdict(False, f"{name}_too_high", {**evidence, f"max_{name}": high})
        return ACCEPTED


def ease(words: int, sentences: int, syllables: int) -> float:
    """Flesch (1948)."""
    return 206.835 - 1.015 * words / sentences - 84.6 * syllables / words


def grade(words: int, sentences: int, syllables: int) -> float:
    """Kincaid et al. (1975)."""
    return 0.39 * words / sentences + 11.8 * syllables / words - 15.59


def counts(text: str) -> dict[str, int]:
    """Words, sentences and syllables. A paragraph or an item of a list ends a sentence, too."""
    text = without_code(text)
    words = _WORD.findall(text)
    pieces = _SENTENCE_END.split(text)
    sentences = sum(bool(_WORD.search(piece)) for piece in pieces)
    return {
        "words": len(words),
        "sentences": max(1, sentences),
        "syllables": sum(map(syllables_in, words)),
    }


def syllables_in(word: str) -> int:
    """As far as spelling tells."""
    word = word.lower().replace("’", "'").removesuffix("'s")
    groups = len(_VOWELS.findall(word))
    if groups > 1 and _SILENT.search(word):
        groups -= 1
    groups += len(_HIATUS.findall(word)) - len(_NO_HIATUS.findall(word))
    return max(1, groups)
