"""The numbers in a text, to be compared with those of another one."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"(?<![^\W_])(?<![\d.,])(?:(?<![^\s([{=:$€£])[-−])?(?:\d+(?:[.,]\d+)*|\.\d+)")
_LIST_MARKER = re.compile(r"^[ \t]*\(?\d{1,3}[.)][ \t]+", re.MULTILINE)
_GROUPED = re.compile(r"\d{1,3}(?P<mark>[.,])\d{3}(?:(?P=mark)\d{3})*")
_COUNTING = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen twenty"
)
_WORDS = {word: str(number) for number, word in enumerate(_COUNTING.split())}
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)


def missing_numbers(text: str, other: str) -> list[str]:
    """The numbers in digits of a text that the other one does not have, each told once.

    ``1.234`` is a decimal in English, and a thousand and more in German: numbers are the same if
    they can be read so. In ``other``, English words up to twenty count as well. Digits within
    words (``B2B``) and the markers of list items are no numbers.
    """
    known = {reading for found in _digits_in(other) for reading in _readings(found)}
    missing = [found for found in _digits_in(text) if known.isdisjoint(_readings(found))]
    if not missing:
        return []
    words = {_WORDS[word.lower()] for word in _WORD.findall(other)}
    return [each for each in dict.fromkeys(missing) if words.isdisjoint(_readings(each))]


def _digits_in(text: str) -> list[str]:
    found: list[str] = _DIGITS.findall(_LIST_MARKER.sub("", text))
    return found


def _readings(text: str) -> frozenset[str]:
    """What a number in digits may mean, each in one way of writing."""
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
