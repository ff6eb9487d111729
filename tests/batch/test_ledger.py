"""What a run knows of its batches after a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_async.batch.ledger import BatchRecord, Ledger
from weave_async.errors import RunFolderError
from weave_async.rundir import ledger_of

FACTS = {
    "number": 1,
    "endpoint": "e",
    "num_requests": 3,
    "digest": "d",
    "tokens": 9,
    "usd": 0.5,
    "asks": "a",
}


def written(folder: Path) -> tuple[Ledger, BatchRecord]:
    ledger = Ledger(folder)
    ledger.begin()
    return ledger, ledger.note_written(**FACTS)


def test_steps_are_found_again(tmp_path: Path) -> None:
    ledger, record = written(tmp_path)
    ledger.note(record, "uploaded", file_id="file-1")
    ledger.note(record, "creating")
    again = Ledger(tmp_path)
    assert again.run_id == ledger.run_id
    assert again.unfinished() == [record]
    assert record.file_id == "file-1"
    assert record.may_exist


def test_a_run_keeps_its_name_and_another_has_another(tmp_path: Path) -> None:
    ledger, _ = written(tmp_path)
    again = Ledger(tmp_path)
    again.begin()
    assert again.run_id == ledger.run_id
    (tmp_path / "other").mkdir()
    assert written(tmp_path / "other")[0].run_id != ledger.run_id


@pytest.mark.parametrize("step", ["collected", "dropped"])
def test_what_is_over_is_not_taken_up_again_and_keeps_its_number(tmp_path: Path, step: str) -> None:
    ledger, record = written(tmp_path)
    ledger.note(record, step)
    again = Ledger(tmp_path)
    assert again.unfinished() == []
    assert again.last_number == 1


def test_a_line_torn_at_any_byte_counts_as_not_written(tmp_path: Path) -> None:
    ledger, record = written(tmp_path)
    path = ledger_of(tmp_path)
    size = path.stat().st_size
    ledger.note(record, "uploaded", file_id="file-1")
    whole = path.read_bytes()
    for end in range(size, len(whole)):
        path.write_bytes(whole[:end])
        torn = Ledger(tmp_path)
        assert torn.records[1].step == "written"
        torn.note(torn.records[1], "dropped")
        assert Ledger(tmp_path).unfinished() == []


def test_damage_in_the_middle_is_refused_with_its_line(tmp_path: Path) -> None:
    ledger, record = written(tmp_path)
    ledger.note(record, "creating")
    path = ledger_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"number":1', b'"number":!', 1))
    with pytest.raises(RunFolderError, match=r"ledger\.jsonl:2 is damaged"):
        Ledger(tmp_path)
