"""A reply as server-sent events. Of the chunk that carries text, all but the text is rendered once:
most of what a stream says is the same in each of its chunks."""

from __future__ import annotations

from typing import Any

import orjson

from .replies import Piece, Reply, Usage

MARK = "\0"  # stands for the text while a chunk is cut in two; no name of a model contains it
DONE = b"data: [DONE]\n\n"


class EventWriter:
    def __init__(self, reply: Reply, num_choices: int, *, include_usage: bool) -> None:
        self._reply = reply
        self._num_choices = num_choices
        self._include_usage = include_usage
        mark = orjson.dumps(MARK)
        self._around_text: list[tuple[bytes, bytes]] = []
        for index in range(num_choices):
            head, _, tail = self._chunk(reply.chunk(Piece(index, MARK))).partition(mark)
            self._around_text.append((head, tail))

    def opening(self) -> bytes:
        return b"".join(map(self._chunk, self._reply.openings(self._num_choices)))

    def piece(self, piece: Piece) -> bytes:
        if piece.finish_reason is None and piece.tokens is None:
            head, tail = self._around_text[piece.index]
            return head + orjson.dumps(piece.text) + tail
        return self._chunk(self._reply.chunk(piece))

    def ending(self, usage: Usage) -> bytes:
        return (event(self._reply.usage_chunk(usage)) if self._include_usage else b"") + DONE

    def _chunk(self, chunk: dict[str, Any]) -> bytes:
        return event({**chunk, "usage": None} if self._include_usage else chunk)


def event(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"
