"""A streamed answer: bytes in, ``Chunk`` out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weave_async.errors import ResponseTooLargeError
from weave_async.records import Chunk, FinishReason, Response, ToolCall

from .errors import ErrorReader
from .fields import (
    ThinkSplitter,
    choice_index,
    content_and_reasoning,
    first_choice,
    raw_finish_reason,
    usage_of,
)
from .response import checked_finish_reason, parse_answer
from .sse import EventDecoder
from .text import GZIP_MAGIC, Inflater, SurrogateJoiner, string
from .tool_calls import ToolCallAssembler

DONE = b"[DONE]"


class ChunkReader:
    """Follows one stream. ``finished``: the answer is complete; ``done``: read no further.

    ``max_bytes`` bounds a single event, and the text of all of them together. The stream itself
    has no bound but time: a long answer arrives as a hundred times its own size.
    """

    def __init__(self, url: str, errors: ErrorReader, max_bytes: int) -> None:
        self._url = url
        self._errors = errors
        self._max_bytes = max_bytes
        self._events = EventDecoder(max_bytes)
        self._thinking = ThinkSplitter()
        self._text = SurrogateJoiner()
        self._reasoning = SurrogateJoiner()
        self._notable: dict[str, bool] = {}  # tool calls and a refusal, seen in any delta
        self._calls: ToolCallAssembler | None = None
        self._inflater: Inflater | None = None
        self._is_new = True
        self._num_chars = 0
        self.finished = False
        self.done = False

    def feed(self, piece: bytes) -> Iterator[Chunk]:
        """The chunks that ``piece`` completes.

        Raises the ``ProviderError`` that an event holds, that it is not JSON, or too large.
        """
        if self._is_new:
            self._is_new = False
            self._inflater = Inflater() if piece.startswith(GZIP_MAGIC[:1]) else None
        if self._inflater:
            piece = self._inflated(piece, self._inflater)
        for data in self._events.feed(piece):
            yield from self._read(data)
            if self.done:
                return

    def close(self) -> Iterator[Chunk]:
        """The last chunks, at ``[DONE]`` or the end of the stream.

        Raises ``BadResponseError`` when the stream ended before the answer did.
        """
        if not self.done:
            yield from self._read(self._events.close())
        if self.finished:
            return
        if not self.done:
            fault = "ended the stream with neither a finish_reason nor [DONE]"
            raise self._errors.bad_response(self._url, fault)
        if not (self._num_chars or self._notable):
            raise self._errors.bad_response(self._url, "streamed an answer with nothing in it")
        self.finished = True
        text, reasoning = self._flush()
        reason = checked_finish_reason(None, self._notable, self._url)
        yield Chunk(
            text=text, reasoning=reasoning, finish_reason=reason, tool_calls=self._take_calls()
        )

    def _read(self, data: bytes) -> Iterator[Chunk]:
        """One event's chunk, unless it says nothing: a comment, a role, a keep-alive."""
        data = data.strip()
        if data == DONE:
            self.done = True
        elif data and not data.startswith(b":"):  # a comment that a gateway wrapped once more
            yield from self.read(parse_answer(data, self._url, self._errors))

    def read(self, document: Mapping[str, Any]) -> Iterator[Chunk]:
        """The chunk of one event's document that is no error, unless it says nothing."""
        choice = first_choice(document)
        if choice is None or choice_index(choice):  # a stream is of one choice
            choice = {}
        chunk = self._chunk(document, choice)
        if chunk.text or chunk.reasoning or chunk.finish_reason or chunk.usage:
            yield chunk

    def _chunk(self, document: Mapping[str, Any], choice: Mapping[str, Any]) -> Chunk:
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            delta = {"content": choice.get("text")}
        content, thought = content_and_reasoning(delta)
        self._count(len(content) + len(thought))
        if delta.get("tool_calls") or delta.get("function_call"):
            self._calls = self._calls or ToolCallAssembler()
            self._count(self._calls.feed(delta))
        text, inline_thought = self._thinking.feed(content)
        text = self._text.feed(text)
        reasoning = self._reasoning.feed(thought + inline_thought)
        raw_reason = raw_finish_reason(choice)
        reason = self._finish_reason(raw_reason, delta)
        if reason:
            rest_text, rest_reasoning = self._flush()
            text += rest_text
            reasoning += rest_reasoning
        return Chunk(
            text=text,
            reasoning=reasoning,
            finish_reason=reason,
            raw_finish_reason=raw_reason or None,
            usage=usage_of(document),
            model=string(document.get("model")) or None,
            tool_calls=self._take_calls() if reason else (),
        )

    def _finish_reason(self, raw: str | None, delta: Mapping[str, Any]) -> FinishReason | None:
        for key in ("tool_calls", "function_call", "refusal"):
            if delta.get(key):
                self._notable[key] = True
        if not raw:
            return None
        self.finished = True
        return checked_finish_reason(raw, self._notable, self._url)

    def _flush(self) -> tuple[str, str]:
        text, thought = self._thinking.close()
        return (
            self._text.feed(text) + self._text.close(),
            self._reasoning.feed(thought) + self._reasoning.close(),
        )

    def _inflated(self, piece: bytes, inflater: Inflater) -> bytes:
        try:
            return inflater.feed(piece)
        except ValueError as exc:
            raise self._errors.bad_response(self._url, "streamed something unreadable") from exc

    def _take_calls(self) -> tuple[ToolCall, ...]:
        calls, self._calls = self._calls, None
        return calls.calls() if calls else ()

    def _count(self, num_chars: int) -> None:
        self._num_chars += num_chars
        if self._num_chars > self._max_bytes:
            raise ResponseTooLargeError(
                f"{self._url} streamed more than {self._max_bytes} characters"
            )


def as_chunk(response: Response) -> Chunk:
    """A whole answer where a stream was asked for, as the stream's only chunk."""
    return Chunk(
        text=response.text,
        reasoning=response.reasoning,
        finish_reason=response.finish_reason,
        raw_finish_reason=response.raw_finish_reason,
        usage=response.usage,
        model=response.model,
        tool_calls=response.tool_calls,
    )
