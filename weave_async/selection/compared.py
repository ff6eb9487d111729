"""What of a sample is compared, and by which name it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from weave_async.records import Message, Sample

Compared = Literal["completion", "prompt", "messages"]
"""The answer, all turns before it, or the whole conversation."""


def turns_of(messages: Sequence[Message], on: Compared) -> list[str]:
    """The texts of the turns that are compared."""
    has_answer = bool(messages) and messages[-1].role == "assistant"
    if on == "completion":
        return [messages[-1].content] if has_answer else [""]
    before = messages[:-1] if has_answer and on == "prompt" else messages
    return [message.content for message in before]


def name_of(sample: Sample, on: Compared) -> str:
    """Copies of one answer, which noise makes, share their completion on purpose: by it, they are
    one and the same.
    """
    return sample.answer_id if on == "completion" else sample.sample_id
