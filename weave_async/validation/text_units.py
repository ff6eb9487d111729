"""A text's words, sentences, lines and paragraphs, as the rules of repetition and quality see them.

The papers say little about what a word is, and each implementation splits in its own way. Here a
word is a run of letters, digits and underscores, which keeps the points and commas inside it
(``3.5``, ``U.S``); an apostrophe with the letters after it (``don't`` is ``don`` and ``'t``); or a
run of other visible characters. No language is assumed, and nothing is downloaded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain

_WORD = re.compile(r"\w+(?:[.,]\w+)*|['’]\w+|[^\w\s]+")
_SENTENCE_END = re.compile(  # looked for from the start of a run of marks on: else its square
    r"(?<![.!?…。！？])[.!?…。！？]++[\"'”’)\]]*+(?:\s+|\Z)|[。！？]+"
)
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_MAX_KEPT, _MAX_KEPT_CHARS = 16_384, 60
_MAX_SHARED, _MAX_SHARED_CHARS = 64, 20_000


def words(text: str) -> list[str]:
    """The words of a text, punctuation among them. Not to be changed: rules share them."""
    return _short_text_words(text) if len(text) <= _MAX_SHARED_CHARS else _split(text)


def _split(text: str) -> list[str]:
    return list(chain.from_iterable(map(_WORDS_OF_CHUNK.__getitem__, text.split())))


class _WordsOfChunk(dict[str, list[str]]):
    """What stands between two spaces → its words. Most of it has been seen before, and to look it
    up takes half of the time; what is longer than any word is not kept, nor are too many.
    """

    def __missing__(self, chunk: str) -> list[str]:
        found = _WORD.findall(chunk)
        if len(chunk) <= _MAX_KEPT_CHARS:
            if len(self) >= _MAX_KEPT:
                self.clear()
            self[chunk] = found
        return found


_WORDS_OF_CHUNK = _WordsOfChunk()
_short_text_words = lru_cache(maxsize=_MAX_SHARED)(_split)
"""Several rules look at one text, one after the other."""


def sentences(text: str) -> list[str]:
    """Cut behind closing punctuation that a space or the end follows; the rest is one, too."""
    found, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        found.append(text[start : end.end()])
        start = end.end()
    if text[start:].strip():
        found.append(text[start:])
    return found


def lines(text: str) -> list[str]:
    """Cut at line breaks, however many stand together: one at an end leaves an empty line there."""
    return _LINE_BREAK.split(text) if "\n\n" in text else text.split("\n")


def paragraphs(text: str) -> list[str]:
    """Cut at empty lines; those around the text do not count."""
    return _PARAGRAPH_BREAK.split(text.strip()) if "\n\n" in text else [text.strip()]


def duplicates(units: list[str]) -> tuple[int, int]:
    """How many units stood before already, and how many characters they have."""
    unseen = set(units)
    if len(unseen) == len(units):
        return 0, 0
    num_duplicates = num_chars = 0
    for unit in units:
        if unit in unseen:
            unseen.remove(unit)
        else:
            num_duplicates += 1
            num_chars += len(unit)
    return num_duplicates, num_chars
