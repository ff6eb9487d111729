"""Plain text, a prompt per line."""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_async.errors import InputError
from weave_async.records import BadRow, Row
from weave_async.sources.text import TextSource


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.txt"


def rows_of(path: Path, content: str | bytes) -> list[Row | BadRow]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(TextSource(path).rows())


@pytest.mark.parametrize(
    "content",
    ["one\ntwo", "\ufeffone\ntwo\n", "one\r\ntwo\r\n", "  one\t\ntwo \n"],
    ids=["plain", "byte-order mark", "CRLF", "blanks"],
)
def test_each_line_is_a_row(path: Path, content: str) -> None:
    assert rows_of(path, content) == [
        Row({"text": "one"}, f"{path}:1"),
        Row({"text": "two"}, f"{path}:2"),
    ]


@pytest.mark.parametrize("blank", ["", " \t", "\r", "\u3000", "\u00a0 ", "\u0085", "\x1c"])
def test_blank_lines_are_passed_over_but_counted(path: Path, blank: str) -> None:
    assert rows_of(path, f"{blank}\none\n{blank}\n{blank}\ntwo\n") == [
        Row({"text": "one"}, f"{path}:2"),
        Row({"text": "two"}, f"{path}:5"),
    ]


def test_nul_emoji_and_line_separators_within_a_line_are_kept(path: Path) -> None:
    text = "a\0b 👩‍👩‍👧 {{ not a template }} \u2028 end"
    assert rows_of(path, text + "\n") == [Row({"text": text}, f"{path}:1")]


def test_a_line_that_is_not_utf8_is_named_and_the_rest_is_read(path: Path) -> None:
    first, bad, last = rows_of(path, b"one\ncaf\xe9 two\nthree\n")
    assert [first, last] == [Row({"text": "one"}, f"{path}:1"), Row({"text": "three"}, f"{path}:3")]
    assert isinstance(bad, BadRow)
    assert bad.origin == f"{path}:2"
    assert bad.reason == "not UTF-8: invalid continuation byte at byte 3"


def test_an_empty_file_has_no_rows(path: Path) -> None:
    assert rows_of(path, "") == rows_of(path, "\n\n") == []


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(InputError, match=rf"cannot read {path}: No such file"):
        list(TextSource(path).rows())
