"""JSON Lines with ``messages``: what ``datasets`` and TRL's SFT trainer load as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from weave_async.records import Sample
from weave_async.sinks.rows import lineage


@dataclass(frozen=True, slots=True)
class JsonlSink:
    """``{"messages": […], "sample_id": …, "lineage": {…}}``, with the same keys in every row."""

    suffix: ClassVar[str] = ".jsonl"

    def encode(self, sample: Sample) -> bytes:
        row: dict[str, Any] = {
            "messages": sample.messages,
            "sample_id": sample.sample_id,
            "lineage": lineage(sample),
        }
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
