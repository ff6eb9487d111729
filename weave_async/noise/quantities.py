"""What the numbers in a text amount to: exact values, however they are written.

``1,000``, ``1000`` and ``one thousand`` are the same value; so are ``$5`` and ``5 USD``, ``3pm``
and ``15:00``, ``2024-03-05`` and ``March 5, 2024``. A digit within a word of letters (``he11o``,
``mp3``) is no number. What can be read in two ways (``03/04/2024``) is taken as it is written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, time
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from weave_async.noise.spoken_numbers import SCALES, WORDS, numbers_in
from weave_async.noise.units import CURRENCIES, CURRENCY_SIGNS, SIGNS, WRITTEN, unit_named

MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905 - read as words
)
_MONTH_NUMBERS = {name[:3].lower(): number for number, name in enumerate(MONTHS, 1)}


class Value(NamedTuple):
    """``kind`` is ``number``, ``ordinal``, ``date``, ``time``, or ``raw``: what is not understood.

    A date without a year or a day is written as in ISO 8601: ``--03-05``, ``2024-03``. A time that
    may be in the morning or in the evening is raw.
    """

    kind: str
    amount: Decimal | date | time | str
    unit: str = ""


class Quantity(NamedTuple):
    """``text[start:end]`` says ``value``. Of a number in figures, ``figure`` is where it stands."""

    start: int
    end: int
    value: Value
    figure: tuple[int, int] | None = None


def values_in(text: str, day_first: bool | None = None) -> Counter[Value]:
    """How often a text says which value. ``day_first`` tells how to read ``03/04/2024``."""
    return Counter(quantity.value for quantity in quantities_in(text, day_first))


def quantities_in(text: str, day_first: bool | None = None) -> Sequence[Quantity]:
    """All quantities of a text, in order. The time it takes grows with the text and no faster."""
    return _quantities(text, day_first)


@lru_cache(maxsize=4)  # a noise reads the text, and then the lock on meaning reads it again
def _quantities(text: str, day_first: bool | None) -> Sequence[Quantity]:
    found: list[Quantity] = []
    if not _DIGIT.search(text) and WORDS.isdisjoint(_WORD.findall(text.lower())):
        return found
    end = 0
    for token in _TOKEN.finditer(text):  # so the long pattern is tried at a few places only
        start, first = token.start(), token.group()
        if start < end or not (first[0].isdigit() or first.lower() in _FIRST):
            continue
        if match := _QUANTITY.match(text, start):
            found += _READERS[match.lastgroup or ""](match, day_first)
            end = match.end()
    return found


def _either(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_FIGURE = r"\d++(?:[.,'’]\d++)*+"
_MONTH = rf"(?:{'|'.join(rf'{name[:3]}(?:{name[3:]})?' for name in MONTHS)}|Sept)\b\.?"
_YEAR = r"\d{4}(?![\d%€$£]|[.,]\d)"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_MERIDIEM = r"(?:am|pm|a\.m\.|p\.m\.)(?!\w)"
_SIGN_UNITS = _either(sign for sign in SIGNS if sign not in CURRENCY_SIGNS or len(sign) == 1)
_CODES = rf"(?-i:{_either(CURRENCIES)})|usd|eur|gbp"  # `aud` is a misread `and` more often
_UNIT = rf"(?:\s?(?-i:{_SIGN_UNITS})|[\s-]?(?:{_either(WRITTEN)}|{_CODES}|km|kg))(?!\w)"
_SPOKEN = rf"(?:{_either(WORDS)})(?!\w)"
_PATTERNS = {  # of two that begin at the same place, the first one counts
    "iso": r"(?P<y>\d{4})(?P<mark>[-/.])(?P<m>\d{1,2})(?P=mark)(?P<d>\d{1,2})(?![\w-]|[/.:]\d)",
    "figures": r"(?P<a>\d{1,2})(?P<mark2>[-/.])(?P<b>\d{1,2})(?P=mark2)(?P<y2>\d{4}|\d{2})"
    r"(?![\w-]|[/.:]\d)",
    "day_month": rf"(?P<d3>{_DAY})\.?\s(?:of\s)?(?P<m3>{_MONTH})(?:,?\s(?P<y3>{_YEAR}))?(?!\w)",
    "clock": r"(?P<h>\d{1,2})(?::(?P<min>\d{2})(?::(?P<s>\d{2}))?(?![:\d]|[.,]\d)"
    rf"(?:\s?(?P<half>{_MERIDIEM}))?|(?:\.(?P<min2>\d\d))?\s?(?P<half2>{_MERIDIEM}))(?!\w)",
    "number": rf"(?P<sign>(?<!\w)[-−](?<![\d\s]\s.)(?=[\d$€£¥₹])|\bminus\s(?=\d))?"
    rf"(?P<before>(?:{_either(CURRENCY_SIGNS)})\s?|(?:{_CODES})\s)?"
    rf"(?P<figure>{_FIGURE})(?:(?P<th>(?:st|nd|rd|th)\b)"
    rf"|(?P<scale>k\b|\s(?:hundred|{'|'.join(SCALES)})\b)?(?P<unit>{_UNIT})?"
    r"(?P<odd>[^\W\d]+)?)",
    "month_day": rf"(?P<m4>{_MONTH})\s(?:(?P<d4>{_DAY})(?![\w:%€$£]|[.,/-]\d)"
    rf"(?:,?\s(?P<y4>{_YEAR}))?"
    rf"|(?P<y5>{_YEAR}))(?!\w)",
    "words": rf"(?P<minus>minus\s)?(?P<run>{_SPOKEN}(?:(?:\s+|-)(?:and\s|point\s)?{_SPOKEN})*+)"
    rf"(?P<unit2>{_UNIT})?",
}
_QUANTITY = re.compile(
    r"(?<![^\W_])(?:"
    + "|".join(rf"(?P<{kind}>{pattern})" for kind, pattern in _PATTERNS.items())
    + ")",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
_TOKEN = re.compile(r"(?:US|[CA])\$|[^\W_]+|[-−$€£¥₹]", re.IGNORECASE)
_FIRST = (
    WORDS
    | {each.lower() for each in (*CURRENCIES, *CURRENCY_SIGNS)}
    | {each for name in MONTHS for each in (name.lower(), name[:3].lower())}
    | {"sept", "minus", "-", "−"}
)
"""What a quantity may begin with, besides a digit."""
_WORD = re.compile(r"[A-Za-z]+")
_JOINED = frozenset("-–−/:.,'’_#@=$€£%+*^~<>\\&")
_GROUPED = re.compile(
    r"[1-9]\d{0,2}(?:(?:,\d{3})+(?:\.\d+)?|(?:\.\d{3}){2,}(?:,\d+)?|(?:['’]\d{3})+)"
)
_EUROPEAN = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+,\d+")
_PLAIN = re.compile(r"(?:0|[1-9]\d*)(?:[.,]\d+)?")


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether nothing but the end of a sentence is joined to it: no range, address or code."""
    if start and text[start - 1] in _JOINED:
        return False
    after = text[end : end + 2]
    return after[:1] not in _JOINED or (after[0] in ".,:'’" and not after[1:].isalnum())


