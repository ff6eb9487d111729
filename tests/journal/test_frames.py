"""Frames: what was written is read back, and nothing else ever is."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_async.journal import frames

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
records = st.lists(st.dictionaries(texts, values, max_size=5), max_size=6)

SAMPLE = [
    {"kind": "open", "format_version": 1},
    {"kind": "answer", "text": "line\nbreak \x00 and 🦆"},
    {"kind": "failure", "n": 3},
    {},
]


def scanned(blob: bytes) -> list[Any]:
    return [orjson.loads(body) for _, body in frames.scan(BytesIO(blob))]


def end_of_last(blob: bytes) -> int:
    return max((frames.end_of(*frame) for frame in frames.scan(BytesIO(blob))), default=0)


@given(records)
@settings(max_examples=40)
def test_records_come_back_as_they_went_in(written: list[dict[str, Any]]) -> None:
    blob = b"".join(map(frames.encode, written))
    assert scanned(blob) == written
    assert end_of_last(blob) == len(blob)


@given(records)
@settings(max_examples=40)
def test_each_frame_can_be_read_at_its_offset(written: list[dict[str, Any]]) -> None:
    file = BytesIO(b"".join(map(frames.encode, written)))
    offsets = [offset for offset, _ in frames.scan(file)]
    at_offsets = [next(frames.scan(file, offset))[1] for offset in reversed(offsets)]
    assert [orjson.loads(body) for body in at_offsets] == written[::-1]


@given(records, records)
@settings(max_examples=40)
def test_a_scan_can_begin_at_any_frame(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    start = len(b"".join(map(frames.encode, before)))
    file = BytesIO(b"".join(map(frames.encode, before + after)))
    assert [orjson.loads(body) for _, body in frames.scan(file, start)] == after
    assert [orjson.loads(body) for _, body in frames.scan(file, limit=start)] == before


def test_every_cut_leaves_exactly_the_whole_frames_before_it() -> None:
    parts = [frames.encode(record) for record in SAMPLE]
    blob = b"".join(parts)
    ends = [sum(map(len, parts[:count])) for count in range(len(parts) + 1)]
    for cut in range(len(blob) + 1):
        whole = sum(end <= cut for end in ends) - 1
        assert scanned(blob[:cut]) == SAMPLE[:whole], f"cut at {cut}"
        assert end_of_last(blob[:cut]) == ends[whole]


def test_no_changed_byte_is_ever_accepted_as_other_content() -> None:
    blob = b"".join(map(frames.encode, SAMPLE))
    for at in range(len(blob)):
        for flip in (0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0x0B, 0x1D, 0x6F, 0xFF):
            damaged = bytearray(blob)
            damaged[at] ^= flip
            found = scanned(bytes(damaged))
            assert found == SAMPLE[: len(found)], f"byte {at} ^ {flip:#x}"


@pytest.mark.parametrize(
    "tail",
    [
        b"\0" * 4096,
        b"\0",
        b"\n",
        b"garbage\n",
        b"ffffffff 00000000 {}\n",
        b"7fffffff 00000000 {}\n",
        b"-0000001 00000000 {}\n",
        b"00000002 00000000 {}\n",
        b"00000000",
    ],
)
def test_a_tail_that_is_no_frame_ends_the_scan(tail: bytes) -> None:
    blob = b"".join(map(frames.encode, SAMPLE))
    assert scanned(blob + tail) == SAMPLE
    assert end_of_last(blob + tail) == len(blob)


def test_people_can_read_a_frame() -> None:
    assert frames.encode({"kind": "note"}) == b'0000000f 4feddfa2 {"kind":"note"}\n'


def test_an_empty_file_holds_nothing() -> None:
    assert scanned(b"") == []


def test_a_whole_frame_is_found_behind_any_damage() -> None:
    parts = [frames.encode(record) for record in SAMPLE]
    blob, last = b"".join(parts), len(b"".join(parts[:-1]))
    for at in range(len(parts[0]), last):
        for flip in (0x01, ord("\n") ^ blob[at] or 0x01, 0xFF):
            damaged = bytearray(blob)
            damaged[at] ^= flip
            end = end_of_last(bytes(damaged))
            found = frames.next_whole(BytesIO(bytes(damaged)), end)
            assert found is not None
            assert end < found <= last
            assert end_of_last(bytes(damaged[found:])) == len(blob) - found


def test_nothing_whole_is_found_in_a_torn_tail() -> None:
    torn = frames.encode({"text": frames.encode({"kind": "note"}).decode()})[:-1]
    assert frames.next_whole(BytesIO(torn), 0) is None
