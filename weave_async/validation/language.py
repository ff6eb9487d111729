"""Which language a text is in, by py3langid, whose model comes with it (extra ``validation``).

Short texts hold little to go by: of chat messages with fewer than ten letters the model names the
right language for half, of those with forty and more for practically all. Hence the rule refuses
only where it is sure of *another* language, and lets pass what is too short, code, or digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.code import without_code
from weave_async.validation.turns import Field, turns

MAX_CHARS = 5_000
"""Looked at of each text: more of it makes nobody surer."""
LETTERS_OF_AN_IDEOGRAM = 3
"""A Chinese character or a Korean syllable tells as much as a few letters."""

_COMMON_CODES = """
ar bg bn ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv ms nl no pl pt ro ru sk sl
sr sv ta te th tr uk ur vi zh
"""
_COMMON = frozenset(_COMMON_CODES.split())
"""Told from those that are wanted. The model's other hundred only draw short texts to them."""
_FURTHER_CODES = """
ace af am an ary arz as az ba bcl be br bs crh cy dz eo eu ext fo fuv fy ga gcf gcr gd gl gom grc gu
gug guw ha hbo ht hy ig is jv ka kab kik kk km kn ku ky la lb lg lij ln lo ltg mg mk ml mn mr mt my
ne nn nso oc om or pa pcm ps qu rw sa sdh se si sn so sq st sw tg tk tl tt ug uz uzs vec vo wa wuu
xh yo yue zu
"""
LANGUAGES = _COMMON | frozenset(_FURTHER_CODES.split())
"""All that the model knows; here, so that a recipe is checked without loading it."""
_NO_LANGUAGE = "zxx"
_KIN = (
    frozenset({"id", "ms"}),
    frozenset({"da", "nn", "no"}),
    frozenset({"bs", "hr", "sr"}),
    frozenset({"cs", "sk"}),
)
"""Too alike to be told apart in a line or two: where one is wanted the others are no objection,
and where none is they count together."""
_NO_WORDS = re.compile(r"https?://\S+|www\.\S+|\S*@\S+|<[^<>\n]{1,200}>|[\d_/\\#]+")
_LETTER = re.compile(r"[^\W\d_]")
_IDEOGRAM = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")


@dataclass(frozen=True, slots=True)
class LanguageValidator:
    """Refuses text that is surely in none of the ``allowed`` languages (``en``, ``[de, fr]``).

    ``min_confidence`` is how sure of the other language one has to be, between 0 and 1. Texts with
    fewer than ``min_letters`` letters pass, and so do code, addresses and digits, which are in no
    language. Of the ``prompt``, the user's turns count. Needs the extra ``validation``.
    """

    allowed: str | list[str]
    field: Field = "completion"
    min_confidence: float = 0.6
    min_letters: int = 20

    def __post_init__(self) -> None:
        if find_spec("py3langid") is None:
            raise ValueError("py3langid is not installed: pip install 'weave-async[validation]'")
        if not self._codes:
            raise ValueError("name a language, such as 'en'")
        if unknown := sorted(self._codes - LANGUAGES):
            known = ", ".join(sorted(LANGUAGES))
            raise ValueError(f"unknown language {unknown[0]!r}; known: {known}")
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence {self.min_confidence} must be between 0 and 1")

    @property
    def _codes(self) -> frozenset[str]:
        return frozenset([self.allowed] if isinstance(self.allowed, str) else self.allowed)

    def __call__(self, sample: Sample) -> Verdict:
        codes = self._codes
        identifier = _identifier(codes)
        for text in _texts(sample, self.field):
            words = _NO_WORDS.sub(" ", without_code(text[:MAX_CHARS]))
            if _num_letters(words) < self.min_letters:
                continue
            found, _ = identifier.classify(words)
            if found in codes or found == _NO_LANGUAGE:
                continue
            confidence = _confidence(identifier, words, found)
            if confidence >= self.min_confidence:
                evidence = {"language": found, "confidence": round(confidence, 3)}
                return Verdict(False, "other_language", {**evidence, "allowed": sorted(codes)})
        return ACCEPTED


def _texts(sample: Sample, where: Field) -> Iterable[str]:
    asked = [each.content for _, each in turns(sample, "prompt") if each.role == "user"]
    if where != "completion":
        yield "\n".join(asked)
    if where != "prompt":
        yield sample.completion


def _confidence(identifier: Any, text: str, found: str) -> float:
    """How likely it is that the language is ``found``, or one just like it."""
    ranked: dict[str, float] = dict(identifier.rank(text))
    alike = next((kin for kin in _KIN if found in kin), {found})
    return sum(ranked.get(code, 0.0) for code in alike)


def _num_letters(text: str) -> int:
    ideograms = len(_IDEOGRAM.findall(text))
    return len(_LETTER.findall(text)) + (LETTERS_OF_AN_IDEOGRAM - 1) * ideograms


@cache
def _model() -> Any:
    """0.7 s, once in each process."""
    langid = import_module("py3langid.langid")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


@cache
def _identifier(codes: frozenset[str]) -> Any:
    """The model, restricted to the languages in question; it shares its tables."""
    alike = frozenset[str]().union(*(kin for kin in _KIN if kin & codes))
    identifier = copy(_model())
    identifier.set_languages({*(_COMMON - alike), *codes, _NO_LANGUAGE})
    return identifier
