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
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?:\s+|\Z)|[。！？]+")
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_MAX_KEPT_CHARS = 60
"""Longer than a word of any language: what is not, would only fill the memory."""


def words(text: str) -> list[str]:
    """The words of a text, punctuation among them."""
    chunks = text.split()
    if max(map(len, chunks), default=0) > _MAX_KEPT_CHARS:
        return _WORD.findall(text)
    return list(chain.from_iterable(map(_words_of_chunk, chunks)))


@lru_cache(maxsize=16_384)
def _words_of_chunk(chunk: str) -> list[str]:
    """Most chunks of a text have been seen before: looking them up takes half of the time."""
    return _WORD.findall(chunk)


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
    return _LINE_BREAK.split(text) if "\n" in text else [text]


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
