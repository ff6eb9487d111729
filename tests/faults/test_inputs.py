"""P13: input of every kind is kept, or named with its place; the counts add up either way."""

from __future__ import annotations

import gzip
import json

import pytest

from invariants import prompt_of, read_rows

from .site import Site

LONG = b"x" * 10 * 1024 * 1024


def line(text: str) -> bytes:
    return json.dumps({"text": text}).encode() + b"\n"


KEPT = {
    "duplicates": (line("same") * 5 + line("other") + line("same"), 7),
    "empty_file": (b"", 0),
    "blank_lines_only": (b"\n\n  \n", 0),
    "no_newline_at_the_end": (line("a") + line("b").rstrip(), 2),
    "carriage_returns": (line("a").replace(b"\n", b"\r\n") * 2, 2),
    "byte_order_mark": (b"\xef\xbb\xbf" + line("a"), 1),
    "nul": (line("a\0b"), 1),
    "emoji": (line("👩‍👩‍👧‍👦 and 🏳️‍🌈"), 1),
    "emoji_as_escapes": (b'{"text": "\\ud83d\\ude00"}\n', 1),
    "controls_and_separators": (line("a\u2028b\u2029c\x0b\x0c\x1c\x85d"), 1),
    "a_row_of_ten_megabytes": (line("a").replace(b"{", b'{"rest": "%s", ' % LONG), 1),
    "other_columns": (b'{"text": "a", "deep": [[{"x": [1, 2]}]], "n": 1e308}\n', 1),
}
MALFORMED = {
    "lone_surrogate": line("fine") + b'{"text": "\\ud83d"}\n',
    "not_utf8": line("fine") + b'{"text": "\xff\xfe"}\n',
    "not_json": line("fine") + b'{"text": "a"\n',
    "not_an_object": line("fine") + b"[1, 2]\n",
    "too_deep": line("fine") + b'{"text": ' + b"[" * 100_000 + b"\n",
    "nan": line("fine") + b'{"text": NaN}\n',
}
UNFIT = {
    "column_missing": line("fine") + b'{"texts": "a"}\n',
    "a_prompt_of_ten_megabytes": line("fine") + line(LONG.decode()),
}
"""Sound, but not what the template wants. Both kinds have their mistake in line 2."""
REFUSED = {**MALFORMED, **UNFIT}


@pytest.mark.parametrize(("content", "num_rows"), KEPT.values(), ids=KEPT.keys())
def test_odd_input_is_kept_as_it_is(site: Site, content: bytes, num_rows: int) -> None:
    (site.folder / "seeds.jsonl").write_bytes(content)
    ended = site.call()
    if not num_rows:
        assert ended.exit_code == 65
        assert "seeds.jsonl" in ended.err
        return
    assert ended.exit_code == 0, ended.err
    assert ended.summary["written"] == len(ended.asked) == num_rows
    expected = [json.loads(row)["text"] for row in content.decode("utf-8-sig").split("\n") if row]
    assert [prompt_of(row) for row in read_rows(site.out / "samples.jsonl")] == expected
    assert sorted(ended.asked) == sorted(expected)


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED.keys())
def test_a_row_that_cannot_be_used_is_named_before_anything_is_paid(
    site: Site, content: bytes
) -> None:
    (site.folder / "seeds.jsonl").write_bytes(content)
    ended = site.call()
    assert ended.exit_code == 65
    assert "seeds.jsonl:2" in ended.err
    assert ended.asked == ()


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED.keys())
def test_or_it_is_left_out_and_counted(site: Site, content: bytes) -> None:
    (site.folder / "seeds.jsonl").write_bytes(content + line("also fine"))
    site.recipe["prompts"]["on_bad_row"] = "skip"
    ended = site.call()
    assert ended.exit_code == 0, ended.err
    assert sorted(ended.asked) == ["also fine", "fine"]
    assert ended.summary["rows_skipped"] == 1


@pytest.mark.parametrize("name", ["seeds.jsonl.gz", "seeds.parquet", "seeds"])
def test_a_format_that_is_not_known_is_named_with_those_that_are(site: Site, name: str) -> None:
    whole = gzip.compress(line("a") * 100)
    (site.folder / name).write_bytes(whole[: len(whole) // 2])
    site.recipe["prompts"]["source"] = name
    ended = site.call()
    assert ended.exit_code == 65
    assert name in ended.err
    assert ".jsonl" in ended.err
    assert ended.asked == ()


def test_a_source_that_shrinks_while_the_run_goes_on_is_noticed(site: Site) -> None:
    site.write_rows(2000)
    process = site.start("-c", "4")
    process.wait_until_asked(20)
    site.write_rows(100)
    ended = process.end()
    assert ended.exit_code in (0, 65)  # what was read ahead may have been all
    if ended.exit_code:
        assert "seeds.jsonl" in ended.err