def follows_number(text: str, start: int) -> bool:
    """Whether what begins at ``start`` may be the unit of a number: another word would not be."""
    if not text[start - 1 : start].isspace():
        return False
    return text[start - 2 : start - 1].isdigit() or word_before(text, start) in WORDS


def word_before(text: str, start: int) -> str:
    """The word that ends before a blank at ``start``, in small letters, without what opens."""
    words = text[max(0, start - 16) : start].rstrip().rsplit(None, 1)
    return words[-1].strip("([\"'").lower() if words else ""


def figure_value(figure: str) -> Decimal | None:
    """``1,000.50`` → 1000.50. ``None`` for what has no certain value: ``007``, ``1.2.3``."""
    if _EUROPEAN.fullmatch(figure) or (_GROUPED.fullmatch(figure) and figure.count(".") > 1):
        return Decimal(figure.replace(".", "").replace(",", "."))
    if _GROUPED.fullmatch(figure):
        return Decimal(re.sub(r"[,'’]", "", figure))
    if _PLAIN.fullmatch(figure):
        return Decimal(figure.replace(",", "."))
    return None


def _date(match: re.Match[str], year: str | None, month: int, day: str | None) -> Quantity:
    start, end = match.span()
    days = None if day is None else int(re.sub(r"\D", "", day))
    try:
        whole = date(int(year or 2000), month, days or 1)  # 2000 is a leap year: it has every day
    except ValueError:
        return Quantity(start, end, Value("raw", match.group()))
    if year is not None and days is not None:
        return Quantity(start, end, Value("date", whole))
    return Quantity(start, end, Value("date", f"--{whole:%m-%d}" if days else f"{whole:%Y-%m}"))


