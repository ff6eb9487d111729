"""Files of answers, whatever stands in them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from weave_async.batch import answers
from weave_async.batch.answers import Answers


def test_a_line_without_end_is_skipped_and_read_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MAX_LINE_BYTES", 10)
    monkeypatch.setattr(answers, "SKIPPED_IN_ONE_GO", 3)
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b"one\n" + b"x" * 25 + b"two\ntwo\n" + b"y" * 100)
    read = []

    def custom_id_in(line: bytes) -> str:
        read.append(line)
        return line.decode()

    with Answers([path], custom_id_in) as found:
        asyncio.run(found.find_all({"one", "two"}))
        assert read == [b"one", b"two"]
        assert found.line_of("two") == b"two\n"
        assert found.faults() == "2 lines unreadable"
