"""Request bodies, read and refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest

from providers.local.server.errors import InvalidRequest
from providers.local.server.generation import Sampling
from providers.local.server.protocol import parse_chat, parse_completion

from .hostile import CHAT, COMPLETION, hostile_body


@pytest.mark.parametrize(("parse", "body"), [(parse_chat, CHAT), (parse_completion, COMPLETION)])
def test_any_body_is_understood_or_refused(
    parse: Callable[[bytes], Any], body: dict[str, Any]
) -> None:
    rng = random.Random(5)
    for _ in range(5000):
        with suppress(InvalidRequest):
            parse(hostile_body(rng, body))


@pytest.mark.parametrize("depth", [100, 300, 1000, 5000])
@pytest.mark.parametrize("name", ["messages", "stop", "logit_bias", "unheard_of"])
def test_deep_nesting_is_refused(depth: int, name: str) -> None:
    text = b"[" * depth + b"]" * depth
    body = orjson.dumps({**CHAT, name: "here"}).replace(b'"here"', text)
    with pytest.raises(InvalidRequest):
        parse_chat(body)


def test_developer_messages_are_system_messages() -> None:
    request = parse_chat(
        orjson.dumps({**CHAT, "messages": [{"role": "developer", "content": "x"}]})
    )
    assert request.messages == ({"role": "system", "content": "x"},)


def sampling(**fields: Any) -> Sampling:
    return parse_chat(orjson.dumps({**CHAT, **fields})).params.sampling


def test_sampling_fields_arrive_as_they_are() -> None:
    wanted = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        min_p=0.05,
        presence_penalty=-2.0,
        frequency_penalty=2.0,
        repetition_penalty=1.1,
        logit_bias={5: -100.0, 6: 1.5},
        num_logprobs=3,
        seeded=True,
    )
    asked = {"temperature": 0.5, "top_p": 0.9, "top_k": 7, "min_p": 0.05, "presence_penalty": -2}
    asked |= {"frequency_penalty": 2, "repetition_penalty": 1.1, "seed": 4, "logprobs": True}
    assert sampling(**asked, top_logprobs=3, logit_bias={"5": -100, "6": 1.5}) == wanted


def test_a_body_that_asks_for_nothing_gets_the_defaults() -> None:
    assert sampling() == Sampling()
    assert sampling(top_k=-1, logit_bias={}, logprobs=False, top_logprobs=0) == Sampling()
    assert not sampling(seed=None).seeded


def test_logprobs_are_a_switch_in_chats_and_a_number_in_completions() -> None:
    assert sampling(logprobs=True).num_logprobs == 0
    completion = orjson.dumps({**COMPLETION, "logprobs": 0})
    assert parse_completion(completion).params.sampling.num_logprobs == 0


@pytest.mark.parametrize(
    ("fields", "param", "named"),
    [
        ({"logit_bias": {"5": 101}}, "logit_bias", "logit_bias.5"),
        ({"logit_bias": {"-5": 1}}, "logit_bias", "-5"),
        ({"logit_bias": {"5_0": 1}}, "logit_bias", "5_0"),
        ({"logit_bias": {"9" * 10: 1}}, "logit_bias", "9" * 10),
        ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias", "1024"),
        ({"logit_bias": [1]}, "logit_bias", "[1]"),
        ({"top_logprobs": 2}, "top_logprobs", "'logprobs' is true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "21"),
        ({"logprobs": 1}, "logprobs", "true or false"),
        ({"stream_options": {"include_usage": 1}}, "stream_options", "include_usage"),
    ],
)
def test_a_wrong_value_names_its_field(fields: dict[str, Any], param: str, named: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(orjson.dumps({**CHAT, **fields}))
    assert caught.value.param == param
    assert named in caught.value.message


@pytest.mark.parametrize("value", [6, True, -1, 1.5])
def test_completions_report_at_most_five_likeliest_tokens(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="from 0 to 5"):
        parse_completion(orjson.dumps({**COMPLETION, "logprobs": value}))


def test_a_name_of_a_megabyte_is_not_sent_back() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_chat(orjson.dumps({**CHAT, "x" * 2**20: 1}))
    assert len(orjson.dumps(caught.value.body())) < 1000
