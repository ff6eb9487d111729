"""Code in an answer: what stands between fences, or else the whole answer."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from textwrap import dedent

_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([^\s`]*)[^`\n]*$")


class NoCodeError(ValueError):
    """Why no code can be taken from an answer; ``reason`` is its short code."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of code. ``first_line`` is where it stands in the answer, counted from 1."""

    code: str
    first_line: int = 1
    language: str = ""


def blocks_of(text: str, languages: Collection[str]) -> list[Block]:
    """The fenced blocks in one of these languages; without any, those that name no language.

    An answer without fences is one block. Raises ``NoCodeError`` where there are only blocks of
    other languages, and where a fence is never closed: such an answer was cut off.
    """
    fenced = _fenced(text)
    if not fenced:
        return [Block(text)]
    named = [block for block in fenced if block.language in languages]
    found = named or [block for block in fenced if not block.language]
    if not found:
        others = ", ".join(sorted({block.language for block in fenced})[:5])
        raise NoCodeError("no_code", f"only blocks of {others[:100]}")
    return found


def _fenced(text: str) -> list[Block]:
    """All fenced blocks. A fence ends with one at least as long, as CommonMark (4.5) has it."""
    found: list[Block] = []
    opened, language, first_line = "", "", 0
    inside: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        fence = _FENCE.match(line)
        if not opened:
            if fence:
                opened, language, first_line = fence[1], fence[2].strip("{}.").lower(), number + 1
                inside = []
        elif fence and fence[1].startswith(opened) and line.strip() == fence[1]:
            found.append(Block(dedent("\n".join(inside)), first_line, language))
            opened = ""
        else:
            inside.append(line)
    if opened:
        raise NoCodeError("unclosed_fence", f"the fence before line {first_line} is never closed")
    return found
