"""The bodies we answer with: OpenAI's response and chunk objects, as dicts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .generation import FinishReason
from .logprobs import chat_logprobs, completion_logprobs
from .text import ShownToken
from .vocabulary import Vocabulary


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
class Piece:
    """What one sequence adds to its answer, or all of it. `tokens`: None if nobody asked."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    tokens: Sequence[ShownToken] | None = None


class Reply:
    """One request's answer, whole or in chunks: what all of its bodies have in common."""

    id_prefix: ClassVar[str]
    object: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, model: str, fingerprint: str, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._head = {
            "id": f"{self.id_prefix}-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": fingerprint,
        }

    def whole(self, choices: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        return {
            **self._head,
            "object": self.object,
            "choices": [self._choice(piece) for piece in choices],
            "usage": usage.body(),
        }

    def openings(self, num_choices: int) -> list[dict[str, Any]]:
        """The chunks sent before any text."""
        return []

    def chunk(self, piece: Piece) -> dict[str, Any]:
        return self._chunk([self._delta(piece)])

    def usage_chunk(self, usage: Usage) -> dict[str, Any]:
        return {**self._chunk([]), "usage": usage.body()}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": self.chunk_object, "choices": choices}

    def _choice(self, piece: Piece) -> dict[str, Any]:
        raise NotImplementedError

    def _delta(self, piece: Piece) -> dict[str, Any]:
        raise NotImplementedError


class ChatReply(Reply):
    id_prefix = "chatcmpl"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def openings(self, num_choices: int) -> list[dict[str, Any]]:
        delta = {"role": "assistant", "content": ""}
        return [self._chunk([_choice(index, delta=delta)]) for index in range(num_choices)]

    def _choice(self, piece: Piece) -> dict[str, Any]:
        message = {"role": "assistant", "content": piece.text, "refusal": None}
        logprobs = self._logprobs(piece)
        return _choice(piece.index, piece.finish_reason, message=message, logprobs=logprobs)

    def _delta(self, piece: Piece) -> dict[str, Any]:
        delta = {"content": piece.text} if piece.text else {}
        logprobs = self._logprobs(piece)
        return _choice(piece.index, piece.finish_reason, delta=delta, logprobs=logprobs)

    def _logprobs(self, piece: Piece) -> dict[str, Any] | None:
        return None if piece.tokens is None else chat_logprobs(piece.tokens, self._vocabulary)


class CompletionReply(Reply):
    id_prefix = "cmpl"
    object = "text_completion"
    chunk_object = "text_completion"

    def _choice(self, piece: Piece) -> dict[str, Any]:
        logprobs = None
        if piece.tokens is not None:
            logprobs = completion_logprobs(piece.tokens, self._vocabulary)
        return _choice(piece.index, piece.finish_reason, text=piece.text, logprobs=logprobs)

    _delta = _choice


def _choice(
    index: int, finish_reason: FinishReason | None = None, *, logprobs: Any = None, **said: Any
) -> dict[str, Any]:
    return {"index": index, **said, "logprobs": logprobs, "finish_reason": finish_reason}
