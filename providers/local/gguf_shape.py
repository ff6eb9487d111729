"""The few numbers at the head of a GGUF file that tell the shape of its model.

The file may come from anybody: a bounded piece of it is read, and what cannot be read is left out.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

_MAGIC = b"GGUF"
_MOST_READ_BYTES = 65_536  # the numbers stand before the vocabulary
_STRING, _LIST = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
_NAMES = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
}


def read_shape(path: Path) -> dict[str, int]:
    """By the names that transformers has for them; those that are not found are missing."""
    with path.open("rb") as file:
        head = _Head(file.read(_MOST_READ_BYTES))
    found: dict[str, int] = {}
    try:
        magic, _, _, num_entries = head.take("4sIQQ")
        if magic != _MAGIC:
            return found
        for _ in range(num_entries):
            key = head.take_string().decode(errors="replace")
            value = head.take_value(head.take("I")[0])
            name = _NAMES.get(key.partition(".")[2])  # llama.block_count, qwen2.block_count, …
            if name is not None and isinstance(value, int):
                found[name] = value
    except (struct.error, OverflowError, KeyError):  # the piece ends here, or is no GGUF
        pass
    return found


class _Head:
    """Reads on from where it is; past the end it raises ``struct.error``."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._content, self._position)
        self._position += struct.calcsize("<" + layout)
        return values

    def take_string(self) -> bytes:
        (length,) = self.take("Q")
        start = self._position
        self._position += length
        return self._content[start : self._position]

    def take_value(self, kind: int) -> Any:
        """A scalar as it is; strings and lists are passed over."""
        if kind == _STRING:
            self.take_string()
        elif kind == _LIST:
            kind, length = self.take("IQ")
            if kind in _SCALARS:
                self._position += length * struct.calcsize("<" + _SCALARS[kind])
                return None
            if kind != _STRING:
                raise KeyError(kind)
            for _ in range(length):
                self.take_string()
        else:
            return self.take(_SCALARS[kind])[0]
        return None
