"""How many tokens a request takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.estimate import TokenEstimate, most_input_tokens
from weave_async.records import Message, Request, Response, SamplingParams, Usage

REQUEST = Request("id", "m", (Message("user", "x" * 400),), SamplingParams(max_tokens=10))


def test_it_learns_from_usage() -> None:
    estimate = TokenEstimate()
    assert estimate.tokens(REQUEST) == 1 + 100 + 10
    answer = Response("fine", "stop", usage=Usage(input_tokens=50, output_tokens=1))
    for _ in range(50):
        estimate.learn(REQUEST, answer)
    assert estimate.tokens(REQUEST) == pytest.approx(1 + 50 + 10, abs=2)


def test_absurd_usage_does_not_stall_the_token_limit() -> None:
    estimate = TokenEstimate()
    absurd = Response("x", "stop", usage=Usage(input_tokens=10**9))
    for _ in range(50):
        estimate.learn(REQUEST, absurd)
    assert estimate.tokens(REQUEST) <= 1 + 2 * 400 + 10


@pytest.mark.parametrize("usage", [Usage(), Usage(input_tokens=0)])
def test_usage_that_says_nothing_teaches_nothing(usage: Usage) -> None:
    estimate = TokenEstimate()
    estimate.learn(REQUEST, Response("x", "stop", usage=usage))
    assert estimate.tokens(REQUEST) == 1 + 100 + 10


@given(st.lists(st.text(max_size=200), min_size=1, max_size=4))
def test_the_most_is_at_least_a_token_for_each_byte(texts: list[str]) -> None:
    messages = tuple(Message("user", text) for text in texts)
    most = most_input_tokens(Request("id", "m", messages, SamplingParams()))
    assert most >= sum(len(text.encode(errors="surrogatepass")) for text in texts)


def test_without_a_tokenizer_it_comes_within_a_quarter_of_the_truth() -> None:
    """An unknown model's tokenizer, which only its answers' usage tells of: a trained BPE's."""
    tokenizers = pytest.importorskip("tokenizers")
    documents = Path(__file__).parents[1]
    rows = [
        line.strip()
        for name in ("README.md", "CONTRIBUTING.md", "docs/architecture.md")
        for line in (documents / name).read_text().splitlines()
        if len(line) > 60
    ]
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator(rows, vocab_size=1500, show_progress=False)
    estimate = TokenEstimate()
    asked = [Request("id", "m", (Message("user", text),), SamplingParams()) for text in rows]
    truth = [len(bpe.encode(text).ids) for text in rows]
    for request, num_tokens in list(zip(asked, truth, strict=True))[:40]:
        estimate.learn(request, Response("x", "stop", usage=Usage(input_tokens=num_tokens)))
    guessed = sum(estimate.tokens(request) for request in asked[40:])
    assert len(rows) > 80
    assert guessed == pytest.approx(sum(truth[40:]), rel=0.25)


def test_it_shows_its_state() -> None:
    assert repr(TokenEstimate()) == "<TokenEstimate 0.250 per character>"


def test_each_choice_may_be_as_long_as_one() -> None:
    request = replace(REQUEST, num_choices=4)
    assert TokenEstimate().tokens(request) == 1 + 100 + 4 * 10
