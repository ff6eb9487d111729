"""A group of sequences on its way to the client, as one body or as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from .errors import ApiError
from .generation import FinishReason, GenerationGroup
from .replies import Choice, Reply, Usage
from .text import TextReader


@dataclass(frozen=True, slots=True)
class _Piece:
    index: int
    text: str
    finish_reason: FinishReason | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Whole or in pieces, the text is the same: both are made of `_pieces`."""

    reply: Reply
    group: GenerationGroup
    readers: Sequence[TextReader]
    input_tokens: int

    async def whole(self) -> dict[str, Any]:
        texts = [""] * len(self.readers)
        reasons: list[FinishReason] = ["length"] * len(self.readers)
        async for piece in self._pieces():
            texts[piece.index] += piece.text
            if piece.finish_reason is not None:
                reasons[piece.index] = piece.finish_reason
        choices = [Choice(*choice) for choice in zip(texts, reasons, strict=True)]
        return self.reply.whole(choices, self._usage())

    async def events(self, *, include_usage: bool) -> AsyncIterator[bytes]:
        """The chunks as server-sent events. An error after the first one is an event, too."""
        no_usage = {"usage": None} if include_usage else {}
        try:
            for chunk in self.reply.openings(len(self.readers)):
                yield _event({**chunk, **no_usage})
            async for piece in self._pieces():
                chunk = self.reply.chunk(piece.index, piece.text, piece.finish_reason)
                yield _event({**chunk, **no_usage})
            if include_usage:
                yield _event(self.reply.usage_chunk(self._usage()))
            yield b"data: [DONE]\n\n"
        except ApiError as exc:
            yield _event(exc.body())

    async def _pieces(self) -> AsyncIterator[_Piece]:
        async for news in self.group:
            reader = self.readers[news.index]
            text = reader.push(news.tokens)
            finish_reason = news.finish_reason
            if finish_reason is not None:
                text += reader.flush()
            if reader.stopped:
                finish_reason = "stop"
                self.group.leave(news.index)
            if text or finish_reason is not None:
                yield _Piece(news.index, text, finish_reason)

    def _usage(self) -> Usage:
        return Usage(self.input_tokens, sum(reader.num_tokens for reader in self.readers))


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
