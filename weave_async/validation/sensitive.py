"""What must not stand in training data: where it is found, and how it is taken out.

A finding says what kind of thing stands where, and never what it is: evidence is printed, stored
and put into reports, where an address or a key has no business either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.turns import Field, turns

Action = Literal["reject", "redact"]
MAX_PASSES = 8
"""A placeholder can uncover what stood right beside it: texts are looked through until clean."""
MAX_PLACES_NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """A stretch of a text that is of some kind, such as ``email``."""

    kind: str
    start: int
    end: int


Find = Callable[[str], Iterable[Finding]]


def judged(sample: Sample, field: Field, action: Action, find: Find) -> Verdict:
    """The sample refused, or passed with placeholders; ``ACCEPTED`` where nothing is found."""
    messages, found = list(sample.messages), []
    is_clean = True
    for index, message in turns(sample, field):
        findings = list(_apart(find(message.content)))
        if findings:
            found.append((index, findings))
            text, is_text_clean = redacted(message.content, find)
            messages[index] = replace(message, content=text)
            is_clean &= is_text_clean
    if not found:
        return ACCEPTED
    if action == "reject" or not is_clean:
        return Verdict(False, "found", {"found": _told(found)})
    return Verdict(True, "redacted", {"found": _told(found)}, messages=tuple(messages))


def redacted(text: str, find: Find) -> tuple[str, bool]:
    """The text with placeholders such as ``[EMAIL]``, and whether nothing is left to be found."""
    for _ in range(MAX_PASSES):
        findings = list(_apart(find(text)))
        if not findings:
            return text, True
        parts, end = [], 0
        for finding in findings:
            parts += [text[end : finding.start], f"[{finding.kind.upper()}]"]
            end = finding.end
        text = "".join([*parts, text[end:]])
    return text, not any(True for _ in find(text))


def _apart(findings: Iterable[Finding]) -> Iterator[Finding]:
    """In order, the first and longest of those that overlap."""
    end = 0
    for finding in sorted(findings, key=lambda each: (each.start, -each.end)):
        if finding.start >= end:
            yield finding
            end = finding.end


def _told(found: list[tuple[int, list[Finding]]]) -> list[dict[str, Any]]:
    told = []
    for index, findings in found:
        for kind in sorted({finding.kind for finding in findings}):
            places = [finding.start for finding in findings if finding.kind == kind]
            named = places[:MAX_PLACES_NAMED]
            told.append({"kind": kind, "count": len(places), "message": index, "at": named})
    return told
