"""A group of sequences on its way to the client, as one body or as server-sent events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import ApiError
from .events import EventWriter, event
from .generation import GenerationGroup, Progress
from .replies import Piece, Reply, Usage
from .text import TextReader


@dataclass(frozen=True, slots=True)
class Answer:
    """Whole or in pieces, the text is the same: both are made by `_read`."""

    reply: Reply
    group: GenerationGroup
    readers: Sequence[TextReader]
    input_tokens: int
    with_logprobs: bool

    async def whole(self) -> dict[str, Any]:
        choices = [Piece(index, "") for index in range(len(self.readers))]
        async for news in self.group:
            piece, before = self._read(news), choices[news.index]
            choices[news.index] = replace(
                piece,
                text=before.text + piece.text,
                tokens=None if piece.tokens is None else [*(before.tokens or ()), *piece.tokens],
            )
        return self.reply.whole(choices, self._usage())

    async def write_events(
        self, write: Callable[[bytes], Awaitable[None]], *, include_usage: bool
    ) -> None:
        """Write at each step that brings text. An error after the first event is an event, too."""
        writer = EventWriter(self.reply, len(self.readers), include_usage=include_usage)
        try:
            if opening := writer.opening():
                await write(opening)
            async for news in self.group:
                piece = self._read(news)
                if piece.text or piece.finish_reason is not None:
                    await write(writer.piece(piece))
            await write(writer.ending(self._usage()))
        except ApiError as exc:
            await write(event(exc.body()))

    def _read(self, news: Progress) -> Piece:
        reader = self.readers[news.index]
        text = reader.push(news.tokens, news.logprobs)
        finish_reason = news.finish_reason
        if finish_reason is not None:
            text += reader.flush()
        if reader.stopped:
            finish_reason = "stop"
            self.group.leave(news.index)
        tokens = None
        if self.with_logprobs:
            tokens = reader.take_shown(ended=finish_reason is not None)
        return Piece(news.index, text, finish_reason, tokens)

    def _usage(self) -> Usage:
        return Usage(self.input_tokens, sum(reader.num_tokens for reader in self.readers))
