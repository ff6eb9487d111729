"""What a rule reads of a sample as one text, and what it quotes of it as evidence."""

from __future__ import annotations

from weave_async.records import Sample
from weave_async.validation.turns import Field, turns

MAX_QUOTED_CHARS = 200


def text_of(sample: Sample, field: Field) -> str:
    """The turns of one field, with an empty line between them."""
    return "\n\n".join(message.content for _, message in turns(sample, field))


def quoted(text: str, most_chars: int = MAX_QUOTED_CHARS) -> str:
    """The beginning of a text, without what no file could hold."""
    text = text if len(text) <= most_chars else f"{text[: most_chars - 1]}…"
    return text.encode(errors="replace").decode()
