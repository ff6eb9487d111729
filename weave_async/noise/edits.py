"""Edits of a text: what a noise may change, what it has changed, and how to take that back."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import NamedTuple

from weave_async.records import Sample, TextChange

_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
_ASCII_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")  # the same, in two thirds of the time


class Edit(NamedTuple):
    """``text[start:end]`` becomes ``after``. With ``start == end`` it is an insertion."""

    start: int
    end: int
    after: str


class Span(NamedTuple):
    """A stretch that noise must not touch, and what it is: see ``noise.spans``."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class Passage:
    """A text to vary, with the ``protected`` stretches in it: in order, and none within another.

    ``sample_seed`` is the same for all texts of a sample, so that a noise can do the same thing in
    each of them, as with a name. ``rewritable`` are the spans, in order, that only a noise may
    touch that has their kind in its ``rewrites``: they are no part of ``protected``.
    """

    text: str
    protected: Sequence[Span] = ()
    sample_seed: int = 0
    rewritable: Sequence[Span] = ()

    @cached_property
    def words(self) -> list[tuple[int, int]]:
        """The stretches of letters, ``don't`` as one, that may change as a whole."""
        word = _ASCII_WORD if self.text.isascii() else _WORD
        return self.only_free(list(map(re.Match.span, word.finditer(self.text))))

    @cached_property
    def free(self) -> list[tuple[int, int]]:
        """All that may change: the stretches between the protected ones."""
        stretches, start = [], 0
        for span in self.protected:
            if span.start > start:
                stretches.append((start, span.start))
            start = span.end
        if start < len(self.text):
            stretches.append((start, len(self.text)))
        return stretches

    def is_free(self, start: int, end: int) -> bool:
        """Whether nothing from ``start`` to ``end`` is protected; an insertion may touch."""
        before = bisect_left(self.protected, (end,))
        return before == 0 or self.protected[before - 1].end <= start

    def only_free(self, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of many places that are free: the places are in order of both start and end."""
        if not self.protected:
            return places
        free: list[tuple[int, int]] = []
        at = 0
        for start, end, _ in self.protected:
            upto = bisect_right(places, (start, start), at)
            after = bisect_left(places, (end,), upto)
            while upto > at and places[upto - 1][1] > start:
                upto -= 1
            free += places[at:upto]
            at = after
        free += places[at:]
        return free


def num_edits(rate: float, num_sites: int, rng: Random) -> int:
    """How many of so many sites to change, for ``rate`` of them to be changed on average.

    At least one wherever something is asked for and possible: in texts with less than ``1 / rate``
    sites more is delivered than was asked for, and in longer ones just that.
    """
    if rate <= 0 or num_sites == 0:
        return 0
    wanted = rate * num_sites
    whole = int(wanted)
    return min(num_sites, max(1, whole + (rng.random() < wanted - whole)))


def applied(passage: Passage, edits: Iterable[Edit]) -> tuple[str, tuple[TextChange, ...]]:
    """The text with its edits made, and the changes that there were.

    Edits may come in any order. Of two that overlap the later one is left out, and so is one that
    touches what is protected, or changes nothing.
    """
    text, pieces, changes, end = passage.text, [], [], 0
    for edit in sorted(edits):
        before = text[edit.start : edit.end]
        if edit.start < end or edit.after == before or not passage.is_free(edit.start, edit.end):
            continue
        pieces += [text[end : edit.start], edit.after]
        changes.append(TextChange(edit.start, before, edit.after))
        end = edit.end
    pieces.append(text[end:])
    return "".join(pieces), tuple(changes)


def undone(text: str, changes: Sequence[TextChange]) -> str:
    """The text as it was before these changes. Raises ``ValueError`` if they are not in it."""
    shift = sum(len(change.after) - len(change.before) for change in changes)
    for change in reversed(changes):
        shift -= len(change.after) - len(change.before)
        start = change.start + shift
        end = start + len(change.after)
        if text[start:end] != change.after:
            raise ValueError(f"{change.after!r} is not what stands at {start}")
        text = text[:start] + change.before + text[end:]
    return text


def clean_texts(sample: Sample) -> dict[int, str]:
    """The texts of the messages that noise has changed, by their index, as they were before."""
    texts: dict[int, str] = {}
    for edit in reversed(sample.edits):
        if not edit.changes:  # a rule has mended the message since, and they are gone
            continue
        noisy = texts.get(edit.message_index, sample.messages[edit.message_index].content)
        texts[edit.message_index] = undone(noisy, edit.changes)
    return texts
