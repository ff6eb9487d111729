"""JSON Lines: one object per line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from weave_async.records import BadRow, Row
from weave_async.sources.files import open_bytes


@dataclass(frozen=True, slots=True)
class JsonlSource:
    """Each line's keys are the columns. Blank lines and a leading byte-order mark are skipped."""

    path: Path

    def rows(self) -> Iterator[Row | BadRow]:
        with open_bytes(self.path) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _row_of(line, f"{self.path}:{number}")


def _row_of(line: bytes, origin: str) -> Row | BadRow:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadRow(origin, f"not JSON: {error}")
    if not isinstance(values, dict):
        return BadRow(origin, f"not an object but {type(values).__name__}")
    return Row(values, origin)
