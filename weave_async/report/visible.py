"""Text of strangers, shown as it is: what has no look of its own, or moves others, gets a name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from markupsafe import Markup

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u00ad\u200b\u2060-\u2064\ufeff"  # of no width; joiners stay, which emoji and Persian need
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # bidirectional controls (CVE-2021-42574)
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations; tags, which hide text from people
    "\ud800-\udfff\ufffe\uffff]"  # which no file in UTF-8 can hold, or XML
)
_CONTROL_PICTURES = 0x2400
"""Unicode has a picture of each C0 control, in their order."""
_DEL, _PICTURE_OF_DEL = 0x7F, "\u2421"
_ESCAPED: Mapping[int, str] = {
    ord(char): f"\\u{ord(char):04x}" for char in ("<", ">", "&", "\u2028", "\u2029")
}


def visible(text: str) -> str:
    """``text`` with each hidden character as its picture or its code, as in ``⟦U+202E⟧``."""
    return _HIDDEN.sub(_named, text)


def path_text(path: Path) -> str:
    """A path as text, whatever its bytes are."""
    return os.fsencode(path).decode(errors="replace")


def cut(text: str, most_chars: int) -> str:
    """The beginning of a long text; what is left out is told by an ellipsis."""
    return text if len(text) <= most_chars else f"{text[: most_chars - 1]}…"


def json_for_script(data: Any) -> Markup:
    """``data`` for a script element: nothing in it can end the element, or a string's line."""
    return Markup(orjson.dumps(data).decode().translate(_ESCAPED))  # noqa: S704 - escaped above


def _named(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    return _PICTURE_OF_DEL if code == _DEL else f"⟦U+{code:04X}⟧"
