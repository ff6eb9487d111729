"""Calls beside answers: which fit, which are unknown, what they cost, and whose process it is."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from weave_async.errors import RunFolderError
from weave_async.journal import commit, frames, writer
from weave_async.journal.journal import Journal
from weave_async.journal.recovery import recover
from weave_async.records import Failure, FinishReason, RateLimits, Response, Sample, Usage

from .outcomes import outcome

MakeSample = Callable[..., Sample]
REFUSED = Failure("rate_limit", "429", 1, status_code=429, retryable=True)
CUT = Failure("connect", "reset by peer", 1, retryable=True, may_be_billed=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    path.mkdir()
    return path


def run(folder: Path, during: Callable[[Journal], Any]) -> None:
    """A run in which ``during`` happens, and that ends well."""

    async def scenario() -> None:
        journal = Journal(folder, asks={})
        journal.begin()
        during(journal)
        journal.finish()
        async for _ in journal.commits():
            pass
        journal.close()

    asyncio.run(scenario())


def later(folder: Path) -> Journal:
    journal = Journal(folder, asks={})
    journal.close()
    return journal


def send(journal: Journal, sample: Sample, attempt_id: str, tokens: int = 100) -> Sample:
    request = replace(sample.request, attempt_id=attempt_id)
    journal.sent(request, tokens=tokens)
    return replace(sample, request=request)


def test_runs_are_numbered_from_one(folder: Path, make_sample: MakeSample) -> None:
    assert later(folder).epoch == 1
    run(folder, lambda journal: journal.record(make_sample()))
    run(folder, lambda journal: journal.record(make_sample(ordinal=1)))
    assert later(folder).epoch == 3


def test_calls_without_an_outcome_are_known_with_their_worst_case(
    folder: Path, make_sample: MakeSample
) -> None:
    samples = [make_sample(ordinal=n) for n in range(4)]

    def during(journal: Journal) -> None:
        for number, sample in enumerate(samples):
            send(journal, sample, f"1-{number}", tokens=100 + number)
        journal.record(samples[1])
        journal.missed(replace(samples[2].request, attempt_id="1-2"), CUT)

    run(folder, during)
    run(folder, lambda journal: journal.record(samples[0]))
    unknown = later(folder).unknown
    assert [(c.epoch, c.attempt_id, c.request_id, c.max_cost_tokens) for c in unknown] == [
        (1, "1-0", "request-0", 100),
        (1, "1-3", "request-3", 103),
    ]


def test_the_sends_of_one_turn_are_one_frame_before_their_answers(
    folder: Path, make_sample: MakeSample
) -> None:
    samples = [make_sample(ordinal=n) for n in range(3)]

    def during(journal: Journal) -> None:
        for sample in samples:
            journal.record(send(journal, sample, f"a{sample.ordinal}"))

    run(folder, during)
    with (folder / "000001.log").open("rb") as file:
        entries = [orjson.loads(body) for _, body in frames.scan(file)]
    assert [entry["kind"] for entry in entries] == ["open", "sent", *["answer"] * 3, "synced"]
    assert entries[1]["calls"] == [[f"a{n}", f"request-{n}", 100] for n in range(3)]
    assert [entry["attempt_id"] for entry in entries[2:5]] == ["a0", "a1", "a2"]


def test_an_answer_names_its_call_though_the_sample_was_planned_without_one(
    folder: Path, make_sample: MakeSample
) -> None:
    def during(journal: Journal) -> None:
        send(journal, make_sample(), "first")
        journal.missed(replace(make_sample().request, attempt_id="first"), REFUSED)
        send(journal, make_sample(), "second")
        journal.record(make_sample())

    run(folder, during)
    assert later(folder).unknown == []


def test_spent_tokens_are_the_worst_case_where_nobody_counted(
    folder: Path, make_sample: MakeSample
) -> None:
    counted = Response("x", "stop", usage=Usage(7, 11))

    def during(journal: Journal) -> None:
        journal.record(send(journal, make_sample(ordinal=0, response=counted), "a", 1000))
        journal.record(send(journal, make_sample(ordinal=1), "b", 2000))  # no usage
        refused = send(journal, make_sample(ordinal=2), "c", 4000)
        journal.missed(refused.request, REFUSED)
        cut = send(journal, make_sample(ordinal=2), "d", 8000)
        journal.missed(cut.request, CUT)
        send(journal, make_sample(ordinal=3), "e", 16000)  # unknown

    run(folder, during)
    assert later(folder).spent_tokens == 18 + 2000 + 0 + 8000 + 16000


def shared(journal: Journal, samples: list[Sample], tokens: int) -> None:
    """One call, named after the first one's request, that answers all of them."""
    first = send(journal, samples[0], f"{samples[0].request.request_id}-1.1", tokens)
    journal.record(first)
    for sample in samples[1:]:
        request = replace(sample.request, attempt_id=first.request.attempt_id)
        journal.record(replace(sample, request=request))


