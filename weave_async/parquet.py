"""Parquet files that `datasets` loads with the columns that were meant.

`datasets` reads its own types from the key ``huggingface`` of the schema's metadata, and writes it
as here; so its 370 MB are not needed to write one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from io import RawIOBase
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from weave_async.columns import Column

BATCH_ROWS = 1_000
"""Rows in a row group: few enough for a viewer to read one, and for us to hold."""


def _value(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "_type": "Value"}


def _list(feature: Mapping[str, Any]) -> dict[str, Any]:
    return {"feature": feature, "_type": "List"}


def _turns(who: str, what: str) -> tuple[pa.DataType, dict[str, Any]]:
    struct = pa.struct([(who, pa.string()), (what, pa.string())])
    return pa.list_(struct), _list({who: _value("string"), what: _value("string")})


_TYPES: Mapping[Column, tuple[pa.DataType, dict[str, Any]]] = {
    Column.string: (pa.string(), _value("string")),
    Column.flag: (pa.bool_(), _value("bool")),
    Column.number: (pa.float64(), _value("float64")),
    Column.messages: _turns("role", "content"),
    Column.conversations: _turns("from", "value"),
    Column.history: (pa.list_(pa.list_(pa.string())), _list(_list(_value("string")))),
}
"""Each column in Arrow, and as a feature of `datasets`."""


def schema_of(columns: Mapping[str, Column]) -> pa.Schema:
    features = {name: _TYPES[column][1] for name, column in columns.items()}
    told = orjson.dumps({"info": {"features": features}})
    fields = [(name, _TYPES[column][0]) for name, column in columns.items()]
    return pa.schema(fields, metadata={"huggingface": told})


class ParquetWriter:
    """Rows into ``file``, which is written from front to back, and closed by whoever opened it."""

    def __init__(self, file: IO[bytes] | RawIOBase, columns: Mapping[str, Column]) -> None:
        self._schema = schema_of(columns)
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._held = list[Mapping[str, Any]]()

    def write(self, row: Mapping[str, Any]) -> None:
        self._held.append(row)
        if len(self._held) == BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._held, schema=self._schema))
        self._held.clear()

    def finish(self) -> None:
        if self._held:
            self._flush()
        self._writer.close()

    def abandon(self) -> None:
        # Closed on its own, it would write its footer into a file that is closed by then.
        with suppress(OSError, pa.ArrowException):
            self._writer.close()
