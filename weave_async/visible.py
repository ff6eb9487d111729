"""Texts of strangers, fit to be shown: on a terminal, in a picture, on a page."""

from __future__ import annotations

import os
import re
from pathlib import Path

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u00ad\u200b\u2060-\u2064\ufeff"  # of no width; joiners stay, which emoji and Persian need
    "\u2028\u2029"  # line ends to some programs
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # bidirectional controls (CVE-2021-42574)
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations; tags, which hide text from people
    "\ud800-\udfff\ufffe\uffff]"  # which no file in UTF-8 can hold, or XML
)
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidirectional controls (CVE-2021-42574)
    "\ud800-\udfff\ufffe\uffff]"  # which no file in UTF-8 can hold, or XML
)


def printable(text: str) -> str:
    """``text`` with nothing in it that drives a terminal, turns others around, or that XML forbids:
    a ``�`` stands for each.
    """
    return _UNPRINTABLE.sub("�", text)


def visible(text: str) -> str:
    """``text`` with the code of each hidden character in its place, as in ``⟦U+202E⟧``."""
    return _HIDDEN.sub(_named, text)


def path_text(path: Path) -> str:
    """A path as text, whatever its bytes are."""
    return os.fsencode(path).decode(errors="replace")


def cut(text: str, most_chars: int) -> str:
    """The beginning of a long text; what is left out is told by an ellipsis."""
    return text if len(text) <= most_chars else f"{text[: most_chars - 1]}…"


def _named(found: re.Match[str]) -> str:
    return f"⟦U+{ord(found[0]):04X}⟧"
