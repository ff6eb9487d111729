"""Spans that noise must not touch: what carries the meaning, or breaks when a letter changes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_PROTECTED = (
    r"```.*?```|`[^`\n]+`",  # code
    r"https?://\S+|www\.\S+|\S+@\S+\.\w+",  # URLs and addresses
    r"<[^<>\n]+>|\{[^{}\n]*\}",  # markup, placeholders, inline JSON
    r"\S*\d\S*",  # numbers, with their units, currencies and order codes
    r"\b[A-Z]{2,}\b",  # acronyms
)


class ProtectedSpans:
    """Splits a text into what may change and what may not. ``terms`` are matched as whole words."""

    def __init__(self, terms: Iterable[str] = ()) -> None:
        words = (rf"(?i:(?<!\w){re.escape(term)}(?!\w))" for term in terms if term)
        self._pattern = re.compile("|".join((*_PROTECTED, *words)), re.DOTALL)

    def change_between(self, text: str, change: Callable[[str], str]) -> str:
        """``text`` with ``change`` applied to each stretch between protected spans."""
        pieces, start = [], 0
        for span in self._pattern.finditer(text):
            pieces += [change(text[start : span.start()]), span.group()]
            start = span.end()
        pieces.append(change(text[start:]))
        return "".join(pieces)
