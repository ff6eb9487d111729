"""Words of a text, hashes of several in a row, and many such hashes in little memory."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterator

_NOT_IN_WORDS = re.compile(r"[^\w\s]|_")
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]|[^\s\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]+"
)
"""Scripts that put no spaces between words: each character is one."""


def words_of(text: str) -> list[str]:
    """In lower case and without punctuation, so that two spellings of a sentence are alike."""
    if text.isascii():
        return _NOT_IN_WORDS.sub("", text.lower()).split()
    return _WORD.findall(_NOT_IN_WORDS.sub("", unicodedata.normalize("NFKC", text).casefold()))


def hashes_of(words: list[str], num_words: int) -> Iterator[int]:
    """8 bytes for each ``num_words`` in a row. They mean nothing in another process."""
    for first in range(len(words) - num_words + 1):
        yield hash(tuple(words[first : first + num_words])) & 0xFFFF_FFFF_FFFF_FFFF or 1


class HashTable:
    """Hashes with a number each: 12 bytes a slot, of which at most half are taken.

    A dict takes over 100 bytes for the same, and evaluation files have millions.
    """

    def __init__(self) -> None:
        self._mask = 1023
        self._keys, self._values = _empty(1024)
        self._len = 0

    def __len__(self) -> int:
        return self._len

    def get(self, key: int) -> int | None:
        """The number of a hash, which is never 0."""
        slot = self._slot(key)
        return self._values[slot] if self._keys[slot] else None

    def add(self, key: int, value: int) -> None:
        """Keep a hash, unless it is there: the first number stays."""
        slot = self._slot(key)
        if self._keys[slot]:
            return
        self._keys[slot], self._values[slot] = key, value
        self._len += 1
        if 2 * self._len > self._mask:
            self._grow()

    def _slot(self, key: int) -> int:
        """Where a hash is, or would be."""
        keys, mask = self._keys, self._mask
        slot = key & mask
        while (found := keys[slot]) and found != key:
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        keys, values = self._keys, self._values
        self._mask = 2 * len(keys) - 1
        self._keys, self._values = _empty(2 * len(keys))
        for key, value in zip(keys, values, strict=True):
            if key:
                slot = self._slot(key)
                self._keys[slot], self._values[slot] = key, value


def _empty(num_slots: int) -> tuple[array[int], array[int]]:
    return array("Q", bytes(8 * num_slots)), array("I", bytes(4 * num_slots))
