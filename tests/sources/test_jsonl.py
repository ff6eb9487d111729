"""JSON Lines as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_async.errors import InputError
from weave_async.records import BadRow, Row
from weave_async.sources.jsonl import JsonlSource


def rows_of(path: Path, content: bytes) -> list[Row | BadRow]:
    path.write_bytes(content)
    return list(JsonlSource(path).rows())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_each_line_is_a_row_that_names_its_place(path: Path) -> None:
    assert rows_of(path, b'{"a": 1}\n{"a": [2, {"b": null}]}\n') == [
        Row({"a": 1}, f"{path}:1"),
        Row({"a": [2, {"b": None}]}, f"{path}:2"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n',
        b'{"a": 1}\r\n{"a": 2}\r\n',
        b'{"a": 1}\n{"a": 2}',
        b'  {"a": 1}  \n\t{"a": 2}\n',
    ],
    ids=["byte-order mark", "CRLF", "no last newline", "blanks"],
)
def test_marks_line_ends_and_blanks_make_no_difference(path: Path, content: bytes) -> None:
    assert rows_of(path, content) == [Row({"a": 1}, f"{path}:1"), Row({"a": 2}, f"{path}:2")]


def test_blank_lines_are_passed_over_but_counted(path: Path) -> None:
    assert rows_of(path, b'\n \t\r\n{"a": 1}\n\n\n{"a": 2}\n\n') == [
        Row({"a": 1}, f"{path}:3"),
        Row({"a": 2}, f"{path}:6"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{not json}", "not JSON: "),
        (b'{"a": 1', "not JSON: "),
        (b'{"a": 1} {"a": 2}', "not JSON: "),
        (b'{"a": NaN}', "not JSON: "),
        (b'{"a": "\xff\xfe"}', "not JSON: "),
        (b'{"a": "\\ud83d"}', "not JSON: "),
        (b'{"a": "\0"}', "not JSON: "),
        (b"[1, 2]", "not an object but list"),
        (b'"text"', "not an object but str"),
        (b"3", "not an object but int"),
        (b"null", "not an object but NoneType"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_read(path: Path, line: bytes, reason: str) -> None:
    first, bad, last = rows_of(path, b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    assert (first, last) == (Row({"a": 1}, f"{path}:1"), Row({"a": 3}, f"{path}:3"))
    assert isinstance(bad, BadRow)
    assert bad.origin == f"{path}:2"
    assert bad.reason.startswith(reason)


def test_emoji_escaped_nul_and_line_separators_are_kept(path: Path) -> None:
    line = '{"🦆": "quack 👩‍👩‍👧 \\u0000 \u2028 \u0085 end"}\n'.encode()
    assert rows_of(path, line) == [Row({"🦆": "quack 👩‍👩‍👧 \0 \u2028 \u0085 end"}, f"{path}:1")]


def test_a_row_of_ten_megabytes_is_kept(path: Path) -> None:
    text = "x" * 10_000_000
    assert rows_of(path, b'{"a": "' + text.encode() + b'"}\n') == [Row({"a": text}, f"{path}:1")]


def test_an_empty_file_has_no_rows(path: Path) -> None:
    assert rows_of(path, b"") == []
    assert rows_of(path, b"\xef\xbb\xbf") == []


def test_a_source_can_be_read_again(path: Path) -> None:
    path.write_bytes(b'{"a": 1}\n')
    source = JsonlSource(path)
    assert list(source.rows()) == list(source.rows()) != []


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(InputError, match=rf"cannot read {path}: No such file"):
        list(JsonlSource(path).rows())
