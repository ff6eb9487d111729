"""The numbers in a text, to be compared with those of another one."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGITS = re.compile(r"(?<![^\W_])(?<![\d.,])(?:(?<![^\s([{=:$€£])[-−])?(?:\d+(?:[.,]\d+)*|\.\d+)")
_LIST_MARKER = re.compile(r"^[ \t]*\(?\d{1,3}[.)][ \t]+", re.MULTILINE)
_GROUPED = re.compile(r"\d{1,3}(?P<mark>[.,])\d{3}(?:(?P=mark)\d{3})*")
_COUNTING = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
_WORDS = {word: str(number) for number, word in enumerate(_COUNTING.split())}
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it stands in a text, and what it may mean: ``1.234`` is a decimal in English,
    and a thousand and more in German.
    """

    text: str
    readings: frozenset[str]
    is_word: bool = False


def numbers_in(text: str) -> list[Number]:
    """All numbers in digits, and the English words up to twenty.

    Digits within words (``B2B``) and the markers of list items are none.
    """
    text = _LIST_MARKER.sub("", text)
    digits = [Number(found, _readings(found)) for found in _DIGITS.findall(text)]
    words = _WORD.findall(text)
    return digits + [Number(word, frozenset({_WORDS[word.lower()]}), True) for word in words]


def _readings(text: str) -> frozenset[str]:
    sign = "-" if text[0] in "-−" else ""
    digits = text.lstrip("-−")
    found = set()
    if _GROUPED.fullmatch(digits):
        found.add(re.sub("[.,]", "", digits))
    marks = [char for char in digits if char in ".,"]
    if len(marks) <= 1:
        found.add(_plain(digits.replace(",", ".")))
    elif marks.count(marks[-1]) == 1:  # 1,234.5 or 1.234,5
        whole, _, fraction = digits.rpartition(marks[-1])
        found.add(_plain(re.sub("[.,]", "", whole) + "." + fraction))
    return frozenset(sign + (reading.lstrip("0") or "0") for reading in found or {digits})


def _plain(decimal: str) -> str:
    """Without the zeros at its end that mean nothing."""
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal
