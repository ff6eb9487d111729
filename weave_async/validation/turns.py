"""Which turns of a sample a rule looks at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from weave_async.records import Message, Sample

Field = Literal["prompt", "completion", "both"]
"""The completion is the answer that the sample ends with, the prompt every turn before it."""


def turns(sample: Sample, field: Field) -> Iterator[tuple[int, Message]]:
    """The turns of one field with their places in ``sample.messages``."""
    messages = sample.messages
    answer = len(messages) - 1 if messages and messages[-1].role == "assistant" else len(messages)
    for index, message in enumerate(messages):
        if field == "both" or (field == "completion") == (index >= answer):
            yield index, message