def test_several_answers_to_one_call_are_one_call_and_all_are_recalled(
    folder: Path, make_sample: MakeSample
) -> None:
    samples = [make_sample(ordinal=i) for i in range(3)]
    run(folder, lambda journal: shared(journal, samples, 500))
    again = recover(folder).calls
    assert (again.num_sent, again.num_answered, again.num_unsent) == (1, 1, 0)
    assert again.unknown == []
    journal = later(folder)
    assert all(journal.recall(sample) is not None for sample in samples)


def test_a_call_whose_first_answer_is_lost_is_answered_by_the_next(
    folder: Path, make_sample: MakeSample
) -> None:
    samples = [make_sample(ordinal=i) for i in range(3)]

    def during(journal: Journal) -> None:
        send(journal, samples[0], f"{samples[0].request.request_id}-1.1")
        for sample in samples[1:]:
            attempt_id = f"{samples[0].request.request_id}-1.1"
            request = replace(sample.request, attempt_id=attempt_id)
            journal.record(replace(sample, request=request))

    run(folder, during)
    calls = recover(folder).calls
    assert (calls.num_answered, calls.num_unsent, calls.unknown) == (1, 0, [])


def test_the_worst_case_of_a_shared_call_is_counted_once(
    folder: Path, make_sample: MakeSample
) -> None:
    uncounted = [make_sample(ordinal=i) for i in range(3)]
    counted = [
        make_sample(ordinal=i, response=Response("x", "stop", usage=usage))
        for i, usage in enumerate([Usage(7, 1), Usage(0, 2), Usage(0, 3)], start=3)
    ]

    def during(journal: Journal) -> None:
        shared(journal, uncounted, 1000)
        shared(journal, counted, 2000)

    run(folder, during)
    assert later(folder).spent_tokens == 1000 + 13


def test_an_answer_to_a_call_of_its_own_that_was_never_sent_is_told(
    folder: Path, make_sample: MakeSample
) -> None:
    sample = make_sample()
    request = replace(sample.request, attempt_id=f"{sample.request.request_id}-1.1")
    run(folder, lambda journal: journal.record(replace(sample, request=request)))
    assert recover(folder).calls.num_unsent == 1


def test_may_hold_knows_answers_to_whatever_request_and_nothing_else(
    folder: Path, make_sample: MakeSample
) -> None:
    failed = replace(make_sample(ordinal=1), response=None, failure=CUT)
    run(folder, lambda journal: [journal.record(make_sample()), journal.record(failed)])
    journal = later(folder)
    assert journal.may_hold(make_sample().sample_id)
    assert not journal.may_hold(failed.sample_id)
    assert not journal.may_hold(make_sample(ordinal=2).sample_id)
    assert journal.num_recalled == 1


def ask(sample: Sample, request_id: str, max_tokens: int | None) -> Sample:
    params = replace(sample.request.params, max_tokens=max_tokens)
    return replace(sample, request=replace(sample.request, request_id=request_id, params=params))


