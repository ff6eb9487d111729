"""Whether a GGUF file is what it says, before a parser that believes it is let at it.

Every count and length in the file is held against the bytes that are there. Format:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path

from .source import WeightsError

ARRAY, STRING = 9, 8
NUMBER_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
MAX_DIMENSIONS = 4
MAX_DEPTH = 4  # of arrays in arrays
MAX_NAME_BYTES = 65_535


def count_weights(path: Path) -> int:
    """Numbers in all tensors together. Raises `WeightsError` about whatever cannot be true."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Header(data).num_weights()
    except (OSError, ValueError) as exc:  # ValueError: an empty file cannot be mapped
        raise WeightsError(f"cannot read {path}: {exc}") from exc
    except _Damage as exc:
        raise WeightsError(
            f"{path} is not a whole GGUF file: {exc}; download or convert it again"
        ) from exc


class _Damage(Exception):
    pass


class _Header:
    """A reader that goes forward through the file and never beyond its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0
        self._alignment = 32

    def num_weights(self) -> int:
        if self._bytes(4, "magic") != b"GGUF":
            raise _Damage("it does not begin with 'GGUF'")
        version = self._uint(4, "version")
        if version not in (2, 3):
            raise _Damage(f"version {version} is not known (2 and 3 are, in little-endian)")
        num_tensors = self._uint(8, "tensor_count")
        num_fields = self._uint(8, "metadata_kv_count")
        self._require(num_tensors * 24, f"tensor_count {num_tensors}")
        self._require(num_fields * 12, f"metadata_kv_count {num_fields}")
        for _ in range(num_fields):
            self._field()
        tensors = [self._tensor() for _ in range(num_tensors)]
        self._at += -self._at % self._alignment
        for name, num_weights, offset in tensors:
            # At least two bits a weight, roughly: the exact sizes are the parser's to know.
            self._require(offset + num_weights // 8, f"tensor {name!r} of {num_weights} weights")
        return sum(num_weights for _, num_weights, _ in tensors)

    def _field(self) -> None:
        key = self._name("key")
        kind = self._uint(4, f"type of {key}")
        if key == "general.alignment" and kind == 4:
            self._alignment = self._uint(4, key)
            if self._alignment not in (1 << n for n in range(17)):
                raise _Damage(f"general.alignment {self._alignment} is no small power of two")
        else:
            self._skip(kind, 1, key, MAX_DEPTH)

    def _skip(self, kind: int, count: int, key: str, depth: int) -> None:
        if kind in NUMBER_BYTES:
            self._bytes(count * NUMBER_BYTES[kind], f"{key} of {count} values", keep=False)
            return
        if kind not in (STRING, ARRAY) or depth == 0:
            raise _Damage(f"{key} has the unknown type {kind}, or arrays nested too deeply")
        self._require(count * 8, f"{key} of {count} values")
        for _ in range(count):
            if kind == STRING:
                self._bytes(self._uint(8, key), key, keep=False)
            else:
                inner = self._uint(4, key)
                self._skip(inner, self._uint(8, key), key, depth - 1)

    def _tensor(self) -> tuple[str, int, int]:
        name = self._name("tensor name")
        num_dimensions = self._uint(4, name)
        if not 1 <= num_dimensions <= MAX_DIMENSIONS:
            raise _Damage(f"tensor {name!r} has {num_dimensions} dimensions")
        num_weights = math.prod(self._uint(8, name) for _ in range(num_dimensions))
        self._uint(4, name)  # its type
        return name, num_weights, self._uint(8, name)

    def _name(self, what: str) -> str:
        length = self._uint(8, what)
        if length > MAX_NAME_BYTES:
            raise _Damage(f"a {what} of {length} bytes")
        return self._bytes(length, what).decode(errors="replace")

    def _uint(self, num_bytes: int, what: str) -> int:
        code = {4: "<I", 8: "<Q"}[num_bytes]
        number: int = struct.unpack(code, self._bytes(num_bytes, what))[0]
        return number

    def _bytes(self, num_bytes: int, what: str, *, keep: bool = True) -> bytes:
        self._require(num_bytes, what)
        begin, self._at = self._at, self._at + num_bytes
        return self._data[begin : self._at] if keep else b""

    def _require(self, num_bytes: int, what: str) -> None:
        left = len(self._data) - self._at
        if num_bytes > left:
            raise _Damage(f"{what} goes beyond the end of the file ({left} bytes are left)")
