"""CSV as spreadsheets write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_async.errors import InputError
from weave_async.records import BadRow, Row
from weave_async.sources.csv import CsvSource


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def rows_of(path: Path, content: str | bytes) -> list[Row | BadRow]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(CsvSource(path).rows())


def test_the_header_names_the_columns_and_values_are_text(path: Path) -> None:
    assert rows_of(path, "name,age\nAda,36\nBob,\n") == [
        Row({"name": "Ada", "age": "36"}, f"{path}:2"),
        Row({"name": "Bob", "age": ""}, f"{path}:3"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa,b\n1,2\n",
        "a,b\r\n1,2\r\n",
        "a,b\n1,2",
        '"a","b"\n"1","2"\n',
        "\ufeff" + '"a",b\n1,2\n',
    ],
    ids=["byte-order mark", "CRLF", "no last newline", "quoted", "mark before a quote"],
)
def test_marks_line_ends_and_quotes_make_no_difference(path: Path, content: str) -> None:
    assert rows_of(path, content) == [Row({"a": "1", "b": "2"}, f"{path}:2")]


def test_quoted_cells_hold_line_breaks_commas_and_quotes(path: Path) -> None:
    content = 'a,b\n"one\r\ntwo\nthree, ""four""",x\nlast,y\n'
    assert rows_of(path, content) == [
        Row({"a": 'one\r\ntwo\nthree, "four"', "b": "x"}, f"{path}:4"),
        Row({"a": "last", "b": "y"}, f"{path}:5"),
    ]


def test_blank_lines_are_passed_over_but_counted(path: Path) -> None:
    assert rows_of(path, "a,b\n\n1,2\n\r\n3,4\n\n") == [
        Row({"a": "1", "b": "2"}, f"{path}:3"),
        Row({"a": "3", "b": "4"}, f"{path}:5"),
    ]


def test_blank_lines_before_the_header_are_passed_over(path: Path) -> None:
    assert rows_of(path, "\n\na,b\n1,2\n") == [Row({"a": "1", "b": "2"}, f"{path}:4")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1", "1 cells under a header of 2"),
        ("1,2,3", "3 cells under a header of 2"),
        ('"1"x,2', "not CSV: "),
    ],
)
def test_a_ragged_or_broken_line_is_named_and_the_rest_is_read(
    path: Path, line: str, reason: str
) -> None:
    first, bad, last = rows_of(path, f"a,b\n1,2\n{line}\n3,4\n")
    assert first == Row({"a": "1", "b": "2"}, f"{path}:2")
    assert last == Row({"a": "3", "b": "4"}, f"{path}:4")
    assert isinstance(bad, BadRow)
    assert bad.origin == f"{path}:3"
    assert bad.reason.startswith(reason)


def test_a_quote_that_is_never_closed_is_a_bad_row(path: Path) -> None:
    (bad,) = rows_of(path, 'a,b\n"1,2\n3,4\n')
    assert isinstance(bad, BadRow)
    assert "not CSV: unexpected end of data" in bad.reason


def test_a_cell_that_is_not_utf8_is_a_bad_row(path: Path) -> None:
    assert rows_of(path, b"a,b\n1,caf\xe9\n3,4\n") == [
        BadRow(f"{path}:2", "not UTF-8"),
        Row({"a": "3", "b": "4"}, f"{path}:3"),
    ]


def test_a_header_that_is_not_utf8_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match=rf"{path}:1: .*UTF-8"):
        rows_of(path, b"a,caf\xe9\n1,2\n")


def test_a_column_that_stands_twice_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match=rf"{path}:1: column 'b' stands twice"):
        rows_of(path, "a,b,b\n1,2,3\n")


def test_nul_and_emoji_are_kept(path: Path) -> None:
    assert rows_of(path, "a,🦆\n1\0,👩‍👩‍👧\n") == [Row({"a": "1\0", "🦆": "👩‍👩‍👧"}, f"{path}:2")]


def test_a_large_cell_is_kept_or_named_and_nothing_of_it_becomes_other_rows(path: Path) -> None:
    cell = "x\ny,z\n" * 50_000
    rows = rows_of(path, f'a,b\n"{cell}",2\n3,4\n')
    assert len(rows) == 2
    assert rows[1] == Row({"a": "3", "b": "4"}, f"{path}:{100_003}")
    assert isinstance(rows[0], BadRow) or rows[0].values["a"] == cell


def test_another_delimiter_can_be_set(path: Path) -> None:
    path.write_text("a;b\n1,5;2\n")
    assert list(CsvSource(path, delimiter=";").rows()) == [Row({"a": "1,5", "b": "2"}, f"{path}:2")]


@pytest.mark.parametrize("content", ["", "\ufeff", "a,b\n"])
def test_a_file_without_rows_has_none(path: Path, content: str) -> None:
    assert rows_of(path, content) == []


def test_a_source_can_be_read_again(path: Path) -> None:
    path.write_text("a\n1\n")
    source = CsvSource(path)
    assert list(source.rows()) == list(source.rows()) != []


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(InputError, match=rf"cannot read {path}: No such file"):
        list(CsvSource(path).rows())