@pytest.mark.parametrize(
    ("finish_reason", "output_tokens", "stored", "asked", "fits"),
    [
        ("stop", 50, 100, 100, True),
        ("length", 100, 100, 100, True),
        ("length", 100, 100, 200, False),
        ("length", 100, 100, 50, False),
        ("length", 100, 100, None, False),
        ("stop", 50, 100, 200, True),
        ("stop", 50, 100, None, True),
        ("stop", 50, None, 100, True),
        ("stop", 50, 100, 50, True),
        ("stop", 50, 100, 49, False),
        ("stop", None, 100, 49, False),
        ("stop", None, None, 100, False),
        ("stop", None, 100, 200, True),
        ("stop", None, 100, None, True),
    ],
)
def test_another_max_tokens_asks_anew_only_for_what_was_truncated_or_does_not_fit(
    folder: Path,
    make_sample: MakeSample,
    finish_reason: FinishReason,
    output_tokens: int | None,
    stored: int | None,
    asked: int | None,
    fits: bool,
) -> None:
    response = Response("text", finish_reason, usage=Usage(1, output_tokens))
    answered = make_sample(max_tokens=stored, response=response)
    run(folder, lambda journal: journal.record(answered))
    found = outcome(later(folder), make_sample(max_tokens=asked))
    assert (found is not None) == fits


def test_of_several_answers_to_a_sample_the_first_that_fits_is_recalled(
    folder: Path, make_sample: MakeSample
) -> None:
    def answer(text: str, request_id: str, max_tokens: int, reason: FinishReason) -> Sample:
        sample = make_sample(response=Response(text, reason, usage=Usage(1, max_tokens)))
        return ask(sample, request_id, max_tokens)

    run(folder, lambda journal: journal.record(answer("small, cut", "small", 10, "length")))
    run(folder, lambda journal: journal.record(answer("small", "small", 20, "stop")))
    run(folder, lambda journal: journal.record(answer("big", "big", 10, "stop")))
    run(folder, lambda journal: journal.record(answer("small again", "small", 20, "stop")))
    journal = later(folder)
    assert journal.num_recalled == 1
    found = {
        (request_id, bound): outcome(journal, ask(make_sample(), request_id, bound))
        for request_id in ("small", "big", "other")
        for bound in (10, 20, 30)
    }
    assert {key: r.text for key, r in found.items() if isinstance(r, Response)} == {
        ("small", 10): "small, cut",
        ("small", 20): "small",
        ("small", 30): "small",
        ("big", 10): "big",
        ("big", 20): "big",
        ("big", 30): "big",
    }


def test_shelved_answers_and_failures_are_recalled_in_the_same_run(
    folder: Path, make_sample: MakeSample
) -> None:
    answered = make_sample("Put away.", ordinal=3)
    failed = replace(make_sample(ordinal=5), response=None, failure=CUT)
    kept = make_sample("Kept.", ordinal=4)

    async def scenario() -> None:
        journal = Journal(folder, asks={})
        journal.begin()
        for sample in (answered, failed, kept):
            journal.record(sample)
        journal.finish()
        async for group in journal.commits():
            journal.shelve(sample for sample in group if sample != kept)
        assert journal.may_hold(answered.sample_id)
        assert outcome(journal, answered) == answered.response
        assert outcome(journal, failed) == CUT
        assert not journal.may_hold(kept.sample_id)
        assert outcome(journal, kept) is None
        journal.close()

    asyncio.run(scenario())


def test_what_is_shelved_is_found_in_whatever_segment_it_stands(
    folder: Path, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 2000)
    samples = [make_sample(f"Answer {n}. " * 50, ordinal=n) for n in range(40)]

    async def scenario() -> None:
        journal = Journal(folder, asks={})
        journal.begin()
        waiting = iter(samples)
        journal.record(next(waiting))
        async for group in journal.commits():
            journal.shelve(group)
            sample = next(waiting, None)
            if sample is None:
                journal.finish()
            else:
                journal.record(sample)
        assert [outcome(journal, sample) for sample in samples] == [s.response for s in samples]
        journal.close()

    asyncio.run(scenario())
    assert len(list(folder.glob("*.log"))) > 5
    journal = Journal(folder, asks={})
    assert [outcome(journal, sample) for sample in samples] == [s.response for s in samples]
    assert journal.epoch == 2
    journal.close()


def test_rate_limits_are_not_kept(folder: Path, make_sample: MakeSample) -> None:
    response = Response("x", "stop", rate_limits=RateLimits(limit_requests=60.0))
    run(folder, lambda journal: journal.record(make_sample(response=response)))
    assert b"limit_requests" not in (folder / "000001.log").read_bytes()
    assert outcome(later(folder), make_sample()) == replace(response, rate_limits=None)


