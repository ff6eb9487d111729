"""IBANs in a text: ISO 13616 says how long they are, ISO 7064 (MOD 97-10) how they are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LENGTHS = {
    length: countries.split()
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS",
        23: "AE GI IL IQ TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "PT",
        26: "IS TR",
        27: "BI FR GR IT MC SM",
        28: "AL AZ CY DO GT HU LB PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
    }.items()
}
_LENGTH_OF = {code: length for length, codes in _LENGTHS.items() for code in codes}
_START = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[0-9]{2}")
_SEPARATORS = " -\u00a0"


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Where valid ones stand, with or without the blanks that people group them by."""
    for match in _START.finditer(text):
        start, length = match.start(), _LENGTH_OF.get(match[1].upper())
        end = _end(text, start, length) if length else None
        if end and _is_valid(text[start:end]):
            yield start, end


def _end(text: str, start: int, length: int) -> int | None:
    """Where ``length`` letters and digits end, with at most one separator between two of them."""
    taken, was_separator = 0, False
    for at in range(start, len(text)):
        char = text[at]
        if char.isascii() and char.isalnum():
            taken, was_separator = taken + 1, False
            if taken == length:
                following = text[at + 1 : at + 2]
                return None if following.isascii() and following.isalnum() else at + 1
        elif char in _SEPARATORS and not was_separator:
            was_separator = True
        else:
            return None
    return None


def _is_valid(text: str) -> bool:
    plain = "".join(char for char in text.upper() if char not in _SEPARATORS)
    digits = "".join(str(int(char, 36)) for char in plain[4:] + plain[:4])
    return int(digits) % 97 == 1
