"""Parquet with ``messages``: shards that ``datasets`` loads with the columns that were meant."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import orjson

from weave_async.columns import Column
from weave_async.records import Sample
from weave_async.sinks.rows import lineage

COLUMNS: Mapping[str, Column] = {
    "messages": Column.messages,
    "sample_id": Column.string,
    "lineage": Column.string,
}


@dataclass(frozen=True, slots=True)
class ParquetSink:
    """The columns of a row of JSON Lines, but that the lineage is one JSON text: its attributes and
    parameters are of no one type. Needs the extra ``parquet``.
    """

    suffix: ClassVar[str] = ".parquet"
    rows_per_shard: int = 100_000

    def __post_init__(self) -> None:
        try:
            import weave_async.parquet  # noqa: F401 - whether it can be
        except ModuleNotFoundError as error:
            raise ValueError("Parquet needs pyarrow: pip install 'weave-async[parquet]'") from error

    def open(self, write: Callable[[bytes], object]) -> _Shard:
        return _Shard(write)


class _Shard:
    def __init__(self, write: Callable[[bytes], object]) -> None:
        from weave_async.parquet import ParquetWriter

        self._writer = ParquetWriter(_Appending(write), COLUMNS)

    def write(self, sample: Sample) -> None:
        turns = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
        told = orjson.dumps(lineage(sample)).decode()
        self._writer.write({"messages": turns, "sample_id": sample.sample_id, "lineage": told})

    def finish(self) -> None:
        self._writer.finish()

    def abandon(self) -> None:
        self._writer.abandon()


class _Appending(io.RawIOBase):
    """A file for pyarrow that is somebody else's; Parquet is written from front to back."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._place = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def write(self, content: bytes | memoryview) -> int:  # type: ignore[override]
        self._write(bytes(content))
        self._place += len(content)
        return len(content)
