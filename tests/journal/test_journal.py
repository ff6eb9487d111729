"""The journal: durable before anybody sees it, recalled after any end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest

from weave_async.errors import RunFolderError, StorageError
from weave_async.journal import frames
from weave_async.journal.journal import Journal
from weave_async.records import (
    Failure,
    Message,
    Prompt,
    Request,
    Response,
    Sample,
    SamplingParams,
    Usage,
)
from weave_async.rundir import FORMAT_VERSION

from .outcomes import outcome

MakeSample = Callable[..., Sample]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    path.mkdir()
    return path


def write(folder: Path, *samples: Sample, asks: dict[str, Any] | None = None) -> list[Sample]:
    """One run: record these samples, and return what the journal handed on."""

    async def scenario() -> list[Sample]:
        journal = Journal(folder, asks=asks or {})
        journal.begin()
        try:
            for sample in samples:
                journal.record(sample)
            journal.finish()
            return [sample async for group in journal.commits() for sample in group]
        finally:
            journal.close()

    return asyncio.run(scenario())


def recall(folder: Path, *samples: Sample) -> list[Response | Failure | None]:
    """A later run: what it finds of these samples."""
    journal = Journal(folder, asks={})
    try:
        return [outcome(journal, sample) for sample in samples]
    finally:
        journal.close()


def texts(outcomes: list[Response | Failure | None]) -> list[str | None]:
    return [each.text if isinstance(each, Response) else None for each in outcomes]


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".log")


def stored(path: Path) -> list[Any]:
    with path.open("rb") as file:
        return [orjson.loads(body) for _, body in frames.scan(file)]


def last_answer(path: Path) -> tuple[int, int]:
    """Where its frame begins and ends."""
    with path.open("rb") as file:
        found = [each for each in frames.scan(file) if b'"kind":"answer"' in each[1]]
    return found[-1][0], frames.end_of(*found[-1])


def test_samples_are_handed_on_in_the_order_in_which_they_were_recorded(
    folder: Path, make_sample: MakeSample
) -> None:
    samples = [make_sample(f"Answer {n}.", ordinal=n) for n in (3, 1, 2, 0)]
    assert write(folder, *samples) == samples


def test_of_two_sendings_the_one_that_was_answered_is_named(
    folder: Path, make_sample: MakeSample
) -> None:
    answered = make_sample()
    first, second = (replace(answered.request, attempt_id=f"0.{n}") for n in (1, 2))

    async def scenario() -> None:
        journal = Journal(folder, asks={})
        journal.begin()
        try:
            journal.sent(first, tokens=9)
            journal.sent(second, tokens=9)
            journal.missed(second, Failure("hedged", "given up", 0, may_be_billed=True))
            journal.record(replace(answered, request=first))
            journal.finish()
            assert [sample async for group in journal.commits() for sample in group]
        finally:
            journal.close()

    asyncio.run(scenario())
    journal = Journal(folder, asks={})
    assert journal.unknown == []
    assert journal.spent_tokens == 18  # neither has said what it used
    journal.close()


def test_an_answer_is_recalled_with_the_endpoint_and_the_model_that_gave_it(
    folder: Path, make_sample: MakeSample
) -> None:
    planned = make_sample()
    elsewhere = replace(planned.request, model="another")
    write(folder, replace(planned, endpoint="there", request=elsewhere))
    journal = Journal(folder, asks={})
    recalled = journal.recall(planned)
    journal.close()
    assert recalled is not None
    assert (recalled.endpoint, recalled.request.model) == ("there", "another")
    assert recalled.request.request_id == planned.request.request_id


def test_groups_are_handed_on_only_when_they_are_in_the_file(
    folder: Path, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fdatasync = os.fdatasync

    def counted(fd: int) -> None:
        fdatasync(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fdatasync", counted)

    async def scenario() -> int:
        journal = Journal(folder, asks={})
        journal.begin()
        numbers = iter(range(100))
        journal.record(make_sample(ordinal=next(numbers)))
        num_seen = 0
        async for group in journal.commits():
            num_seen += len(group)
            (segment,) = segments(folder)
            on_disk = [r["request_id"] for r in stored(segment) if r["kind"] == "answer"]
            assert [sample.request.request_id for sample in group] == on_disk[-len(group) :]
            assert synced[-1] == segment.stat().st_size
            for number in islice(numbers, 7):
                journal.record(make_sample(ordinal=number))
            if num_seen == 100:
                journal.finish()
        journal.close()
        return num_seen

    assert asyncio.run(scenario()) == 100
    assert len(synced) < 100, "a sync per group, not per sample"


def test_nothing_is_handed_on_while_the_sync_has_not_returned(
    folder: Path, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(5, "Input/output error")

    async def scenario() -> None:
        journal = Journal(folder, asks={})
        journal.begin()
        monkeypatch.setattr(os, "fdatasync", refuse)
        try:
            journal.record(make_sample())
            with pytest.raises(StorageError, match="Input/output error"):
                async for group in journal.commits():
                    pytest.fail(f"{len(group)} samples were handed on unsynced")
        finally:
            journal.close()

    asyncio.run(scenario())


def test_every_field_of_a_response_is_recalled(folder: Path, make_sample: MakeSample) -> None:
    full = Response(
        text='né à Zürich 🦆\r\n\t\x00 \u2028 \ufeff \\ " end ',
        finish_reason="length",
        raw_finish_reason="max_tokens",
        reasoning="först 思考",
        usage=Usage(input_tokens=0, output_tokens=17),
        model="tiny-2",
        e2e_s=0.1 + 0.2,
    )
    bare = Response(text="", finish_reason="unknown")
    write(folder, make_sample(response=full), make_sample(ordinal=1, response=bare))
    assert recall(folder, make_sample(), make_sample(ordinal=1)) == [full, bare]


def test_a_large_answer_is_recalled(folder: Path, make_sample: MakeSample) -> None:
    text = "🦆 quack " * 1_000_000
    write(folder, make_sample(text))
    assert texts(recall(folder, make_sample())) == [text]


def test_answers_of_all_earlier_runs_are_recalled(folder: Path, make_sample: MakeSample) -> None:
    for run in range(3):
        write(folder, make_sample(f"Answer {run}.", ordinal=run))
    assert len(segments(folder)) == 3
    assert texts(
        recall(
            folder,
            make_sample(),
            make_sample(ordinal=1),
            make_sample(ordinal=2),
            make_sample(ordinal=3),
        )
    ) == ["Answer 0.", "Answer 1.", "Answer 2.", None]


def test_the_first_answer_to_a_request_counts(folder: Path, make_sample: MakeSample) -> None:
    write(folder, make_sample("First."), make_sample("Second."))
    write(folder, make_sample("Third."))
    assert texts(recall(folder, make_sample())) == ["First."]


def test_num_recalled_counts_requests_once(folder: Path, make_sample: MakeSample) -> None:
    write(folder, make_sample("One."), make_sample("One again."), make_sample(ordinal=1))
    journal = Journal(folder, asks={})
    journal.close()
    assert journal.num_recalled == 2


def test_failures_are_kept_for_people_but_not_recalled(
    folder: Path, make_sample: MakeSample
) -> None:
    failure = Failure("deadline", "no answer within 600 s", attempts=6)
    failed = replace(make_sample(), response=None, failure=failure)
    assert write(folder, failed) == [failed]
    assert recall(folder, make_sample()) == [None]
    (segment,) = segments(folder)
    [failure_frame] = [each for each in stored(segment) if each["kind"] == "failure"]
    assert failure_frame["failure"]["message"] == "no answer within 600 s"


def test_an_answer_after_a_failure_is_recalled(folder: Path, make_sample: MakeSample) -> None:
    write(folder, replace(make_sample(), response=None, failure=Failure("deadline", "late", 6)))
    write(folder, make_sample("At last."))
    assert texts(recall(folder, make_sample())) == ["At last."]


def test_a_torn_tail_is_cut_at_every_byte_and_said(
    folder: Path, make_sample: MakeSample, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, make_sample("Kept."), make_sample("Torn.", ordinal=1))
    (segment,) = segments(folder)
    whole = segment.read_bytes()
    start, end = last_answer(segment)
    for cut in range(start, end):
        segment.write_bytes(whole[:cut])
        caplog.clear()
        found = recall(folder, make_sample(), make_sample(ordinal=1))
        assert texts(found) == ["Kept.", None]
        assert segment.read_bytes() == whole[:start]
        if cut > start:
            assert f"{segment}: cut {cut - start} torn bytes" in caplog.text
        else:
            assert not caplog.records


def test_a_whole_journal_is_opened_without_a_word(
    folder: Path, make_sample: MakeSample, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write(folder, make_sample())
    recall(folder)
    assert not caplog.records


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"0000", b"not a frame at all\n"])
def test_a_run_goes_on_after_a_torn_tail(
    folder: Path, make_sample: MakeSample, tail: bytes
) -> None:
    write(folder, make_sample("Before."))
    (segment,) = segments(folder)
    segment.write_bytes(segment.read_bytes() + tail)
    write(folder, make_sample("After.", ordinal=1))
    assert texts(recall(folder, make_sample(), make_sample(ordinal=1))) == ["Before.", "After."]


@pytest.mark.parametrize("content", [b"", b"00000"], ids=["empty", "opening torn"])
def test_a_segment_that_was_just_begun_is_no_obstacle(
    folder: Path, make_sample: MakeSample, content: bytes
) -> None:
    write(folder, make_sample("Before."), asks={"seed": 7})
    (folder / "000002.log").write_bytes(content)
    write(folder, make_sample("After.", ordinal=1))
    assert texts(recall(folder, make_sample(), make_sample(ordinal=1))) == ["Before.", "After."]


def _damage_first_of_two(folder: Path, make_sample: MakeSample) -> tuple[Path, int]:
    write(folder, make_sample("One."), make_sample("Two.", ordinal=1))
    write(folder, make_sample("Three.", ordinal=2))
    first = segments(folder)[0]
    start, _ = last_answer(first)
    with first.open("r+b") as file:
        file.seek(start + 40)
        file.write(b"#")
    return first, start


def test_damage_before_later_segments_is_refused_with_file_and_offset(
    folder: Path, make_sample: MakeSample
) -> None:
    first, offset = _damage_first_of_two(folder, make_sample)
    before = first.read_bytes()
    with pytest.raises(RunFolderError) as caught:
        Journal(folder, asks={})
    assert f"{first} is damaged at byte {offset}" in str(caught.value)
    assert first.read_bytes() == before


def test_damage_in_the_middle_of_the_last_segment_costs_no_answer_behind_it(
    folder: Path, make_sample: MakeSample
) -> None:
    write(folder, make_sample("One."), make_sample("Two.", ordinal=1))
    (segment,) = segments(folder)
    content = bytearray(segment.read_bytes())
    content[content.index(b"One.")] ^= 1
    segment.write_bytes(bytes(content))
    with pytest.raises(RunFolderError, match=r"is damaged at byte \d+, and was whole once"):
        Journal(folder, asks={})
    assert segment.read_bytes() == bytes(content)


def test_a_missing_segment_is_refused_by_name_and_the_others_moved_away_start_anew(
    folder: Path, make_sample: MakeSample, tmp_path: Path
) -> None:
    for ordinal in range(3):
        write(folder, make_sample(f"Answer {ordinal}.", ordinal=ordinal))
    first, second, third = segments(folder)
    second.rename(tmp_path / "lost.log")
    with pytest.raises(RunFolderError, match=r"000002\.log is missing.*restore it from a copy, or"):
        Journal(folder, asks={})
    third.unlink()
    first.unlink()
    write(folder, make_sample("Anew."))
    assert texts(recall(folder, make_sample())) == ["Anew."]


def test_a_segment_of_which_nothing_counts_may_be_missing(
    folder: Path, make_sample: MakeSample
) -> None:
    write(folder, make_sample("Kept."))
    opening = {"kind": "open", "format_version": FORMAT_VERSION, "asks": {}, "cut": {"2": 0}}
    (folder / "000003.log").write_bytes(frames.encode(opening))
    assert texts(recall(folder, make_sample())) == ["Kept."]


def test_a_newer_format_is_refused(folder: Path) -> None:
    opening = {"kind": "open", "format_version": FORMAT_VERSION + 1, "asks": {}}
    (folder / "000001.log").write_bytes(frames.encode(opening))
    with pytest.raises(RunFolderError, match=r"000001\.log was written by a newer weave-async"):
        Journal(folder, asks={})


def test_unknown_kinds_of_frames_are_passed_over(folder: Path, make_sample: MakeSample) -> None:
    write(folder, make_sample("Kept."))
    (segment,) = segments(folder)
    with segment.open("ab") as file:
        file.write(frames.encode({"kind": "review", "sample_id": "x"}))
    assert recall(folder, make_sample()) != [None]


def test_no_file_is_made_while_nothing_is_recorded(folder: Path) -> None:
    assert write(folder) == []
    assert segments(folder) == []


def test_a_replay_adds_no_segment(folder: Path, make_sample: MakeSample) -> None:
    write(folder, make_sample())
    recall(folder, make_sample())
    assert len(segments(folder)) == 1


def test_asked_before_is_what_the_last_run_that_bought_something_asked(
    folder: Path, make_sample: MakeSample
) -> None:
    def asked_before() -> Any:
        journal = Journal(folder, asks={"seed": 99})
        journal.close()
        return journal.asked_before

    assert asked_before() is None
    write(folder, make_sample(), asks={"seed": 1, "prompts": {"template": "{{ x }}"}})
    assert asked_before() == {"seed": 1, "prompts": {"template": "{{ x }}"}}
    write(folder, make_sample(ordinal=1), asks={"seed": 2})
    assert asked_before() == {"seed": 2}


def test_what_was_recorded_but_not_synced_is_written_on_close(
    folder: Path, make_sample: MakeSample
) -> None:
    async def scenario() -> None:
        journal = Journal(folder, asks={})
        journal.begin()
        journal.record(make_sample("Paid for."))
        journal.close()

    asyncio.run(scenario())
    assert texts(recall(folder, make_sample())) == ["Paid for."]


def test_segments_are_private(folder: Path, make_sample: MakeSample) -> None:
    umask = os.umask(0)
    try:
        write(folder, make_sample())
    finally:
        os.umask(umask)
    assert stat.S_IMODE(segments(folder)[0].stat().st_mode) == 0o600


def test_commits_ends_when_the_run_has_finished_without_a_word(folder: Path) -> None:
    async def scenario() -> list[list[Sample]]:
        journal = Journal(folder, asks={})
        asyncio.get_running_loop().call_later(0.01, journal.finish)
        groups = [group async for group in journal.commits()]
        journal.close()
        return groups

    assert asyncio.run(scenario()) == []


WRITER = """
import asyncio, sys
from pathlib import Path
from weave_async.journal.journal import Journal
from weave_async.records import Message, Prompt, Request, Response, Sample, SamplingParams

