"""GGUF files that lie: each is refused before a parser that believes it is let at it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from providers.local.server.gguf_header import count_weights
from providers.local.server.source import WeightsError
from tiny_gguf import save_tiny_gguf


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    save_tiny_gguf(path)
    return path


def header(num_tensors: int, num_fields: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_fields) + rest + bytes(64)


def text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def field(kind: int, value: bytes, key: bytes = b"some.key") -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(*shape: int, offset: int = 0) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(b"w") + dimensions + struct.pack("<IQ", 0, offset)


def test_a_whole_file_is_counted(tiny_gguf: Path) -> None:
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert count_weights(tiny_gguf) == 2 * layer + 2 * 259 * 64 + 64


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "cannot read"),
        (b"GGU", "magic goes beyond the end"),
        (b"PK\x03\x04 a pickle in a zip", "does not begin with 'GGUF'"),
        (header(0, 0, version=4), "version 4 is not known"),
        (header(0, 0, version=3 << 24), "in little-endian"),
        (header(2**60, 0), "tensor_count 1152921504606846976 goes beyond"),
        (header(0, 2**60), "metadata_kv_count 1152921504606846976 goes beyond"),
        (header(0, 1, text(b"k" * 70_000)), "key of 70000 bytes"),
        (header(0, 1, struct.pack("<Q", 2**63)), "key of 9223372036854775808 bytes"),
        (header(0, 1, field(99, b"")), "unknown type 99"),
        (header(0, 1, field(8, struct.pack("<Q", 2**60))), "some.key goes beyond"),
        (header(0, 1, field(9, struct.pack("<IQ", 4, 2**60))), "some.key of 1152921504606846976"),
        (header(0, 1, field(9, struct.pack("<IQ", 8, 2**60))), "some.key of 1152921504606846976"),
        (header(0, 1, field(9, struct.pack("<IQ", 9, 1) * 6)), "nested too deeply"),
        (header(0, 1, field(4, bytes(4), b"general.alignment")), "general.alignment 0"),
        (header(1, 0, tensor(2**31, 2**31)), "tensor 'w' of 4611686018427387904 weights"),
        (header(1, 0, tensor(2**60, 2**60, 2**60)), "tensor 'w' of"),
        (header(1, 0, tensor(1, offset=2**62)), "tensor 'w' of 1 weights goes beyond"),
        (header(1, 0, tensor(*[1] * 5)), "5 dimensions"),
        (header(1, 0, tensor()), "0 dimensions"),
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=complaint) as refusal:
        count_weights(path)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5])
def test_a_truncated_file_is_refused(tiny_gguf: Path, tmp_path: Path, share: float) -> None:
    whole = tiny_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(WeightsError, match="is not a whole GGUF file"):
        count_weights(path)
