"""Which keys lie side by side, by keyboard layout."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

Layout = Literal["qwerty", "qwertz", "azerty", "dvorak", "colemak"]

# Each row starts half a key to the right of the one above it.
_ROWS: Mapping[Layout, tuple[str, str, str]] = {
    "qwerty": ("qwertyuiop", "asdfghjkl", "zxcvbnm"),
    "qwertz": ("qwertzuiopü", "asdfghjklöä", "yxcvbnm"),
    "azerty": ("azertyuiop", "qsdfghjklm", "wxcvbn"),
    "dvorak": ("',.pyfgcrl", "aoeuidhtns", ";qjkxbmwvz"),
    "colemak": ("qwfpgjluy;", "arstdhneio", "zxcvbkm"),
}


@cache
def neighbours(layout: Layout) -> Mapping[str, str]:
    """For each letter the letters on the keys that touch its own."""
    rows = _ROWS[layout]
    places = {key: (x + y / 2, y) for y, row in enumerate(rows) for x, key in enumerate(row)}
    letters = {key: place for key, place in places.items() if key.isalpha()}
    return {
        key: "".join(
            other
            for other, (other_x, other_y) in letters.items()
            if other != key and abs(other_x - x) <= 1 and abs(other_y - y) <= 1
        )
        for key, (x, y) in letters.items()
    }
