"""The file of decisions: what of it can be trusted after a crash."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from weave_async.controller.decisions import Decision, DecisionLog
from weave_async.errors import RunFolderError, StorageError

PATH = Path("decisions.jsonl")
SHAPE = {"round": 20, "lag": 1, "dimensions": {"mix": 2}}


def decision(number: int, first: float = 0.25) -> Decision:
    return Decision(number, 20 * number, {"mix": [first, 1 - first]}, {"mix": []})


def written(num: int) -> bytes:
    log = DecisionLog(PATH, SHAPE)
    for number in range(num):
        log.append(decision(number + 2))
    return PATH.read_bytes()


def test_decisions_are_found_again_as_they_were_made() -> None:
    written(3)
    log = DecisionLog(PATH, SHAPE)
    assert log.decisions == [decision(2), decision(3), decision(4)]
    log.append(decision(5))
    assert DecisionLog(PATH, SHAPE).decisions[-1] == decision(5)


def test_none_is_written_before_one_is_made() -> None:
    assert DecisionLog(PATH, SHAPE).decisions == []
    assert not PATH.exists()


def test_a_torn_line_is_no_decision_wherever_it_is_torn() -> None:
    whole = written(2)
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(len(whole)):
        PATH.write_bytes(whole[:end])
        expected = [] if end < last else [decision(2)]
        assert DecisionLog(PATH, SHAPE).decisions[: len(expected) or None] == expected
    PATH.write_bytes(whole[:-3])
    log = DecisionLog(PATH, SHAPE)
    log.append(decision(3))
    assert PATH.read_bytes() == whole


def test_damage_in_the_middle_is_told_with_its_line() -> None:
    lines = written(3).splitlines(keepends=True)
    PATH.write_bytes(b"".join([*lines[:2], b"\x00\x00\n", *lines[3:]]))
    with pytest.raises(RunFolderError, match=r"decisions.jsonl:3 is damaged.*restore it"):
        DecisionLog(PATH, SHAPE)
    PATH.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    with pytest.raises(RunFolderError, match=r"decisions.jsonl:3 is damaged"):
        DecisionLog(PATH, SHAPE)


@pytest.mark.parametrize(
    "weights",
    [{}, {"mix": [1]}, {"mix": [0, 0]}, {"mix": ["a", "b"]}, {"mix": [1e308, 1e308]}, None],
)
def test_weights_that_cannot_be_are_damage(weights: object) -> None:
    lines = written(2).splitlines(keepends=True)
    entry = json.dumps({**json.loads(lines[1]), "weights": weights}).encode()
    PATH.write_bytes(lines[0] + entry + b"\n" + lines[2])
    with pytest.raises(RunFolderError, match=r"decisions.jsonl:2 is damaged"):
        DecisionLog(PATH, SHAPE)


def test_a_shape_that_cannot_be_is_damage() -> None:
    lines = written(1).splitlines(keepends=True)
    opening = json.dumps({"version": 1, "shape": {**SHAPE, "dimensions": None}}).encode()
    PATH.write_bytes(opening + b"\n" + lines[1])
    with pytest.raises(RunFolderError, match=r"decisions.jsonl:2 is damaged"):
        DecisionLog(PATH, SHAPE)


def test_another_version_is_refused_and_told() -> None:
    content = written(1).replace(b'"version":1', b'"version":2')
    PATH.write_bytes(content)
    with pytest.raises(RunFolderError, match="is of version 2, and this weave-async reads"):
        DecisionLog(PATH, SHAPE)


def test_decisions_about_other_arms_are_none_and_are_replaced() -> None:
    written(2)
    log = DecisionLog(PATH, {**SHAPE, "dimensions": {"mix": 3}})
    assert log.decisions == []
    log.append(Decision(2, 40, {"mix": [0.5, 0.25, 0.25]}))
    assert len(PATH.read_text().splitlines()) == 2


def test_a_disk_that_refuses_is_told() -> None:
    log = DecisionLog(Path("no such folder/decisions.jsonl"), SHAPE)
    with pytest.raises(StorageError, match="cannot write"):
        log.append(decision(2))


def test_what_a_disk_takes_in_parts_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = written(3)
    PATH.unlink()
    write = os.write
    monkeypatch.setattr("os.write", lambda fd, content: write(fd, content[:7]))
    assert written(3) == whole


def test_a_file_that_somebody_has_removed_is_written_again() -> None:
    log = DecisionLog(PATH, SHAPE)
    log.append(decision(2))
    PATH.unlink()
    log.append(decision(3))
    assert DecisionLog(PATH, SHAPE).decisions == [decision(2), decision(3)]
