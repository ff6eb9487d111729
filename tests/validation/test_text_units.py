"""What a word, a sentence, a line and a paragraph is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.validation.text_units import (
    _WORD,
    duplicates,
    lines,
    paragraphs,
    sentences,
    words,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("I don't know.", ["I", "don", "'t", "know", "."]),
        ("3.5 kg, 1,000 g", ["3.5", "kg", ",", "1,000", "g"]),
        ("wait... what?!", ["wait", "...", "what", "?!"]),
        ("l’été à Zürich", ["l", "’été", "à", "Zürich"]),
        ("snake_case\tand\u00a0more", ["snake_case", "and", "more"]),
        ("👍🏽 ok", ["👍🏽", "ok"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(st.text(alphabet="ab1_.,'’-!? \n\t\u00a0\u2003\x1cé👍", max_size=80))
def test_words_are_those_of_the_whole_text_however_they_are_looked_up(text: str) -> None:
    assert words(text) == _WORD.findall(text)
    assert words(text * 400) == _WORD.findall(text * 400)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  ", []),
        ("One. Two! Three?", ["One. ", "Two! ", "Three?"]),
        ("He said 'yes.' Then no", ["He said 'yes.' ", "Then no"]),
        ("It costs 3.5 euros.", ["It costs 3.5 euros."]),
        ("它很好。我喜欢！", ["它很好。", "我喜欢！"]),
        ("Well... maybe", ["Well... ", "maybe"]),
        ("v1.2 is out?!) Yes", ["v1.2 is out?!) ", "Yes"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@pytest.mark.parametrize("mark", ["?!", ".'", "…", "。", "[1", "a.", "'"])
def test_no_text_takes_the_square_of_its_length(mark: str) -> None:
    text = mark * (1_000_000 // len(mark)) + "x"
    assert "".join(sentences(text)) == text
    assert "".join(words(text)) == text


def test_lines_and_paragraphs() -> None:
    text = "one\n\ntwo\nthree\n"
    assert lines(text) == ["one", "two", "three", ""]
    assert paragraphs(text) == ["one", "two\nthree"]
    assert lines("one") == paragraphs(" one\n") == ["one"]


def test_duplicates_are_counted_from_the_second_on() -> None:
    assert duplicates(["ab", "c", "ab", "ab"]) == (2, 4)
    assert duplicates(["ab", "c"]) == (0, 0)
