"""Log probabilities in OpenAI's two shapes: that of chats and the older one of completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .text import ShownToken
from .vocabulary import Vocabulary

LOWEST = -9999.0  # what OpenAI writes for "impossible": JSON has no infinity


def chat_logprobs(tokens: Sequence[ShownToken], vocabulary: Vocabulary) -> dict[str, Any]:
    def body(token: int, logprob: float) -> dict[str, Any]:
        label = vocabulary.label(token)
        return {
            "token": label.decode("utf-8", "replace"),
            "logprob": max(logprob, LOWEST),
            "bytes": list(label),
        }

    content = [
        {
            **body(shown.logprobs.token, shown.logprobs.logprob),
            "top_logprobs": [body(*likely) for likely in shown.logprobs.top],
        }
        for shown in tokens
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(tokens: Sequence[ShownToken], vocabulary: Vocabulary) -> dict[str, Any]:
    def name(token: int) -> str:
        label = vocabulary.label(token)
        try:
            return label.decode()
        except UnicodeDecodeError:  # a part of a character: two of them are not to look the same
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in label)

    picked = [(shown.logprobs.token, shown.logprobs.logprob) for shown in tokens]
    return {
        "tokens": [name(token) for token, _ in picked],
        "token_logprobs": [max(logprob, LOWEST) for _, logprob in picked],
        "top_logprobs": [
            {name(token): max(logprob, LOWEST) for token, logprob in (*shown.logprobs.top, pick)}
            for shown, pick in zip(tokens, picked, strict=True)
        ],
        "text_offset": [shown.offset for shown in tokens],
    }
