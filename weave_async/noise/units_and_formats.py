"""Dates, times, amounts and units in another of the ways in which they are written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from random import Random
from typing import ClassVar

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.quantities import MONTHS, Quantity, quantities_in, stands_alone, word_before
from weave_async.noise.sites import check_rate, taken
from weave_async.noise.units import ARTICLES, CURRENCIES, UNITS

_IDENTIFIERS = frozenset(
    """
    account case chapter code error flight gate id invoice line model no number order page part pin
    port postcode ref reference room serial ticket tracking version zip
    """.split()  # noqa: SIM905 - read as words
)
_OF_A_CLOCK = frozenset(
    "at by from until till before after around about since between to and @".split()  # noqa: SIM905
)
_SIGN_OF = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "INR": "₹"}
_MONTHS_SHORT = frozenset(name[:3] for name in MONTHS)
_MIN_GROUPED = 10_000
"""Smaller numbers without a unit may be years, and are rarely written with a comma."""


@dataclass(frozen=True, slots=True)
class UnitsAndFormatsNoise:
    """Writes dates, times, numbers, currencies, percentages and units in another way.

    The value stays exactly the same: ``1,000`` and ``1000``, ``2024-03-05`` and ``5 Mar 2024``,
    ``3pm`` and ``15:00``, ``$5`` and ``5 USD``, ``5 km`` and ``5 kilometres``.

    ``rate`` is the share of its sites that change: quantities that can be written otherwise without
    a doubt. ``day_first`` says how to read, and lets it write, dates like ``03/04/2024``: they are
    left alone without it.
    """

    rewrites: ClassVar[frozenset[str]] = frozenset(("number", "date", "time"))

    rate: float = 1.0
    day_first: bool | None = None

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        text, sites = passage.text, []
        for quantity in quantities_in(text, self.day_first):
            start, end = quantity.start, quantity.end
            if passage.is_free(start, end) and stands_alone(text, start, end):
                written = text[start:end]
                ways = [way for way in self._ways(text, quantity) if way != written]
                if ways:
                    sites.append((start, end, ways))
        for start, end, ways in taken(sites, self.rate, rng):
            yield Edit(start, end, rng.choice(ways))

    def _ways(self, text: str, quantity: Quantity) -> list[str]:
        """All that the quantity could be written as, its own writing perhaps among them."""
        kind, amount, unit = quantity.value
        written = text[quantity.start : quantity.end]
        before = word_before(text, quantity.start)
        if isinstance(amount, date):
            if not written[:1].isdigit() or written[-1].isdigit():
                return _dates(amount, written, before, self.day_first)
            return []
        if isinstance(amount, time):
            return _times(amount, written, before)
        if kind == "date" and isinstance(amount, str) and amount.startswith("--"):
            _, _, month, day = amount.split("-")
            return _days(int(month), int(day), written, before)
        if kind != "number" or not isinstance(amount, Decimal) or quantity.figure is None:
            return []
        if before[:3].title() in _MONTHS_SHORT or before.upper() in CURRENCIES:
            return []  # March 5km: with a blank it would be a date
        if written.lower().endswith(("k", "thousand", "hundred", "0s")) or written[0] in "mM":
            return []  # a thousand is one already; the 90s are no seconds
        start, end = (at - quantity.start for at in quantity.figure)
        return _amounts(written, written[start:end], amount, unit, before)


def _dates(day: date, written: str, before: str, day_first: bool | None) -> list[str]:
    name, short = MONTHS[day.month - 1], MONTHS[day.month - 1][:3]
    if not written[0].isdigit() and not written[0].isupper():
        return []  # the verb `may`, the noun `march`
    if before in ARTICLES:
        return [
            f"{_ordinal(day.day)} of {name} {day.year}",
            f"{_ordinal(day.day)} {name} {day.year}",
        ]
    ways = [
        f"{day:%Y-%m-%d}",
        f"{name} {day.day}, {day.year}",
        f"{short} {day.day}, {day.year}",
        f"{day.day} {name} {day.year}",
        f"{day.day} {short} {day.year}",
    ]
    if day_first is not None:
        ways.append(f"{day:%d/%m/%Y}" if day_first else f"{day:%m/%d/%Y}")
    return ways


def _days(month: int, day: int, written: str, before: str) -> list[str]:
    name = MONTHS[month - 1]
    if name[:3] not in written:
        return []
    if before in ARTICLES:
        return [f"{_ordinal(day)} of {name}", f"{_ordinal(day)} {name}"]
    ways = [f"{name} {day}", f"{name[:3]} {day}", f"{name} {_ordinal(day)}", f"{day} {name}"]
    # A day in front would belong to what stands before it: `on page 7 March 5`.
    return ways[:3] if before[-1:].isdigit() else [*ways, f"{day} {name[:3]}"]


def _ordinal(day: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th") if day not in (11, 12, 13) else "th"
    return f"{day}{ending}"


def _times(at: time, written: str, before: str) -> list[str]:
    has_half = written[-1].lower() in "m."
    if not has_half and before not in _OF_A_CLOCK:
        return []  # a score, a ratio, the length of a film
    seconds = f":{at:%S}" if at.second else ""
    half = "am" if at.hour < 12 else "pm"
    hour = (at.hour - 1) % 12 + 1
    minutes = f":{at:%M}" if at.minute or seconds else ""
    ways = [f"{hour}{minutes}{seconds}{gap}{mark}" for gap, mark in ((" ", half), ("", half))]
    ways.append(f"{hour}{minutes}{seconds} {half.upper()}")
    # 3:00 may be any: in figures alone an hour shows by itself which half of the day it is.
    return [*ways, f"{at:%H:%M}{seconds}"]


def _amounts(written: str, figure: str, amount: Decimal, unit: str, before: str) -> list[str]:
    start = written.index(figure)
    figures = [figure]
    if not (before in _IDENTIFIERS or before.endswith("#")):
        figures += _regrouped(figure, has_unit=bool(unit))
    sign = "-" if amount < 0 else ""
    if unit not in UNITS or (unit == "s" and written.endswith(f"{figure}s")):
        return [written[:start] + other + written[start + len(figure) :] for other in figures]
    scale = next((word for word in (" million", " billion") if word in written.lower()), "")
    ways = []
    for other in figures:
        number = f"{sign}{other}{scale}"
        if unit in CURRENCIES:
            ways += [f"{number} {unit}"]
            if unit in _SIGN_OF and not sign:
                ways.append(f"{_SIGN_OF[unit]}{other}{scale}")
        else:
            ways += _with_unit(number, amount, unit, written, before)
    return ways


def _with_unit(number: str, amount: Decimal, unit: str, written: str, before: str) -> list[str]:
    signs, one, many = UNITS[unit]
    if unit == "year":
        return [written]  # years are not a matter of style: 20 years old is no 20 yrs old
    # 30s may be a decade.
    gaps = {"%": ("",), "s": (" ",)}.get(unit, (" ", ""))
    ways = [f"{number}{gap}{sign}" for sign in signs[:1] for gap in gaps]
    is_one = amount == 1 or (before in ARTICLES and unit != "%")  # a 5 kilometre run
    words = one if is_one else many
    return [*ways, *(f"{number} {word}" for word in words if word != "second")]  # it is an ordinal


def _regrouped(figure: str, *, has_unit: bool) -> list[str]:
    """``1,000`` for ``1000``, and the other way round; nothing for what may be a year or an id."""
    whole, point, decimals = figure.partition(".")
    if "," in whole and whole.replace(",", "").isdigit():
        parts = whole.split(",")
        return [whole.replace(",", "") + point + decimals] if len(parts[-1]) == 3 else []
    if not whole.isdigit() or whole.startswith("0") or len(decimals) == 3 or len(whole) > 9:
        return []
    number = int(whole)
    if number < 1000 or (not has_unit and number < _MIN_GROUPED):
        return []
    return [f"{number:,}{point}{decimals}"]
