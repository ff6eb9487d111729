"""Remains of where a text was copied from: HTML, Markdown, a mail, a web page, a PDF."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from weave_async.noise.edits import Edit, Passage
from weave_async.noise.quantities import follows_number
from weave_async.noise.sites import Site, check_rate, taken

Kind = Literal["html", "markdown", "quote", "paste"]

_BLANK = re.compile(r" (?<=\S )(?=\S)")
_SENTENCE_BLANK = re.compile(r" (?<=[.!?:] )(?=\S)")
_NEW_LINE = re.compile(r"\n(?=\S)")
_ENTITIES = {"&": "&amp;", "'": "&apos;", "’": "&rsquo;", "“": "&ldquo;", "”": "&rdquo;"}
_ENTITY = re.compile(r"[&'’“”–-](?:(?<![–-])|(?<=\s.)(?=\s))")
_EMPHASIS = ("**", "*", "__", "_")  # no ~~: what is struck out is not said
_PREFIXES = ("# ", "## ", "- ", "* ", "• ", "+ ")
_INVISIBLE = ("\u200b", "\u00ad", "\ufeff")
_BLANKS = ("\u00a0", "\u2009", "\u202f", "  ", "\t")
_WEIGHTS: dict[Kind, int] = {"html": 35, "markdown": 30, "quote": 10, "paste": 25}
_SPARING = 0.1
"""The share of words, and of blanks between them, that have remains about them in a bad case."""


@dataclass(frozen=True, slots=True)
class MarkupNoise:
    """Leaves remains of markup and of copying in a text, of one kind throughout.

    ``rate`` is the share of its sites that change. By ``kind`` the sites are: ``html``, every tenth
    blank and each ``&``, apostrophe and dash (``&nbsp;``, ``&amp;``), line ends and blanks between
    sentences (``<br>``); ``markdown``, every tenth word (``**so**``) and the beginnings of lines
    (``#``, ``-``); ``quote``, the beginnings of lines (``>``), as in mails; ``paste``, every tenth
    blank or place in a long word (other blanks, characters that cannot be seen). ``mixed``
    draws one for each text among those that have a site in it.
    """

    rate: float = 0.3
    kind: Literal["html", "markdown", "quote", "paste", "mixed"] = "mixed"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    def edits(self, passage: Passage, rng: Random) -> Sequence[Edit]:
        if self.rate <= 0:
            return ()
        left = {self.kind: 1} if self.kind != "mixed" else dict(_WEIGHTS)
        while left:
            kind = rng.choices(list(left), list(left.values()))[0]
            found = {  # a blank may be two sites in one
                (edit.start, edit.end): edit
                for edit in _SITES[kind](passage, rng)
                if passage.is_free(edit.start, edit.end)
            }
            if found:
                return taken(list(found.values()), self.rate, rng)
            del left[kind]
        return ()


def _html(passage: Passage, rng: Random) -> Iterator[Edit]:
    text = passage.text
    for start, end in _some(_blanks(passage, _BLANK), rng):
        yield Edit(start, end, "&nbsp;")
    for match in _ENTITY.finditer(text):
        yield Edit(*match.span(), _ENTITIES.get(match.group(), "&ndash;"))
    for start, end in _blanks(passage, _SENTENCE_BLANK):
        yield Edit(start, end, rng.choice(("<br>", "<br/>", "<br> ", "</p><p>")))
    for match in re.finditer("\n", text):
        yield Edit(*match.span(), rng.choice(("<br>\n", "<br />", "</p>\n<p>")))


def _markdown(passage: Passage, rng: Random) -> Iterator[Edit]:
    for start, end in _some(_words(passage, 1), rng):
        mark = rng.choice(_EMPHASIS)
        # Often only one of the two marks has survived the copying.
        after = rng.choices((mark, ""), (3, 1))[0]
        yield Edit(start, end, f"{mark}{passage.text[start:end]}{after}")
    for start in _line_starts(passage.text):
        yield Edit(start, start, rng.choice(_PREFIXES))


def _quote(passage: Passage, rng: Random) -> Iterator[Edit]:
    mark = rng.choice(("> ", ">", ">> ", "| "))
    for start in _line_starts(passage.text):
        yield Edit(start, start, mark)


def _paste(passage: Passage, rng: Random) -> Iterator[Edit]:
    for start, end in _some(_blanks(passage, _BLANK), rng):
        yield Edit(start, end, rng.choice(_BLANKS))
    for start, end in _some(_words(passage, 6), rng):
        at = rng.randrange(start + 2, end - 2)
        yield Edit(at, at, rng.choice(_INVISIBLE))


def _line_starts(text: str) -> Iterator[int]:
    """The beginnings of lines with something on them, not in front of a blank."""
    if not text[:1].isspace():
        yield 0
    for match in _NEW_LINE.finditer(text):
        yield match.end()


def _blanks(passage: Passage, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    """Those between words that are free: an address would swallow an ``&nbsp;`` beside it."""
    wider = [(match.start() - 1, match.end() + 1) for match in pattern.finditer(passage.text)]
    return [(start + 1, end - 1) for start, end in passage.only_free(wider)]


def _words(passage: Passage, min_chars: int) -> list[tuple[int, int]]:
    return [
        (start, end)
        for start, end in passage.words
        if end - start >= min_chars and not follows_number(passage.text, start)
    ]


def _some(places: Sequence[Site], rng: Random) -> list[Site]:
    return taken(places, _SPARING, rng)


_SITES: dict[str, Callable[[Passage, Random], Iterator[Edit]]] = {
    "html": _html,
    "markdown": _markdown,
    "quote": _quote,
    "paste": _paste,
}
