"""What of some lines is shown on terminals of all sizes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from weave_async.cli.screen import Line, Rank, fitted, one_line

PROBLEM = "12 s ago: the endpoint has answered with HTTP 503"
LINES = [
    Line("", ["120 of 1,000 answered", "12%", "1:03 left"], Rank.BAR, share=0.12),
    Line(
        "speed", ["12.1 rows/s", "310 tok/s", "64 in flight", "p50 1.20 s, p95 3.40 s"], Rank.SPEED
    ),
    Line("fast", ["3/16 in flight", "rpm 480/500"], Rank.ENDPOINT),
    Line("rejected", ["7", "length: too_short 5", "echo: copied 2"], Rank.REJECTED),
    Line("problem", PROBLEM.split(), Rank.PROBLEM, joint=" "),
]


def shown(lines: list[Line], width: int = 79, height: int = 24, **options: bool) -> list[str]:
    rows = fitted(lines, width=width, height=height, **{"ascii_only": False, **options})
    return [(row.head + row.text).rstrip() for row in rows]


def test_all_is_shown_where_there_is_room() -> None:
    assert shown(LINES) == [
        "███░░░░░░░░░░░░░░░░░░░░░░░  120 of 1,000 answered · 12% · 1:03 left",
        "speed     12.1 rows/s · 310 tok/s · 64 in flight · p50 1.20 s, p95 3.40 s",
        "fast      3/16 in flight · rpm 480/500",
        "rejected  7 · length: too_short 5 · echo: copied 2",
        "problem   12 s ago: the endpoint has answered with HTTP 503",
    ]


def test_what_does_not_fit_goes_on_below() -> None:
    assert shown(LINES[1:2], width=40) == [
        "speed  12.1 rows/s · 310 tok/s",
        "       64 in flight",
        "       p50 1.20 s, p95 3.40 s",
    ]


def test_where_a_terminal_is_low_the_least_goes_first_and_it_says_so() -> None:
    assert shown(LINES, width=40, height=4) == [
        "120 of 1,000 answered · 12% · 1:03 left",
        "speed     12.1 rows/s · 310 tok/s …",
        "rejected  7 · length: too_short 5 …",
        "problem   12 s ago: the endpoint has …",
    ]
    assert shown(LINES, width=40, height=1) == ["120 of 1,000 answered · 12% · 1:03 left"]


def test_a_bar_is_read_without_colours_and_ends_where_the_share_does() -> None:
    for share, full in ((-1.0, 0), (0.0, 0), (0.5, 20), (1.0, 40), (7.0, 40)):
        [bar] = shown([Line("", ["x"], Rank.BAR, share=share)], width=150)
        assert bar == "█" * full + "░" * (40 - full) + "  x"


def test_a_terminal_without_unicode_gets_none() -> None:
    rows = shown(
        [
            *LINES,
            Line("漢字", ["\x1b[2J"], Rank.NAME),
            Line("diversity", ["4.1 ↑ +0.2", "0.1 ↓ -0.1"], Rank.BAR),
        ],
        ascii_only=True,
    )
    assert "".join(rows).isascii()
    assert "###....." in rows[0]
    assert rows[-1] == "diversity  4.1 ^ +0.2 | 0.1 v -0.1"


texts = st.text(max_size=40) | st.sampled_from(
    ["\x1b]52;c;eA==\x07", "漢字" * 9, "a\r\nb", "\u202e"]
)
some_lines = st.builds(
    Line,
    label=texts,
    parts=st.lists(texts, max_size=5),
    rank=st.sampled_from(Rank),
    share=st.none() | st.floats(-1, 2),
)


@given(st.lists(some_lines, max_size=8), st.integers(-1, 130), st.integers(-1, 12))
def test_no_text_breaks_out_of_any_terminal(lines: list[Line], width: int, height: int) -> None:
    rows = fitted(lines, width=width, height=height, ascii_only=False)
    assert len(rows) <= max(1, height)
    for row in rows:
        assert row.width <= max(1, width)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", row.head + row.text)


@pytest.mark.parametrize("text", ["a\nb", "a\r\n\tb", "a\x85b", "a\u2028b", "a \x0b b"])
def test_a_text_of_several_lines_becomes_one(text: str) -> None:
    assert one_line(text) == "a b"


def test_wide_characters_take_two_columns() -> None:
    [row] = fitted([Line("", ["漢字漢字"], Rank.BAR)], width=5, height=1, ascii_only=False)
    assert cell_len(row.text) == 5
    assert row.text == "漢字…"
