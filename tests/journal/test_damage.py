"""Damage of every kind: what is found is an exact prefix of what was written, or it is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from random import Random

import pytest

from weave_async.errors import RunFolderError
from weave_async.journal import frames
from weave_async.journal.journal import Journal
from weave_async.journal.repair import repair
from weave_async.records import Response, Sample

from .outcomes import outcome

MakeSample = Callable[..., Sample]
NUM_SAMPLES, NUM_FLIPS, NUM_FLIPS_RECOVERED = 6, 20_000, 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    path.mkdir()
    return path


@pytest.fixture
def samples(make_sample: MakeSample) -> list[Sample]:
    return [make_sample(f"Answer {n}.", ordinal=n) for n in range(NUM_SAMPLES)]


def write(folder: Path, samples: list[Sample]) -> None:
    """A run that ends well, with a group for each sample."""

    async def scenario() -> None:
        journal = Journal(folder, asks={})
        journal.begin()
        for sample in samples:
            journal.sent(sample.request, tokens=10)
            journal.record(sample)
        journal.finish()
        async for _ in journal.commits():
            pass
        journal.close()

    asyncio.run(scenario())


@pytest.fixture
def segment(folder: Path, samples: list[Sample]) -> Path:
    write(folder, samples)
    return folder / "000001.log"


def found(folder: Path, samples: list[Sample]) -> list[str | None]:
    journal = Journal(folder, asks={})
    outcomes = [outcome(journal, sample) for sample in samples]
    journal.close()
    return [each.text if isinstance(each, Response) else None for each in outcomes]


def answers(samples: list[Sample], count: int) -> list[str | None]:
    return [s.completion if n < count else None for n, s in enumerate(samples)]


def frame_bounds(content: bytes) -> list[tuple[int, int]]:
    scanned = frames.scan(BytesIO(content))
    return [(offset, frames.end_of(offset, body)) for offset, body in scanned]


def test_every_cut_of_the_last_three_frames_leaves_the_exact_prefix(
    folder: Path, segment: Path, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda fd: None)  # nine hundred real ones take seconds
    content = segment.read_bytes()
    content = content[: frame_bounds(content)[-2][1]]  # without the frame that tells of the sync
    bounds = [b for b in frame_bounds(content) if b'"answer"' in content[b[0] : b[1]]]
    for cut in range(bounds[-3][0], len(content)):
        segment.write_bytes(content[:cut])
        whole = sum(end <= cut for _, end in bounds)
        assert found(folder, samples) == answers(samples, whole), f"cut at {cut}"


def flips(content: bytes, count: int) -> Iterator[bytes]:
    rng = Random(1)
    for _ in range(count):
        damaged = bytearray(content)
        damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        yield bytes(damaged)


def test_of_twenty_thousand_flipped_bits_none_is_read_as_something_else(segment: Path) -> None:
    content = segment.read_bytes()
    written = [body for _, body in frames.scan(BytesIO(content))]
    for damaged in flips(content, NUM_FLIPS):
        bodies = [body for _, body in frames.scan(BytesIO(damaged))]
        assert bodies == written[: len(bodies)]
        assert len(bodies) < len(written)


def test_a_flipped_bit_is_refused_where_it_costs_an_answer(
    folder: Path, segment: Path, samples: list[Sample]
) -> None:
    content = segment.read_bytes()
    num_refused = 0
    for damaged in flips(content, NUM_FLIPS_RECOVERED):
        segment.write_bytes(damaged)
        refusal = ""
        try:
            assert found(folder, samples) == answers(samples, NUM_SAMPLES)
        except RunFolderError as error:
            refusal = str(error)
        if refusal:
            assert f"{segment} is damaged at byte " in refusal
            assert segment.read_bytes() == damaged, "what is refused is left as it is"
            num_refused += 1
    assert num_refused > NUM_FLIPS_RECOVERED / 2


def test_unsynced_blocks_that_a_power_cut_dropped_are_a_torn_tail(
    folder: Path, segment: Path, samples: list[Sample]
) -> None:
    content = segment.read_bytes()
    content = content[: frame_bounds(content)[-2][1]]
    start, _ = next(b for b in frame_bounds(content) if b'"answer"' in content[b[0] : b[1]])
    segment.write_bytes(content[:start] + bytes(64) + content[start + 64 :])
    assert found(folder, samples) == answers(samples, 0)


def test_repair_keeps_every_whole_frame_and_the_original(
    folder: Path, segment: Path, samples: list[Sample]
) -> None:
    content = bytearray(segment.read_bytes())
    content[content.index(b"Answer 2.")] ^= 1
    segment.write_bytes(bytes(content))
    [repaired] = repair(folder)
    assert repaired.path == segment
    assert repaired.original.name == "000001.log.damaged"
    assert repaired.original.read_bytes() == bytes(content)
    assert repaired.num_bytes_lost == len(content) - segment.stat().st_size
    expected = answers(samples, NUM_SAMPLES)
    expected[2] = None
    assert found(folder, samples) == expected
    assert repair(folder) == []


def test_repair_mends_an_earlier_segment_whose_end_is_missing(
    folder: Path, segment: Path, samples: list[Sample], make_sample: MakeSample
) -> None:
    write(folder, [make_sample("Later.", ordinal=99)])
    segment.write_bytes(segment.read_bytes()[:-300])
    with pytest.raises(RunFolderError, match=r"000001\.log is damaged at byte .* --repair"):
        Journal(folder, asks={})
    assert len(repair(folder)) == 1
    assert found(folder, [make_sample(ordinal=99)]) == ["Later."]
    assert None in found(folder, samples)


@pytest.mark.parametrize("crash_in", ["link", "replace"])
def test_a_crash_in_a_repair_leaves_the_damaged_segment_or_the_repaired_one(
    folder: Path,
    segment: Path,
    samples: list[Sample],
    monkeypatch: pytest.MonkeyPatch,
    crash_in: str,
) -> None:
    content = segment.read_bytes().replace(b"Answer 0.", b"Answer X.")
    segment.write_bytes(content)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"os.{crash_in}", crash)
        repair(folder)
    assert segment.read_bytes() == content
    repair(folder)
    assert found(folder, samples) == [None, *answers(samples, NUM_SAMPLES)[1:]]


def test_a_damaged_opening_is_no_way_around_a_newer_format_or_to_garbage(
    folder: Path, segment: Path
) -> None:
    content = segment.read_bytes()
    segment.write_bytes(b"#" + content[1:])
    with pytest.raises(RunFolderError, match=r"is damaged at byte 0"):
        Journal(folder, asks={})
    assert segment.read_bytes() == b"#" + content[1:]
