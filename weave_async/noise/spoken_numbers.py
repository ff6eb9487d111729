"""Numbers in words: ``25`` as ``twenty five``, and what such words amount to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen
""".split()  # noqa: SIM905 - as words
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905 - as words
_SMALL = {word: value for value, word in enumerate(_ONES)} | {
    word: 10 * value for value, word in enumerate(_TENS, 2)
}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_ORDINAL_ENDS = {  # `second` is left out: it is a unit of time, too
    "first": 1,
    "third": 3,
    "fifth": 5,
    "eighth": 8,
    "ninth": 9,
    "twelfth": 12,
    **{f"{word}th": value for word, value in _SMALL.items() if word in ("four", "six", "seven")},
    **{f"{word}th": _SMALL[word] for word in ("ten", "eleven", *_ONES[13:])},
    **{f"{word[:-1]}ieth": _SMALL[word] for word in _TENS},
}
_ORDINAL_OF = {value: word for word, value in _ORDINAL_ENDS.items()}
CARDINALS = frozenset((*_SMALL, "hundred", *SCALES))
WORDS = CARDINALS | _ORDINAL_ENDS.keys()
MOST = 999_999


def spoken(amount: Decimal) -> str | None:
    """The number as it is said, up to ``MOST``; ``None`` for one that nobody would say in full."""
    if amount < 0:
        positive = spoken(-amount)
        return None if positive is None else f"minus {positive}"
    whole, _, decimals = f"{amount:f}".partition(".")
    if int(whole) > MOST or len(decimals) > 4:
        return None
    words = _whole(int(whole))
    return (
        f"{words} point {' '.join(_ONES[int(digit)] for digit in decimals)}" if decimals else words
    )


def spoken_year(year: int) -> str | None:
    """``1999`` as ``nineteen ninety nine``; ``None`` for years that are said like any number."""
    century, rest = divmod(year, 100)
    return f"{_whole(century)} {_whole(rest)}" if 11 <= century <= 20 and rest >= 10 else None


def spoken_ordinal(number: int) -> str | None:
    """``21`` as ``twenty first``; ``None`` where the word would be ``second``, or is a long one."""
    if number in _ORDINAL_OF:
        return _ORDINAL_OF[number]
    tens, one = divmod(number, 10)
    if not 20 < number < 100 or one not in _ORDINAL_OF:
        return None
    return f"{_TENS[tens - 2]} {_ORDINAL_OF[one]}"


def _whole(number: int) -> str:
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, one = divmod(number, 10)
        return _TENS[tens - 2] + (f" {_ONES[one]}" if one else "")
    size, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    many, rest = divmod(number, size)
    link = " and " if rest and rest < 100 else " "
    return f"{_whole(many)} {name}" + (f"{link}{_whole(rest)}" if rest else "")


class Spoken(NamedTuple):
    """The number that ``words[start:end]`` say."""

    start: int
    end: int
    amount: Decimal
    is_ordinal: bool = False


@dataclass(slots=True)
class _Sum:
    """What the words of one number have come to so far: ``two million three`` → 2,000,003."""

    above: int = 0
    group: int | None = None
    scale: int = 10**12

    @property
    def amount(self) -> int:
        return self.above + (self.group or 0)

    def takes(self, word: str) -> bool:
        """Adds the word, if it can follow."""
        if word in _SMALL:
            return self.takes_small(_SMALL[word])
        return self.takes_scale(SCALES.get(word, 100))

    def takes_small(self, value: int) -> bool:
        """Adds a number below 100, if it can follow: ``twenty`` + ``five``, not + ``twelve``."""
        group = self.group
        if group is None:
            self.group = value
        elif value and (
            (group % 100 == 0 and 0 < group < 1000)
            or (value < 10 and group % 10 == 0 and group % 100 >= 20)
        ):
            self.group = group + value
        elif value >= 10 and 11 <= group <= 20 and not self.above:  # nineteen ninety, a year
            self.group = group * 100 + value
        else:
            return False
        return True

    def takes_scale(self, scale: int) -> bool:
        group = self.group
        if scale == 100:
            if group is not None and not 1 <= group < 100:
                return False
            self.group = (group or 1) * 100
        elif scale < self.scale and (group is None or 0 < group < 1000):
            if group is None and self.above:
                return False
            self.above, self.group, self.scale = self.above + (group or 1) * scale, None, scale
        else:
            return False
        return True


def numbers_in(words: Sequence[str]) -> Iterator[Spoken]:
    """The numbers that a run of words says, one after the other: ``twenty five two`` is 25 and 2.

    The words are number words in small letters, with ``and`` and ``point`` between them.
    """
    at = 0
    while at < len(words):
        if words[at] in ("and", "point"):
            at += 1
            continue
        number = _number_at(words, at)
        yield number
        at = number.end


def _number_at(words: Sequence[str], start: int) -> Spoken:
    so_far, at = _Sum(), start
    while at < len(words):
        word = words[at]
        if word == "point":
            return _with_decimals(words, start, at, so_far.amount)
        if word in _ORDINAL_ENDS:
            if so_far.takes_small(_ORDINAL_ENDS[word]):
                return Spoken(start, at + 1, Decimal(so_far.amount), is_ordinal=True)
            break
        if not (_links(words, at) if word == "and" else so_far.takes(word)):
            break
        at += 1
    return Spoken(start, at, Decimal(so_far.amount))


def _links(words: Sequence[str], at: int) -> bool:
    """Whether an ``and`` goes on with a number: in two hundred and five, not in two and five."""
    is_open = words[at - 1] in SCALES or words[at - 1] == "hundred"
    return is_open and at + 1 < len(words) and words[at + 1] in (_SMALL.keys() | _ORDINAL_ENDS)


def _with_decimals(words: Sequence[str], start: int, at: int, whole: int) -> Spoken:
    end = at + 1
    while end < len(words) and words[end] in _ONES[:10]:
        end += 1
    if end == at + 1:
        return Spoken(start, at, Decimal(whole))
    digits = "".join(str(_SMALL[word]) for word in words[at + 1 : end])
    amount = Decimal(f"{whole}.{digits}")
    if end < len(words) and words[end] in SCALES:  # two point five million
        return Spoken(start, end + 1, amount * SCALES[words[end]])
    return Spoken(start, end, amount)
