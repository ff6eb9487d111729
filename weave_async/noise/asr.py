"""Text as speech recognition writes it down: by sound, without marks and capitals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import ClassVar

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.homophones import HOMOPHONES
from weave_async.noise.quantities import (
    Quantity,
    follows_number,
    quantities_in,
    stands_alone,
    word_before,
)
from weave_async.noise.sites import check_rate, taken, with_case_of
from weave_async.noise.spoken_numbers import WORDS, spoken, spoken_ordinal, spoken_year
from weave_async.noise.units import CURRENCIES, UNITS, is_in_doubt, is_said_of_one

_MARK = re.compile(r"\s[-–—](?=\s)(?!\s+\d)|[.,;:!?…]+(?=\s|$)")  # a dash may be a minus
_DIGIT = re.compile(r"\d")
_BETWEEN = re.compile(r"[\s,-]*(?P<link>and|point|minus|an?)?[\s,-]*", re.IGNORECASE)
_AREA_CODE = re.compile(r"\)\s?-?\d")  # (555) 123-4567
_JOINING = frozenset(("point", "minus", "hundred", *(code.lower() for code in CURRENCIES)))
_MOST_UNGROUPED = 9_999
"""Figures longer than this, without a comma, are mostly the numbers of something."""
_THOUSANDS_OR_DECIMALS = re.compile(r"[1-9]\d{0,2}\.\d{3}")
"""``1.000`` euros are a thousand in most of Europe."""
_FIRST_YEAR, _LAST_YEAR = 1100, 2099


@dataclass(frozen=True, slots=True)
class AsrNoise:
    """Writes as speech recognition does: no marks, no capitals, ``25`` as ``twenty five``.

    ``rate`` is the share of its sites that change: marks (the last question mark stays), words with
    capitals, numbers in figures. ``homophones`` is the share of the words with a sound-alike that
    are misheard as it: ``their`` as ``there``. English.
    """

    rewrites: ClassVar[frozenset[str]] = frozenset(("number",))

    rate: float = 1.0
    homophones: float = 0.1

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not 0 <= self.homophones <= 1:
            raise ValueError("homophones must be between 0 and 1: the share of them to mishear")

    def edits(self, passage: Passage, rng: Random) -> Iterable[Edit]:
        text, sites, alike = passage.text, [], []
        for start, end in passage.words:
            word = text[start:end]
            lower = word.lower()
            if lower != word and text[start - 1 : start] != "°":
                sites.append(Edit(start, end, lower))
            if lower in HOMOPHONES and not follows_number(text, start):  # two hour, our
                alike.append((start, end, word))
        sites += _marks(passage)
        sites += _said(passage)
        edits = {edit.start: edit for edit in taken(sites, self.rate, rng)}
        for start, end, word in alike:  # of a short text mostly none, so not by ``taken``
            if rng.random() >= self.homophones:
                continue
            heard = rng.choice(HOMOPHONES[word.lower()])
            edits[start] = Edit(start, end, heard if start in edits else with_case_of(word, heard))
        return edits.values()


def _may_be_a_unit(text: str, start: int) -> bool:
    """``one week``, ``2 hours``."""
    before = word_before(text, start)
    return before in WORDS or before[-1:].isdigit()


def _marks(passage: Passage) -> Iterator[Edit]:
    """Marks to leave out. Not one behind a number: the next word would become its unit."""
    text, last = passage.text, passage.text.rfind("?")
    for match in _MARK.finditer(text):
        start, end = match.span()
        if start <= last < end or not passage.is_free(start, end):
            continue
        word = word_before(text, start)
        if word[-1:].isdigit() or word in WORDS:
            continue
        yield Edit(start, end, "")


def _said(passage: Passage) -> Iterator[Edit]:
    """The numbers in figures, in words; not beside another number, with which they would merge."""
    text = passage.text
    if not _DIGIT.search(text):
        return
    quantities = quantities_in(text)
    for at, quantity in enumerate(quantities):
        start, end = quantity.start, quantity.end
        if quantity.figure is None or not passage.is_free(start, end):
            continue
        if not stands_alone(text, start, end) or _has_neighbour(text, quantities, at):
            continue
        if _AREA_CODE.match(text, end):
            continue
        if words := _in_words(text, quantity):
            yield Edit(start, end, words)


def _has_neighbour(text: str, quantities: Sequence[Quantity], at: int) -> bool:
    if word_before(text, quantities[at].start) in _JOINING:
        return True
    pairs = pairwise(quantities[max(0, at - 1) : at + 2])
    return any(_may_merge(text, left, right) for left, right in pairs)


def _may_merge(text: str, left: Quantity, right: Quantity) -> bool:
    """``20 5``, or ``100 and 5``; but not ``5 km 20``."""
    between = _BETWEEN.fullmatch(text, left.end, right.start)
    if between is None or left.value.unit:
        return False
    amount = left.value.amount
    is_open = not isinstance(amount, Decimal) or amount % 100 == 0
    return is_open or (between["link"] or "").lower() != "and"


def _in_words(text: str, quantity: Quantity) -> str | None:
    kind, amount, unit = quantity.value
    written = text[quantity.start : quantity.end].lower()
    assert isinstance(amount, Decimal)
    assert quantity.figure is not None
    if kind == "ordinal":
        return spoken_ordinal(int(amount)) if amount < 100 else None
    figure = text[slice(*quantity.figure)]
    if _THOUSANDS_OR_DECIMALS.fullmatch(figure):
        return None
    if unit and (
        unit not in UNITS
        or not UNITS[unit].one
        or (is_in_doubt(unit, amount, written, figure) and not written.endswith("second"))
    ):
        return None
    if unit in CURRENCIES and amount % 1:
        return None  # nobody says five point five dollars
    scale = next((word for word in ("million", "billion") if word in written), "")
    if scale:
        many = amount / (10**6 if scale == "million" else 10**9)
        said = spoken(many) if many < 1000 else None
        said = said and f"{said} {scale}"
    elif amount > _MOST_UNGROUPED and figure.isdigit() and not unit:
        return None
    elif _FIRST_YEAR <= amount <= _LAST_YEAR and figure.isdigit() and not unit:
        said = spoken_year(int(amount)) or spoken(amount)
    else:
        said = spoken(amount)
    if said is None or not unit:
        return said
    is_one = is_said_of_one(amount, unit, written, word_before(text, quantity.start))
    return f"{said} {(UNITS[unit].one if is_one else UNITS[unit].many)[0]}"
