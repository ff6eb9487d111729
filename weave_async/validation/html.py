"""Answers that must be HTML."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from html.parser import HTMLParser

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.fences import NoCodeError, blocks_of
from weave_async.validation.texts import quoted

MAX_CHARS = 200_000
MAX_UNCLOSED = 200
"""Tags that begin and never end: the parser looks for the end of each through all the rest."""
_VOID = "area base br col embed hr img input link meta param source track wbr"
VOID = frozenset(_VOID.split())
"""Elements without an end (HTML Living Standard, 13.1.2)."""
_MAY_STAY_OPEN = (
    "body caption colgroup dd dt head html li optgroup option p rp rt tbody td tfoot th thead tr"
)
MAY_STAY_OPEN = frozenset(_MAY_STAY_OPEN.split())
"""Those whose end tag may be left out (the same, 13.1.2.4)."""


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
        unclosed = text.count("<") - text.count(">")
        if unclosed > MAX_UNCLOSED:
            return Verdict(False, "unclosed_tags", {"unclosed": unclosed})
        found: set[str] = set()
        try:
            for block in blocks_of(text, ("html", "htm", "xhtml")):
                tags = _Tags()
                try:
                    tags.feed(block.code)
                    tags.close()
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


class _Tags(HTMLParser):
    """Keeps the elements that are open. Takes the square of the length of a text of unclosed
    quotes or comments: it is for a process that can be stopped.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, int]] = []
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        if tag not in VOID:
            self._open.append((tag, self.getpos()[0]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)  # `<path/>` in an SVG; elsewhere people mean the same

    def handle_endtag(self, tag: str) -> None:
        line = self.getpos()[0]
        if tag in VOID:
            raise _UnbalancedError("never_opened", tag, line)
        while self._open and self._open[-1][0] != tag and self._open[-1][0] in MAY_STAY_OPEN:
            self._open.pop()
        if not self._open:
            raise _UnbalancedError("never_opened", tag, line)
        opened, opened_line = self._open.pop()
        if opened != tag:
            is_open = any(name == tag for name, _ in self._open)
            reason = "never_closed" if is_open else "never_opened"
            raise _UnbalancedError(reason, *((opened, opened_line) if is_open else (tag, line)))

    def require_all_closed(self) -> None:
        for tag, line in self._open:
            if tag not in MAY_STAY_OPEN:
                raise _UnbalancedError("never_closed", tag, line)
