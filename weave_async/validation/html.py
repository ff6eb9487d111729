"""Answers that must be HTML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import NamedTuple

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.fences import NoCodeError, blocks_of
from weave_async.validation.texts import quoted

MAX_CHARS = 200_000
_VOID = "area base br col embed hr img input link meta param source track wbr"
VOID = frozenset(_VOID.split())
"""Elements without an end (HTML Living Standard, 13.1.2)."""
_MAY_STAY_OPEN = (
    "body caption colgroup dd dt head html li optgroup option p rp rt tbody td tfoot th thead tr"
)
MAY_STAY_OPEN = frozenset(_MAY_STAY_OPEN.split())
"""Those whose end tag may be left out (the same, 13.1.2.4)."""
# Python's html.parser takes the square of the length of a text of unclosed quotes or comments, and
# raises on `<![`. Here the first that is never closed is the last that is looked at.
_MARKUP = re.compile(
    r"<(?:!--(?:-?>|.*?--!?>)"
    r"|[!?][^>]*+>"
    r"|(?P<end>/?)(?P<tag>[A-Za-z][^\s/>]*+)"
    r"(?:[^=>]++|=\s*+(?:\"[^\"]*+\"|'[^']*+'|(?![\"'])[^\s>]*+))*+>)",
    re.DOTALL,
)
_START = re.compile(r"<(?:[!?]|/?(?P<tag>[A-Za-z][^\s/>]{0,50}))")
_RAW = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style")}
"""What stands in these is no HTML, up to their end."""


class _UnbalancedError(Exception):
    """A tag that has no partner."""

    def __init__(self, reason: str, tag: str, line: int) -> None:
        super().__init__(tag)
        self.reason, self.tag, self.line = reason, tag, line


@dataclass(frozen=True, slots=True)
class HtmlValidator:
    """The tags of the HTML in the completion are balanced, as far as HTML wants them to be.

    HTML is what stands in fences (```` ```html ````, or those of no language where none is tagged);
    without any fence, the whole completion, which may have text around it. ``elements`` are the
    names of those that must occur. What browsers would mend in silence is refused: an element that
    is never closed, one that was never opened, two that overlap.
    """

    elements: list[str] = dataclass_field(default_factory=list)

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        if len(text) > MAX_CHARS:
            return Verdict(False, "too_large", {"chars": len(text), "max_chars": MAX_CHARS})
        found: set[str] = set()
        try:
            for block in blocks_of(text, ("html", "htm", "xhtml")):
                tags = _Tags()
                try:
                    for tag in _tags_in(block.code):
                        tags.take(tag)
                    tags.require_all_closed()
                except _UnbalancedError as error:
                    line = block.first_line + error.line - 1
                    return Verdict(False, error.reason, {"tag": quoted(error.tag), "line": line})
                found |= tags.found
        except NoCodeError as error:
            return Verdict(False, error.reason, {"message": str(error)})
        if not found:
            return Verdict(False, "no_element")
        if missing := [name for name in self.elements if name.lower() not in found]:
            return Verdict(False, "element_missing", {"missing": missing})
        return ACCEPTED


class _Tag(NamedTuple):
    name: str
    line: int
    is_end: bool
    is_closed: bool
    """``<path/>`` in an SVG; elsewhere people mean the same."""


def _tags_in(text: str) -> Iterator[_Tag]:
    """As browsers cut a text into tags. Raises ``_UnbalancedError`` for one without its ``>``."""
    at, line, counted_to = 0, 1, 0
    while (start := _START.search(text, at)) is not None:
        line += text.count("\n", counted_to, start.start())
        counted_to = start.start()
        found = _MARKUP.match(text, start.start())
        if found is None:
            raise _UnbalancedError("never_closed", start["tag"] or start.group(), line)
        at = found.end()
        if found["tag"] is None:
            continue
        name, is_end = found["tag"].lower(), bool(found["end"])
        yield _Tag(name, line, is_end, found.group().endswith("/>"))
        if name in _RAW and not is_end:
            end = _RAW[name].search(text, at)
            if end is None:
                raise _UnbalancedError("never_closed", name, line)
            at = end.start()


class _Tags:
    """Keeps the elements that are open."""

    def __init__(self) -> None:
        self._open: list[tuple[str, int]] = []
        self._num_open: Counter[str] = Counter()
        self.found: set[str] = set()

    def take(self, tag: _Tag) -> None:
        if tag.is_end:
            self._close(tag.name, tag.line)
            return
        self.found.add(tag.name)
        if tag.name not in VOID and not tag.is_closed:
            self._open.append((tag.name, tag.line))
            self._num_open[tag.name] += 1

    def _close(self, tag: str, line: int) -> None:
        if not self._num_open[tag]:
            raise _UnbalancedError("never_opened", tag, line)
        while True:
            opened, opened_line = self._open.pop()
            self._num_open[opened] -= 1
            if opened == tag:
                return
            if opened not in MAY_STAY_OPEN:
                raise _UnbalancedError("never_closed", opened, opened_line)

    def require_all_closed(self) -> None:
        for tag, line in self._open:
            if tag not in MAY_STAY_OPEN:
                raise _UnbalancedError("never_closed", tag, line)
