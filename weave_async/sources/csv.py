"""Comma-separated values with a header line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from weave_async.errors import InputError
from weave_async.records import BadRow, Row
from weave_async.sources.files import open_bytes

csv.field_size_limit(1 << 30)
"""The library's default of 128 KiB breaks off inside a cell, and takes its rest for rows."""


@dataclass(frozen=True, slots=True)
class CsvSource:
    """The header names the columns; every value is text. A row with too few or many cells is bad.

    Without a ``delimiter`` it is a comma, or else the semicolon or tab that the header has.

    ``origin`` names the line on which a row ends: a quoted cell may hold line breaks.
    """

    path: Path
    delimiter: str | None = None

    def rows(self) -> Iterator[Row | BadRow]:
        with open_bytes(self.path) as lines:
            text = (line.decode(errors="surrogateescape") for line in lines)
            head = list(_up_to_first_row(text))
            delimiter = self.delimiter or _delimiter_of(head[-1] if head else "")
            reader = csv.reader(chain(head, text), delimiter=delimiter, strict=True)
            header = self._header(reader)
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield BadRow(f"{self.path}:{reader.line_num}", f"not CSV: {error}")
                    continue
                if cells:
                    yield _row_of(header, cells, f"{self.path}:{reader.line_num}")

    def _header(self, reader: Iterator[list[str]]) -> list[str]:
        try:
            header = next((cells for cells in reader if cells), [])
            ",".join(header).encode()
        except csv.Error as error:
            raise InputError(f"{self.path}:1: not CSV: {error}") from error
        except UnicodeEncodeError as error:
            raise InputError(f"{self.path}:1: the header is not UTF-8") from error
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise InputError(f"{self.path}:1: column {sorted(twice)[0]!r} stands twice")
        return header


def _up_to_first_row(lines: Iterator[str]) -> Iterator[str]:
    """Blank lines, and the line that ends them."""
    for line in lines:
        yield line
        if line.strip():
            return


def _delimiter_of(header: str) -> str:
    outside_quotes = re.sub(r'"[^"]*"', "", header)
    return next((mark for mark in ",;\t" if mark in outside_quotes), ",")


def _row_of(header: list[str], cells: list[str], origin: str) -> Row | BadRow:
    if len(cells) != len(header):
        return BadRow(origin, f"{len(cells)} cells under a header of {len(header)}")
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        return BadRow(origin, "not UTF-8")
    return Row(dict(zip(header, cells, strict=True)), origin)
