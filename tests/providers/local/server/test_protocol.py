"""Request bodies nobody would send on purpose."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from providers.local.server.errors import InvalidRequest
from providers.local.server.protocol import NEUTRAL, parse_chat, parse_completion

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
COMPLETION = {"model": "m", "prompt": "x"}
NAMES = [*NEUTRAL, "model", "messages", "prompt", "temperature", "top_p", "top_k", "n", "seed"]
NAMES += ["max_tokens", "stop", "stream", "stream_options", "ignore_eos", "user", "what is this"]
VALUES = [None, True, False, 0, 1, -1, 2**63, 2**64, 1e308, -0.0, "", "x", "\0", "é", [], {}]
VALUES += [[[]], [None], [{}], {"": None}, {"role": "user"}, {"type": "text"}, "x" * 2000]


@pytest.mark.parametrize(("parse", "body"), [(parse_chat, CHAT), (parse_completion, COMPLETION)])
def test_any_body_is_understood_or_refused(
    parse: Callable[[bytes], Any], body: dict[str, Any]
) -> None:
    rng = random.Random(5)

    def value(depth: int = 0) -> Any:
        kind = rng.random()
        if depth < 3 and kind < 0.2:
            return [value(depth + 1) for _ in range(rng.randint(0, 3))]
        if depth < 3 and kind < 0.4:
            names = ["role", "content", "type", "text", "include_usage"]
            return {name: value(depth + 1) for name in rng.sample(names, 2)}
        return rng.choice(VALUES)

    for _ in range(5000):
        fields = {name: value() for name in rng.sample(NAMES, rng.randint(0, 3))}
        encoded = bytearray(json.dumps({**body, **fields}).encode())
        if rng.random() < 0.2:
            encoded[rng.randrange(len(encoded))] = rng.randrange(256)
        try:
            parse(bytes(encoded))
        except InvalidRequest as exc:
            orjson.dumps(exc.body())


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
