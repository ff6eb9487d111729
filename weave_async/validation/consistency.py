"""Answers that must agree with their row: its label, its numbers, its terms."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from types import NoneType
from typing import Any, ClassVar, Literal

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.numbers import missing_numbers
from weave_async.validation.required import one_of
from weave_async.validation.texts import quoted

MAX_TOLD = 10
MAX_CHARS = 200_000
"""Of both sides together: it runs where others wait for it."""


@dataclass(frozen=True, slots=True)
class ConsistencyValidator:
    """The completion agrees with its row.

    ``label`` is a column or attribute whose value it must name, as whole words in any case; of the
    other ``labels``, if they are given, it may name none. ``contains`` are columns whose values
    (lists: each of theirs) it must name as well. ``numbers`` compares it with the user's turns:
    with ``kept`` it holds each number of theirs, as a rewrite or a translation must; with
    ``grounded`` it holds no other, as a summary must; with ``same`` both. ``1,234.0`` is ``1234``,
    and English words up to twenty count as numbers where one is looked for.
    """

    is_light: ClassVar[bool] = True

    label: str | None = None
    labels: list[str] = dataclass_field(default_factory=list)
    contains: list[str] = dataclass_field(default_factory=list)
    numbers: Literal["kept", "grounded", "same"] | None = None
    _labels: re.Pattern[str] = dataclass_field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.labels and self.label is None:
            raise ValueError(f"labels {self.labels} need a label: the column that says which")
        if not (self.label or self.contains or self.numbers):
            raise ValueError("nothing to compare: give it a label, contains or numbers")
        object.__setattr__(self, "_labels", one_of(self.labels))

    @property
    def columns_read(self) -> list[str]:
        return [*([self.label] if self.label else []), *self.contains]

    def __call__(self, sample: Sample) -> Verdict:
        terms: dict[str, list[str]] = {}
        for name in self.columns_read:
            try:
                value = sample.prompt.value_of(name)
            except KeyError:
                return Verdict(False, "no_such_field", {"field": name})
            terms[name] = _terms(value)
            if not terms[name]:
                return Verdict(False, "empty_field", {"field": name, "value": quoted(repr(value))})
        num_chars = sum(len(message.content) for message in sample.messages)
        if num_chars > MAX_CHARS:
            return Verdict(False, "too_large", {"chars": num_chars, "max_chars": MAX_CHARS})
        text = " ".join(sample.completion.split())
        if self.label and (refused := self._mislabelled(text, terms[self.label])):
            return refused
        for name in self.contains:
            if missing := _missing(terms[name], text):
                told = [quoted(term) for term in missing[:MAX_TOLD]]
                return Verdict(False, "not_contained", {"field": name, "missing": told})
        return self._numbers_differ(sample) or ACCEPTED

    def _mislabelled(self, text: str, wanted: list[str]) -> Verdict | None:
        label = " or ".join(quoted(term) for term in wanted)
        if len(_missing(wanted, text)) == len(wanted):
            return Verdict(False, "label_missing", {"label": label})
        right = {term.casefold() for term in wanted}
        if self.labels:
            named = {found.casefold() for found in self._labels.findall(text)}
            if others := sorted(named - right):
                return Verdict(False, "other_label", {"label": label, "found": others})
        return None

    def _numbers_differ(self, sample: Sample) -> Verdict | None:
        if self.numbers is None or sample.edits:
            return None  # judged before the noise, which may write a number in another way
        turns = [message.content for message in sample.messages if message.role == "user"]
        asked, said = "\n".join(turns), sample.completion
        if self.numbers in ("kept", "same") and (lost := missing_numbers(asked, said)):
            return Verdict(False, "number_lost", {"numbers": _told(lost)})
        if self.numbers in ("grounded", "same") and (new := missing_numbers(said, asked)):
            return Verdict(False, "number_not_in_prompt", {"numbers": _told(new)})
        return None


def _terms(value: Any) -> list[str]:
    """A cell's value as what may be named; a list names each of its own."""
    values = value if isinstance(value, list | tuple) else [value]
    told = [" ".join(str(each).split()) for each in values if not isinstance(each, dict | NoneType)]
    return [term for term in told if term]


def _missing(terms: Iterable[str], text: str) -> list[str]:
    folded = text.casefold()
    return [term for term in terms if not _is_named(term.casefold(), folded)]


def _is_named(term: str, text: str) -> bool:
    """Whether it stands there as whole words. Each row has other terms: to compile a pattern of
    them would take a hundred times as long.
    """
    start = text.find(term)
    while start >= 0:
        around = text[start - 1 : start] + text[start + len(term) : start + len(term) + 1]
        if not any(char.isalnum() or char == "_" for char in around):
            return True
        start = text.find(term, start + 1)
    return False


def _told(numbers: Iterable[str]) -> list[str]:
    return [quoted(number) for number in numbers][:MAX_TOLD]
