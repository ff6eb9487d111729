"""Spans that noise must not touch: what carries the meaning, or breaks when a letter changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

_WHOLE = re.compile(
    r"```.*?```|`[^`\n]+`"  # code
    r"|https?://\S+|www\.\S+"  # URLs
    r"|<[^<>\n]+>|\{[^{}\n]*\}"  # markup, placeholders, inline JSON
    r"|\b[A-Z]{2,}s?\b",  # acronyms
    re.DOTALL,
)
_TOKEN = re.compile(r"\S+")
_TELLING = re.compile(r"\d|@[^@]*\.\w")  # in a token: amounts, dates, order codes; addresses

Span = tuple[int, int]


class ProtectedSpans:
    """Splits a text into what may change and what may not. ``terms`` are matched as whole words."""

    def __init__(self, terms: Iterable[str] = ()) -> None:
        either = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True) if term)
        # A look-ahead takes up no text: terms that overlap, or stand in other spans, all match.
        pattern = rf"(?<!\w)(?=({either})(?!\w))"
        self._terms = re.compile(pattern, re.IGNORECASE) if either else None

    def change_between(self, text: str, change: Callable[[str], str]) -> str:
        """``text`` with ``change`` applied to each stretch between protected spans."""
        pieces, free_from = [], 0
        for start, end in _merged(self._spans(text)):
            pieces += [change(text[free_from:start]), text[start:end]]
            free_from = end
        pieces.append(change(text[free_from:]))
        return "".join(pieces)

    def _spans(self, text: str) -> Iterator[Span]:
        yield from (match.span() for match in _WHOLE.finditer(text))
        for token in _TOKEN.finditer(text):
            if _TELLING.search(token.group()):
                yield token.span()
        if self._terms is not None:
            yield from (match.span(1) for match in self._terms.finditer(text))


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """The same stretches in order, with those that overlap or touch as one."""
    start = end = -1
    for next_start, next_end in sorted(spans):
        if next_start > end:
            if end >= 0:
                yield start, end
            start, end = next_start, next_end
        end = max(end, next_end)
    if end >= 0:
        yield start, end
