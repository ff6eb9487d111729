"""Texts of others in a prompt of ours: fenced off as data, so that a model can tell who speaks.

A mitigation, no more: a model may still do what a text between the fences says. What it can change
by that is its own answer, which is parsed and checked like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

CUT = "[… cut here: the text is longer …]"


@dataclass(frozen=True, slots=True)
class Fence:
    """Lines around a text, with a mark that whoever wrote the text cannot have known."""

    mark: str

    def around(self, kind: str, text: str, *, most_chars: int | None = None) -> str:
        """The text between two lines that name its kind; a long one loses its end."""
        if most_chars is not None and len(text) > most_chars:
            text = f"{text[:most_chars]}\n{CUT}"
        text = text.replace(self.mark, "")
        return f"[begin {kind} {self.mark}]\n{text}\n[end {kind} {self.mark}]"


def fence_for(seed: int, name: str) -> Fence:
    """The same for the same seed and name, so that a question can be recalled."""
    return Fence(blake2b(f"{seed}\0{name}\0fence".encode(), digest_size=8).hexdigest())
