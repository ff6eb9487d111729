"""Text and thinking, told apart."""

from __future__ import annotations

from typing import Any

import pytest

from providers.wire.fields import ThinkSplitter
from providers.wire.response import parse_response
from wire_shapes import ERRORS, URL, answer


@pytest.mark.parametrize(
    "text", ["<think>a < b</think>\n\nyes", "no <think> here", " <thin", "<think>x</th"]
)
def test_thinking_is_split_the_same_however_it_is_cut(text: str) -> None:
    def split(pieces: list[str]) -> tuple[str, str]:
        splitter = ThinkSplitter()
        parts = [splitter.feed(piece) for piece in pieces] + [splitter.close()]
        return "".join(a for a, _ in parts), "".join(r for _, r in parts)

    assert split(list(text)) == split([text])


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "<think>hm</think>\n\nyes"}, "yes", "hm"),
        ({"content": "<think>cut off"}, "", "cut off"),
        ({"content": "I say <think>"}, "I say <think>", ""),
        ({"content": "yes", "reasoning_content": "hm"}, "yes", "hm"),
        ({"content": "yes", "reasoning": "hm", "reasoning_content": None}, "yes", "hm"),
        ({"content": None}, "", ""),
        ({}, "", ""),
        ({"content": 7, "reasoning": {}}, "", ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab", ""),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "yes"},
                    {"type": "image"},
                    None,
                ]
            },
            "yes",
            "hm",
        ),
    ],
)
def test_text_and_reasoning_are_found(message: dict[str, Any], text: str, reasoning: str) -> None:
    response = parse_response(answer(message=message), URL, ERRORS)
    assert (response.text, response.reasoning) == (text, reasoning)
