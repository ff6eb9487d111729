"""Request bodies nobody would send on purpose."""

from __future__ import annotations

import json
import random
from typing import Any

from providers.local.server.protocol import IGNORED, NEUTRAL

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
COMPLETION = {"model": "tiny", "prompt": "x"}
NAMES = [*NEUTRAL, *IGNORED, "model", "messages", "prompt", "temperature", "top_p", "top_k", "n"]
NAMES += ["seed", "max_tokens", "max_completion_tokens", "stop", "stream", "stream_options"]
NAMES += ["ignore_eos", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty"]
NAMES += [
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "what is this",
    "",
    "a.b[0]",
    "\N{SNOWMAN}" * 99,
]
INNER_NAMES = ["role", "content", "type", "text", "include_usage", "7", "-1", "٣", "9" * 40]
VALUES = [None, True, False, 0, 1, -1, 0.5, 20, 2**63, 2**64, 1e308, -0.0, "", "x", "\0", "é"]
VALUES += [[], {}, [[]], [None], [{}], {"": None}, {"role": "user"}, {"type": "text"}, "x" * 2000]
VALUES += ["user", "text", "json_object", [0, 1], {"7": 1e9}, {"7": 3}, ["a"] * 70, [2**40]]
# What json.dumps cannot write: taken in place of a value.
RAW = [b"NaN", b"-Infinity", b"1e999", b"1" * 400, b'"\\ud800"', b'"\xff"', b"[" * 2000, b"0x1"]
RAW += [b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900, b'"\\u0000"', b"01", b"'x'"]


def hostile_body(rng: random.Random, body: dict[str, Any]) -> bytes:
    fields = {name: _value(rng) for name in rng.sample(NAMES, rng.randint(0, 3))}
    encoded = bytearray(json.dumps({**body, **fields, "here": 0}).encode())
    kind = rng.random()
    if kind < 0.15:
        encoded[rng.randrange(len(encoded))] = rng.randrange(256)
    elif kind < 0.2:
        del encoded[rng.randrange(len(encoded)) :]
    elif kind < 0.4:
        name = rng.choice(NAMES[:-1])
        value = b'"%s": %s' % (name.encode(), rng.choice(RAW))
        return bytes(encoded.replace(b'"here": 0', value))
    return bytes(encoded.replace(b', "here": 0', b""))


def _value(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.random()
    if depth < 3 and kind < 0.2:
        return [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if depth < 3 and kind < 0.4:
        return {name: _value(rng, depth + 1) for name in rng.sample(INNER_NAMES, 2)}
    return rng.choice(VALUES)
