"""Rows of other runs and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weave_async.errors import InputError
from weave_async.selection.compared import Compared
from weave_async.selection.earlier import files_of, rows_of

MESSAGES = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Tea?"},
    {"role": "assistant", "content": "Yes."},
]


@pytest.mark.parametrize(
    ("row", "on", "turns"),
    [
        ({"messages": MESSAGES}, "completion", ["Yes."]),
        ({"messages": MESSAGES}, "prompt", ["Be kind.", "Tea?"]),
        ({"messages": MESSAGES}, "messages", ["Be kind.", "Tea?", "Yes."]),
        ({"messages": [{"role": "assistant", "content": None}]}, "completion", [""]),
        ({"prompt": "Tea?", "completion": "Yes."}, "completion", ["Yes."]),
        ({"prompt": "Tea?", "completion": "Yes."}, "prompt", ["Tea?"]),
        ({"prompt": "Tea?", "completion": "Yes."}, "messages", ["Tea?", "Yes."]),
        ({"prompt": MESSAGES[:2], "completion": MESSAGES[2:]}, "prompt", ["Be kind.", "Tea?"]),
        ({"text": "Tea?", "label": "drink"}, "completion", ["Tea?"]),
        ({"question": "Tea?", "id": 7}, "prompt", ["Tea?"]),
        ("Tea?", "messages", ["Tea?"]),
    ],
)
def test_a_row_has_the_turns_that_are_compared(
    tmp_path: Path, row: Any, on: Compared, turns: list[str]
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\ufeff\n" + json.dumps(row))
    [(found, place)] = rows_of(file, on)
    assert found == turns
    assert place.evidence == {"of": f"{file}:2"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "a"}\n{"text": ', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", "7", r"a\.jsonl:1: a row is an object or a text, and this is 7"),
        ("a.jsonl", '{"a": "b", "c": "d"}', r"a\.jsonl:1: no column .* text; it has: a, c"),
        ("a.jsonl", '{"messages": "a"}', r"a\.jsonl:1: expected a text or a list of messages"),
        ("a.jsonl", '{"messages": [{"role": "user", "content": 1}]}', r"a\.jsonl:1: expected"),
        ("a.csv", 'text\n"two\nlines"\na,b\n', r"a\.csv:4: more cells than the header has"),
        ("a.csv", b"text\n\xff\n", r"a\.csv is not UTF-8 text"),
    ],
)
def test_a_row_that_cannot_be_compared_is_named(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        list(rows_of(file, "completion"))


def test_lines_of_csv_and_text_are_counted_as_they_stand(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"two\nlines",x\nlast,y\n')
    (tmp_path / "a.txt").write_text("one\n\nthree\n")
    found = [
        (turns[0].strip(), place.line)
        for file in ("a.csv", "a.txt")
        for turns, place in rows_of(tmp_path / file, "completion")
    ]
    assert found == [("two\nlines", 2), ("last", 4), ("one", 1), ("three", 3)]


def test_a_run_folder_stands_for_its_dataset(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no samples\.jsonl: name the folder of a run"):
        files_of(str(tmp_path))
    (tmp_path / "samples.jsonl").touch()
    assert files_of([str(tmp_path)]) == [tmp_path / "samples.jsonl"]
    assert list(rows_of(tmp_path / "samples.jsonl", "completion")) == []


@pytest.mark.parametrize(
    ("name", "message"), [("gone.jsonl", "there is no"), ("a.pdf", "is no file of rows: .*jsonl")]
)
def test_what_holds_no_rows_is_refused_before_it_is_read(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "a.pdf").touch()
    with pytest.raises(ValueError, match=message):
        files_of(str(tmp_path / name))