def _month_number(written: str) -> int:
    return _MONTH_NUMBERS[written[:3].lower()]


def _read_iso(match: re.Match[str], day_first: bool | None) -> Iterator[Quantity]:
    yield _date(match, match["y"], int(match["m"]), match["d"])


def _read_figures(match: re.Match[str], day_first: bool | None) -> Iterator[Quantity]:
    """``25/12/2024`` can only be read in one way; in ``25/12/24`` the century is not said."""
    first, second = int(match["a"]), int(match["b"])
    if day_first is None and first != second and max(first, second) > 12:
        day_first = first > 12
    if (day_first is None and first != second) or len(match["y2"]) < 4:
        yield Quantity(*match.span(), Value("raw", match.group()))
    elif day_first:
        yield _date(match, match["y2"], second, match["a"])
    else:
        yield _date(match, match["y2"], first, match["b"])


def _read_day_month(match: re.Match[str], day_first: bool | None) -> Iterator[Quantity]:
    yield _date(match, match["y3"], _month_number(match["m3"]), match["d3"])


def _read_month_day(match: re.Match[str], day_first: bool | None) -> Iterator[Quantity]:
    yield _date(match, match["y4"] or match["y5"], _month_number(match["m4"]), match["d4"])


def _read_clock(match: re.Match[str], day_first: bool | None) -> Iterator[Quantity]:
    half = (match["half"] or match["half2"] or "")[:1].lower()
    hour, minute = int(match["h"]), int(match["min"] or match["min2"] or 0)
    second = int(match["s"] or 0)
    is_sure = hour > 12 or match["h"].startswith("0") or (half and hour > 0)
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    if is_sure and hour < 24 and minute < 60 and second < 60:
        yield Quantity(*match.span(), Value("time", time(hour, minute, second)))
    else:
        yield Quantity(*match.span(), Value("raw", match.group().lower()))


def _read_number(match: re.Match[str], day_first: bool | None) -> Iterator[Quantity]:
    amount = figure_value(match["figure"])
    if amount is None:
        yield Quantity(*match.span(), Value("raw", match.group()))
        return
    if scale := (match["scale"] or "").strip().lower():
        amount *= {"k": 1000, "hundred": 100}.get(scale) or SCALES[scale]
    if match["sign"]:
        amount = -amount
    currency = unit_named((match["before"] or "").strip()) or ""
    unit = _unit(match["unit"]) or (match["odd"] or "").lower()
    if currency and unit and currency != unit:
        unit = f"{currency} {unit}"
    kind = "ordinal" if match["th"] else "number"
    yield Quantity(*match.span(), Value(kind, amount, unit or currency), match.span("figure"))


def _read_words(match: re.Match[str], day_first: bool | None) -> Iterator[Quantity]:
    words = [(word.group().lower(), *word.span()) for word in _WORD.finditer(match["run"])]
    offset, is_negative = match.start("run"), bool(match["minus"])
    for said in numbers_in([word for word, _, _ in words]):
        start, end = offset + words[said.start][1], offset + words[said.end - 1][2]
        unit, amount = "", -said.amount if is_negative else said.amount
        is_negative = False
        if said.end == len(words) and match["unit2"] and not said.is_ordinal:
            unit, end = _unit(match["unit2"]), match.end()
        kind = "ordinal" if said.is_ordinal else "number"
        yield Quantity(start, end, Value(kind, amount, unit))


def _unit(written: str | None) -> str:
    bare = (written or "").strip(" -\n\t")
    return unit_named(bare) or bare


_READERS: dict[str, Callable[[re.Match[str], bool | None], Iterator[Quantity]]] = {
    "iso": _read_iso,
    "figures": _read_figures,
    "day_month": _read_day_month,
    "clock": _read_clock,
    "number": _read_number,
    "month_day": _read_month_day,
    "words": _read_words,
}
