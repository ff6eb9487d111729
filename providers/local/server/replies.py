"""The bodies we answer with: OpenAI's response and chunk objects, as dicts."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from .generation import FinishReason


@dataclass(frozen=True, slots=True)
class Usage:
    input_tokens: int
    output_tokens: int  # all generated ones, the token that ended the text included

    def body(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """One whole completion."""

    text: str
    finish_reason: FinishReason


class Reply:
    """One request's answer, whole or in chunks: what all of its bodies have in common."""

    id_prefix: ClassVar[str]
    object: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, model: str, fingerprint: str) -> None:
        self._head = {
            "id": f"{self.id_prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }

    def whole(self, choices: list[Choice], usage: Usage) -> dict[str, Any]:
        return {
            **self._head,
            "object": self.object,
            "choices": [self._choice(index, choice) for index, choice in enumerate(choices)],
            "usage": usage.body(),
        }

    def openings(self, num_choices: int) -> list[dict[str, Any]]:
        """The chunks sent before any text."""
        return []

    def chunk(self, index: int, text: str, finish_reason: FinishReason | None) -> dict[str, Any]:
        return self._chunk([self._delta(index, text, finish_reason)])

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        return {**self._chunk([]), "usage": usage.body()}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": self.chunk_object, "choices": choices}

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        raise NotImplementedError

    def _delta(self, index: int, text: str, finish_reason: FinishReason | None) -> dict[str, Any]:
        raise NotImplementedError


class ChatReply(Reply):
    id_prefix = "chatcmpl"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def openings(self, num_choices: int) -> list[dict[str, Any]]:
        return [
            self._chunk([_chat_delta(index, {"role": "assistant", "content": ""}, None)])
            for index in range(num_choices)
        ]

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        return {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": None,
            "finish_reason": choice.finish_reason,
        }

    def _delta(self, index: int, text: str, finish_reason: FinishReason | None) -> dict[str, Any]:
        return _chat_delta(index, {"content": text} if text else {}, finish_reason)


def _chat_delta(
    index: int, delta: dict[str, str], finish_reason: FinishReason | None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


class CompletionReply(Reply):
    id_prefix = "cmpl"
    object = "text_completion"
    chunk_object = "text_completion"

    def _choice(self, index: int, choice: Choice) -> dict[str, Any]:
        return self._delta(index, choice.text, choice.finish_reason)

    def _delta(self, index: int, text: str, finish_reason: FinishReason | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}
