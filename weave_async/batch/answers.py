"""The files of answers that a batch came to: any order, some twice, some missing, some nobody's."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from weave_async.batch.requests import CustomIdIn
from weave_async.rundir import open_regular

MAX_LINE_BYTES = 64 * 1024 * 1024
SKIPPED_IN_ONE_GO = 1024 * 1024
LINES_IN_ONE_GO = 200
"""Then the loop has its turn."""


class Answers:
    """Finds a request's line by its name. Where each stands is kept in memory, the lines are not.

    Of several lines with one name the first counts.
    """

    def __init__(self, paths: Sequence[Path], custom_id_in: CustomIdIn) -> None:
        self._paths = paths
        self._custom_id_in = custom_id_in
        self._files: list[IO[bytes]] = []
        self._places: dict[str, tuple[int, int]] = {}
        self.num_unknown = self.num_repeated = self.num_unreadable = 0

    def __repr__(self) -> str:
        return f"<Answers {len(self._places)} in {len(self._paths)} files>"

    def __enter__(self) -> Self:
        self._files = [open_regular(path) for path in self._paths]
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for file in self._files:
            file.close()

    async def find_all(self, asked: Collection[str]) -> None:
        """Look once at every line. Those that nobody asked for are counted."""
        for file_number, file in enumerate(self._files):
            num_lines, offset = 0, 0
            while line := file.readline(MAX_LINE_BYTES):
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    del line  # the next piece needs its room
                    self.num_unreadable += 1
                    await _skip_line(file)
                else:
                    self._note(line, asked, (file_number, offset))
                offset = file.tell()
                num_lines += 1
                if num_lines % LINES_IN_ONE_GO == 0:
                    await asyncio.sleep(0)

    def line_of(self, custom_id: str) -> bytes | None:
        """The line that answers this request; ``None`` where there is none."""
        place = self._places.get(custom_id)
        if place is None:
            return None
        file_number, offset = place
        self._files[file_number].seek(offset)
        return _without_mark(self._files[file_number].readline(MAX_LINE_BYTES))

    def faults(self) -> str:
        """What was odd about the files, for people; empty where nothing was."""
        counts = (
            (self.num_unreadable, "unreadable"),
            (self.num_unknown, "of nobody here"),
            (self.num_repeated, "repeated"),
        )
        return ", ".join(f"{count} lines {what}" for count, what in counts if count)

    def _note(self, line: bytes, asked: Collection[str], place: tuple[int, int]) -> None:
        line = _without_mark(line).strip()
        if not line:
            return
        custom_id = self._custom_id_in(line)
        if custom_id is None:
            self.num_unreadable += 1
        elif custom_id not in asked:
            self.num_unknown += 1
        elif custom_id in self._places:
            self.num_repeated += 1
        else:
            self._places[custom_id] = place


async def _skip_line(file: IO[bytes]) -> None:
    """The rest of a line that is too long to be an answer."""
    while piece := file.readline(SKIPPED_IN_ONE_GO):
        if piece.endswith(b"\n"):
            return
        await asyncio.sleep(0)


def _without_mark(line: bytes) -> bytes:
    return line.removeprefix(codecs.BOM_UTF8)
