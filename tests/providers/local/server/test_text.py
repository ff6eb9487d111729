"""Whole characters and stop strings, token by token."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer

from providers.local.server.text import Detokenizer, StopScanner, TextReader
from tiny_models import RECITAL, make_tokenizer

TEXTS = [RECITAL, "żółć, 漢字 and 👩‍👩‍👧 families", "a\N{REPLACEMENT CHARACTER}b", "\n\n \t x"]


@pytest.fixture(scope="module")
def rust() -> Tokenizer:
    tokenizer: Tokenizer = make_tokenizer().backend_tokenizer
    return tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_a_character_comes_whole_or_not_at_all(rust: Tokenizer, text: str) -> None:
    detokenizer = Detokenizer(rust.decode)
    pieces = [detokenizer.push(token) for token in rust.encode(text).ids]
    assert "".join([*pieces, detokenizer.flush()]) == text
    assert set("".join(pieces)) <= set(text)


def test_an_unfinished_character_is_dropped_and_what_is_before_it_kept(rust: Tokenizer) -> None:
    reader = TextReader(rust.decode, (), frozenset())
    assert reader.push(rust.encode("ab😀").ids[:-1]) + reader.flush() == "ab"
    assert reader.num_tokens == 5


def test_bytes_that_never_become_a_character_do_not_hold_the_text_for_ever(
    rust: Tokenizer,
) -> None:
    lone = rust.encode("é").ids[1]  # a continuation byte alone
    reader = TextReader(rust.decode, (), frozenset())
    text = reader.push([lone] * 40 + rust.encode("ok").ids) + reader.flush()
    assert text.endswith("ok")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("stops", [("é",), ("字 and", "漢x"), ("zz", " "), ("b",)])
def test_a_stop_string_cuts_however_the_text_is_split(text: str, stops: tuple[str, ...]) -> None:
    cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
    expected = text[: min(cuts)] if cuts else text
    rng = random.Random(0)
    for _ in range(50):
        scanner = StopScanner(stops)
        passed, rest = "", text
        while rest:
            size = rng.randint(1, 4)
            passed += scanner.push(rest[:size])
            rest = rest[size:]
            assert expected.startswith(passed)
        assert passed + scanner.flush() == expected
        assert scanner.stopped == bool(cuts)


def test_tokens_after_a_stop_string_are_not_counted(rust: Tokenizer) -> None:
    reader = TextReader(rust.decode, ("lo",), frozenset())
    assert reader.push(rust.encode("hello world").ids) == "hel"
    assert reader.stopped
    assert reader.num_tokens == 5


def test_silent_tokens_are_counted_and_not_shown(rust: Tokenizer) -> None:
    x = rust.encode("x").ids[0]
    reader = TextReader(rust.decode, (), frozenset({x}))
    assert reader.push(rust.encode("axx").ids) == "a"
    assert reader.num_tokens == 3
