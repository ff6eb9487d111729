"""What stands after decisions, undos, crashes and full disks."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.errors import InputError, RunLockedError, StorageError
from weave_async.review_log import Decision, HumanVerdict, ReviewLog, ReviewWriter


def verdict(
    sample_id: str, decision: Decision = "accept", reviewer: str = "ana", **more: str
) -> HumanVerdict:
    return HumanVerdict(
        at="2026-01-01T00:00:00.000Z",
        reviewer=reviewer,
        sample_id=sample_id,
        decision=decision,
        reason=more.get("reason"),
        edited=more.get("edited"),
        text_sha256="00",
        stratum="written: others",
    )


def told(log: ReviewLog) -> dict[tuple[str, str], str]:
    return {key: each.decision for key, each in log.standing.items()}


def test_a_verdict_is_in_the_file_when_record_returns(tmp_path: Path) -> None:
    path = tmp_path / "review.jsonl"
    with ReviewWriter(path) as writer:
        writer.record(verdict("a-0", "reject", reason="wrong"))
        [line] = path.read_text().splitlines()
    assert json.loads(line)["reason"] == "wrong"
    assert path.stat().st_mode & 0o777 == 0o600
    assert ReviewLog.read(path).of("a-0") == [verdict("a-0", "reject", reason="wrong")]


def test_the_latest_decision_of_each_person_stands(tmp_path: Path) -> None:
    with ReviewWriter(tmp_path / "review.jsonl") as writer:
        writer.record(verdict("a-0", "reject"))
        writer.record(verdict("a-0", "accept", reviewer="ben"))
        writer.record(verdict("a-0", "accept"))
    log = ReviewLog.read(tmp_path / "review.jsonl")
    assert told(log) == {("ana", "a-0"): "accept", ("ben", "a-0"): "accept"}
    assert log.reviewers == ["ana", "ben"]


def test_an_undo_brings_back_what_stood_before(tmp_path: Path) -> None:
    with ReviewWriter(tmp_path / "review.jsonl") as writer:
        writer.record(verdict("a-0", "reject"))
        writer.record(verdict("b-0", "accept", reviewer="ben"))
        writer.record(verdict("a-0", "accept"))
        undone = writer.undo("ana")
        assert undone is not None
        assert undone.decision == "accept"
        assert told(writer.log)["ana", "a-0"] == "reject"
        writer.undo("ana")
        assert writer.undo("ana") is None
    assert told(ReviewLog.read(tmp_path / "review.jsonl")) == {("ben", "b-0"): "accept"}


steps = st.lists(
    st.tuples(
        st.sampled_from(["ana", "ben"]),
        st.sampled_from(["accept", "reject", "skip", "undo"]),
        st.sampled_from(["a-0", "b-0", "c-0"]),
    ),
    max_size=30,
)


@given(steps=steps)
def test_what_is_read_again_is_what_stood(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Decision, str]]
) -> None:
    path = tmp_path_factory.mktemp("log") / "review.jsonl"
    with ReviewWriter(path) as writer:
        for reviewer, decision, sample_id in steps:
            if decision == "undo":
                writer.undo(reviewer)
            else:
                writer.record(verdict(sample_id, decision, reviewer))
        again = ReviewLog.read(path)
        assert again.standing == writer.log.standing
        for who in ("ana", "ben"):
            assert list(again.latest_of(who)) == list(writer.log.latest_of(who))


@pytest.mark.parametrize("kept", range(1, 60, 7))
def test_a_torn_line_is_dropped_and_the_next_one_is_whole(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "review.jsonl"
    with ReviewWriter(path) as writer:
        writer.record(verdict("a-0"))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:kept])
    assert told(ReviewLog.read(path)) == {("ana", "a-0"): "accept"}
    with ReviewWriter(path) as writer:
        writer.record(verdict("b-0"))
    assert told(ReviewLog.read(path)) == {("ana", "a-0"): "accept", ("ana", "b-0"): "accept"}


def test_a_full_disk_leaves_neither_half_a_line_nor_a_verdict_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "review.jsonl"
    real_write, room = os.write, 10

    def write(fd: int, content: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        num, room = min(room, len(content)), max(0, room - len(content))
        return real_write(fd, bytes(content[:num]))

    with ReviewWriter(path) as writer:
        writer.record(verdict("a-0"))
        with monkeypatch.context() as patched, pytest.raises(StorageError, match="No space left"):
            patched.setattr(os, "write", write)
            writer.record(verdict("b-0"))
        assert told(writer.log) == {("ana", "a-0"): "accept"}
        writer.record(verdict("c-0"))
    assert list(told(ReviewLog.read(path))) == [("ana", "a-0"), ("ana", "c-0")]


def test_two_reviews_do_not_write_at_once(tmp_path: Path) -> None:
    with (
        ReviewWriter(tmp_path / "review.jsonl"),
        pytest.raises(RunLockedError, match="--reviewer once for each person"),
    ):
        ReviewWriter(tmp_path / "review.jsonl")
    with ReviewWriter(tmp_path / "review.jsonl") as writer:
        assert not writer.log.standing


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (b"{not json", "unexpected character"),
        (b"[]", "indices must be integers"),
        (b'{"decision": "maybe"}', "decision 'maybe' is none of accept, reject, skip, undo"),
        (b'{"decision": "accept", "at": 1}', "at is no text"),
        (b'{"decision": "undo"}', "reviewer"),
    ],
)
def test_a_line_that_is_none_of_ours_is_named(tmp_path: Path, damage: bytes, why: str) -> None:
    path = tmp_path / "review.jsonl"
    with ReviewWriter(path) as writer:
        writer.record(verdict("a-0"))
    path.write_bytes(path.read_bytes() + damage + b"\n")
    with pytest.raises(InputError, match=rf"review\.jsonl:2 is no review: .*{why}"):
        ReviewLog.read(path)


def test_a_link_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "review.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"review\.jsonl"):
        ReviewWriter(tmp_path / "review.jsonl")
