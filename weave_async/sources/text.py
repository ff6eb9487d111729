"""Plain text: one prompt per line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weave_async.records import BadRow, Row
from weave_async.sources.files import open_bytes


@dataclass(frozen=True, slots=True)
class TextSource:
    """Each non-blank line is a row with one column, ``text``."""

    path: Path

    def rows(self) -> Iterator[Row | BadRow]:
        with open_bytes(self.path) as lines:
            for number, line in enumerate(lines, start=1):
                origin = f"{self.path}:{number}"
                try:
                    text = line.decode().strip()
                except UnicodeDecodeError as error:
                    yield BadRow(origin, f"not UTF-8: {error.reason} at byte {error.start}")
                    continue
                if text:
                    yield Row({"text": text}, origin)