async def main(folder, run):
    journal = Journal(folder, asks={})
    journal.begin()
    print("recalled", journal.num_recalled, flush=True)

    def record(n):
        name = f"{run}-{n}"
        asked = (Message("user", name),)
        request = Request(name, "tiny", asked, SamplingParams())
        prompt = Prompt(name, 0, asked, {}, "x:1")
        journal.record(
            Sample(n, prompt, request, "here", n, asked, Response("answer to " + name, "stop"))
        )

    started = 16
    for n in range(started):
        record(n)
    async for group in journal.commits():
        print(*(sample.request.request_id for sample in group), flush=True)
        for _ in group:
            record(started)
            started += 1

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def asked(name: str) -> Sample:
    """What the writer asked under this name."""
    messages = (Message("user", name),)
    request = Request(name, "tiny", messages, SamplingParams())
    return Sample(0, Prompt(name, 0, messages, {}, "x:1"), request, "here", 0, messages)


def test_every_answer_that_was_handed_on_survives_kill_minus_nine(folder: Path) -> None:
    handed_on: list[str] = []
    for run in range(5):
        command = [sys.executable, "-c", WRITER, str(folder), str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert int(writer.stdout.readline().split()[1]) >= len(handed_on)
            for _ in range(20 + 7 * run):
                handed_on += writer.stdout.readline().decode().split()
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().decode()
            handed_on += rest[: rest.rfind("\n") + 1].split()
        assert writer.returncode == -signal.SIGKILL
    assert texts(recall(folder, *map(asked, handed_on))) == [
        f"answer to {name}" for name in handed_on
    ]
    assert len(handed_on) > 500
