"""Spans that noise must not touch: what carries the meaning, or breaks when a letter changes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from weave_async.noise.edits import Passage, Span

_WHOLE = re.compile(
    r"```.*?```|`[^`\n]+`"  # code
    r"|https?://\S+|www\.\S+"  # URLs
    r"|<[^<>\n]+>|\{[^{}\n]*\}"  # markup, placeholders, inline JSON
    r"|\b[A-Z]{2,}s?\b",  # acronyms
    re.DOTALL,
)
_TOKEN = re.compile(r"\S+")
_TELLING = re.compile(r"\d|@[^@]*\.\w")  # in a token: amounts, dates, order codes; addresses


class ProtectedSpans:
    """Splits a text into what may change and what may not. ``terms`` are matched as whole words."""

    def __init__(self, terms: Iterable[str] = ()) -> None:
        either = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True) if term)
        # A look-ahead takes up no text: terms that overlap, or stand in other spans, all match.
        pattern = rf"(?<!\w)(?=({either})(?!\w))"
        self._terms = re.compile(pattern, re.IGNORECASE) if either else None

    def passage(
        self,
        text: str,
        sample_seed: int = 0,
        rewrites: Collection[str] = (),
        *,
        extra_terms: Iterable[str] = (),
    ) -> Passage:
        """The text with what is protected in it, all but spans of the kinds in ``rewrites``."""
        terms = [
            match.span()
            for term in extra_terms
            if term
            for match in re.finditer(re.escape(term), text, re.IGNORECASE)
        ]
        found = _merged([*self._spans(text), *terms])
        spans = [Span(start, end, "protected") for start, end in found]
        return Passage(text, spans, sample_seed)

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        yield from (match.span() for match in _WHOLE.finditer(text))
        for token in _TOKEN.finditer(text):
            if _TELLING.search(token.group()):
                yield token.span()
        if self._terms is not None:
            yield from (match.span(1) for match in self._terms.finditer(text))


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
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
