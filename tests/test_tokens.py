"""Exact counts: only of a vocabulary that is here, and never at the price of a connection."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Iterator
from hashlib import sha1, sha256
from pathlib import Path
from types import ModuleType

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from weave_async import tokens
from weave_async.estimate import TokenEstimate, most_input_tokens
from weave_async.records import Message, Request, Response, SamplingParams, Usage
from weave_async.settings import Settings
from weave_async.tokens import PromptTokens, encoding_for

ADDRESS = "https://vocabularies.invalid/tiny.tiktoken"
RANKS = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abab": 257}
TABLE = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in RANKS.items())
PLUGIN = f"""
from tiktoken.load import load_tiktoken_bpe

def base():
    ranks = load_tiktoken_bpe({ADDRESS!r}, expected_hash={sha256(TABLE).hexdigest()!r})
    return {{"name": "tiny", "pat_str": ".+", "mergeable_ranks": ranks, "special_tokens": {{}}}}

def tiny():
    return {{**base(), "name": "tiny"}}
"""


@pytest.fixture(autouse=True)
def _tiny_plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An encoding as tiktoken's plugins bring them."""
    plugin = ModuleType("tiny_plugin")
    exec(PLUGIN, plugin.__dict__)
    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", {"tiny": plugin.tiny})
    monkeypatch.setitem(tiktoken.model.MODEL_TO_ENCODING, "tiny-model", "tiny")
    tokens._loaded.cache_clear()
    yield
    tokens._loaded.cache_clear()


def keep_the_table(content: bytes = TABLE) -> Path:
    folder = Path("cache")
    folder.mkdir()
    path = folder / sha1(ADDRESS.encode()).hexdigest()
    path.write_bytes(content)
    return path


def tiny() -> tiktoken.Encoding:
    return tiktoken.Encoding("tiny", pat_str=".+", mergeable_ranks=RANKS, special_tokens={})


def asking(*texts: str, max_tokens: int = 10, schema: dict[str, str] | None = None) -> Request:
    messages = tuple(Message("user", text) for text in texts)
    return Request("id", "m", messages, SamplingParams(max_tokens=max_tokens), schema=schema)


def test_a_vocabulary_in_tiktokens_own_folder_is_used() -> None:
    keep_the_table()
    for model in ("tiny-model", "some-reseller/tiny-model"):
        encoding = encoding_for(model, Path("cache"))
        assert encoding is not None
        assert encoding.encode_ordinary("ababab") == [257, 256]


@pytest.mark.parametrize("content", [None, b"damaged"])
def test_a_vocabulary_that_is_not_here_opens_no_socket(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("it opens a socket")

    path = None if content is None else keep_the_table(content)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert encoding_for("tiny-model", Path("cache")) is None
    assert path is None or path.read_bytes() == content, "nor is anything deleted"


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-oss-20b", "gpt-4", "davinci", "gpt2"])
def test_the_librarys_own_vocabularies_open_no_socket_either(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("it opens a socket")

    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", None)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert encoding_for(model, Path("cache")) is None


def test_a_model_of_which_nothing_is_known_has_no_vocabulary() -> None:
    assert encoding_for("smollm2-135m", Path("cache")) is None


def test_where_the_vocabulary_is_known_questions_are_counted() -> None:
    keep_the_table()
    request = asking("ab" * 200)

    async def prepared() -> TokenEstimate:
        estimate = TokenEstimate(model="tiny-model", vocabularies=Path("cache"))
        assert estimate.most_input_tokens(request) == most_input_tokens(request)
        await estimate.prepare()
        return estimate

    estimate = asyncio.run(prepared())
    assert estimate.tokens(request) == 100 + 4 + 10
    assert 100 < estimate.most_input_tokens(request) < most_input_tokens(request) / 3


def test_what_the_template_adds_is_learned() -> None:
    counts = PromptTokens(tiny())
    request = asking("ab" * 50, "ab" * 50)
    for _ in range(60):
        counts.learn(request, 50 + 2 * 20)
    assert counts.expected(request) == pytest.approx(50 + 40, abs=2)
    assert counts.most(request) >= 50 + 40


def test_usage_of_another_vocabulary_ends_the_counting() -> None:
    keep_the_table()
    request = asking("ab" * 2000)
    estimate = TokenEstimate(model="tiny-model", vocabularies=Path("cache"))
    asyncio.run(estimate.prepare())
    answer = Response("x", "stop", usage=Usage(input_tokens=2000, output_tokens=1))
    estimate.learn(request, answer)
    assert estimate.most_input_tokens(request) == most_input_tokens(request)


@given(st.lists(st.text(max_size=60), min_size=1, max_size=3))
def test_the_worst_case_is_never_less_than_the_count(texts: list[str]) -> None:
    request = asking(*texts)
    counted = sum(len(tiny().encode_ordinary(text)) for text in texts)
    assert PromptTokens(tiny()).most(request) >= counted


def test_a_text_too_long_to_count_is_counted_by_its_bytes() -> None:
    counts = PromptTokens(tiny())
    assert counts.most(asking("ab" * 100_000)) > 200_000


def test_the_schema_is_part_of_the_worst_case() -> None:
    schema = {"description": "x" * 1000}
    assert most_input_tokens(asking("a", schema=schema)) > most_input_tokens(asking("a")) + 1000


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"TIKTOKEN_CACHE_DIR": "a", "DATA_GYM_CACHE_DIR": "b"}, Path("a")),
        ({"DATA_GYM_CACHE_DIR": "b"}, Path("b")),
        ({"TIKTOKEN_CACHE_DIR": ""}, None),
    ],
)
def test_the_folder_is_the_one_tiktoken_would_look_in(
    environ: dict[str, str], folder: Path | None
) -> None:
    assert Settings.from_environment(environ, None).vocabularies == folder
