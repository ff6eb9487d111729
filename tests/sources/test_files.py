"""Formats by name, and standard input."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from weave_async import registry
from weave_async.errors import InputError
from weave_async.sources.files import FORMATS, format_of, open_bytes, spool
from weave_async.sources.jsonl import JsonlSource
from weave_async.sources.text import TextSource


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("rows.jsonl", "jsonl"),
        ("rows.NDJSON", "jsonl"),
        ("a.b/rows.v2.csv", "csv"),
        ("rows.txt", "text"),
    ],
)
def test_the_ending_tells_the_format(name: str, source: str) -> None:
    assert format_of(Path(name)) == source


@pytest.mark.parametrize(("name", "shown"), [("rows.xlsx", ".xlsx"), ("rows", "(none)")])
def test_an_unknown_ending_is_refused_with_the_known_ones(name: str, shown: str) -> None:
    with pytest.raises(InputError) as caught:
        format_of(Path(name))
    assert f"{name}: unknown ending '{shown}'. Known: .jsonl, " in str(caught.value)


def test_every_format_is_an_installed_source() -> None:
    assert set(FORMATS.values()) <= set(registry.installed("source"))


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{tmp_path} is not a file"):
        with open_bytes(tmp_path):
            pytest.fail("a folder was opened")


@pytest.mark.parametrize("content", [b"", b"a", b"\xef\xbb", b"abc\n"])
def test_a_file_without_a_byte_order_mark_is_read_from_its_first_byte(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "x").write_bytes(content)
    with open_bytes(tmp_path / "x") as file:
        assert file.read() == content


def test_json_lines_on_standard_input_are_spooled_as_such(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf {"a": 1}\n' + b'{"a": 2}\n' * 100_000
    path = spool(BytesIO(content), tmp_path)
    assert format_of(path) == "jsonl"
    assert path.read_bytes() == content
    assert sum(1 for _ in JsonlSource(path).rows()) == 100_001


@pytest.mark.parametrize("content", [b"Tell me a story.\nAnd {another}.\n", b"no newline", b""])
def test_anything_else_on_standard_input_is_text(tmp_path: Path, content: bytes) -> None:
    path = spool(BytesIO(content), tmp_path)
    assert format_of(path) == "text"
    assert path.read_bytes() == content
    assert len(list(TextSource(path).rows())) == len(content.splitlines())