V1 = [
    {"kind": "open", "format_version": 1, "asks": {"seed": 7}},
    {
        "kind": "answer",
        "request_id": "request-0",
        "sample_id": f"{0:016x}-0",
        "endpoint": "here",
        "response": {
            "text": "Old.",
            "finish_reason": "length",
            "raw_finish_reason": None,
            "reasoning": "",
            "usage": {"input_tokens": 3, "output_tokens": 4},
            "model": None,
            "e2e_s": 0.5,
        },
    },
]


def test_format_1_is_read_and_written_on_in_ours(folder: Path, make_sample: MakeSample) -> None:
    (folder / "000001.log").write_bytes(b"".join(map(frames.encode, V1)))
    run(folder, lambda journal: journal.record(make_sample("New.", ordinal=1)))
    journal = later(folder)
    assert journal.num_recalled == 2
    assert (journal.epoch, journal.unknown, journal.spent_tokens) == (3, [], 7)
    old = outcome(journal, make_sample(max_tokens=50))
    assert isinstance(old, Response)
    assert (old.text, old.usage) == ("Old.", Usage(3, 4))


def test_damage_in_format_1_is_refused_where_answers_follow(folder: Path) -> None:
    blob = b"".join(map(frames.encode, [V1[0], V1[1], V1[1]])).replace(b"Old.", b"0ld.", 1)
    (folder / "000001.log").write_bytes(blob)
    with pytest.raises(RunFolderError, match="is damaged at byte"):
        Journal(folder, asks={})


def test_a_forked_process_can_write_nothing(folder: Path, make_sample: MakeSample) -> None:
    async def scenario() -> None:
        journal = Journal(folder, asks={})
        journal.begin()
        journal.record(make_sample("Ours."))
        await asyncio.sleep(0)
        before = (folder / "000001.log").read_bytes()
        monkeypatch.setattr(os, "getpid", lambda: 1)  # as after a fork
        for act in (lambda: journal.record(make_sample(ordinal=1)), journal.close):
            with pytest.raises(RuntimeError, match="was forked off it: nothing is written"):
                act()
        monkeypatch.undo()
        assert (folder / "000001.log").read_bytes() == before
        journal.close()

    monkeypatch = pytest.MonkeyPatch()
    asyncio.run(scenario())
    assert later(folder).num_recalled == 1


def test_the_loss_of_the_lock_ends_the_run_within_a_second(folder: Path) -> None:
    def require_ours() -> None:
        raise RunFolderError("the lock is gone")

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        journal = Journal(folder, asks={}, require_ours=require_ours)
        journal.begin()
        started_s = loop.time()
        with pytest.raises(RunFolderError, match="the lock is gone"):
            async for _ in journal.commits():
                pass
        journal.close()
        return loop.time() - started_s

    assert asyncio.run(scenario()) < 1.0


@pytest.mark.parametrize("what", ["segment", "folder"])
def test_a_deletion_is_noticed_within_a_second_though_no_answer_comes(
    folder: Path, make_sample: MakeSample, what: str
) -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        journal = Journal(folder, asks={})
        journal.begin()
        if what == "segment":
            (folder / "000001.log").unlink()
        else:
            shutil.rmtree(folder)
        started_s = loop.time()
        with pytest.raises(RunFolderError, match=r"000001\.log was deleted while the run wrote"):
            async for _ in journal.commits():
                pass
        waited_s = loop.time() - started_s
        journal.close()
        return waited_s

    assert asyncio.run(scenario()) < 1.0


def test_syncs_begin_apart_and_the_first_at_once(
    folder: Path, make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "SYNC_APART_S", 0.05)

    async def scenario() -> list[float]:
        loop = asyncio.get_running_loop()
        journal = Journal(folder, asks={})
        journal.begin()
        started_s, handed_on = loop.time(), []
        journal.record(make_sample())
        async for _ in journal.commits():
            handed_on.append(loop.time() - started_s)
            if len(handed_on) == 3:
                journal.finish()
            else:
                journal.record(make_sample(ordinal=len(handed_on)))
        journal.close()
        return handed_on

    first, second, third = asyncio.run(scenario())
    assert first < 0.05 <= second
    assert third >= 0.1
