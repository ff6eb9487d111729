"""One request, timed: what every figure of a benchmark is made of.

All times are of the machine's monotonic clock, in seconds. Nothing is retried: what an endpoint
refuses is part of the picture.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from time import monotonic
from typing import Any

from weave_async.errors import BadResponseError, WeaveError
from weave_async.interfaces import Provider
from weave_async.records import Request

CHARS_PER_TOKEN = 4
"""Of English, roughly: output is estimated so where an endpoint reports no usage."""
MOST_SHOWN_CHARS = 300


@dataclass(slots=True)
class Attempt:
    """What was asked, and when which part of the answer came.

    ``intended_s`` is when the load meant it to be sent; ``sent_s`` when it was. ``came_s`` has a
    time for each chunk with text or reasoning in it, ``ended_s`` is that of the last byte. A whole
    answer, of an endpoint that does not stream, comes as one chunk. ``output_tokens`` are the
    endpoint's count, or else estimated, as ``is_estimated`` says. ``error`` is the name of what
    went wrong, as in ``errors``.
    """

    number: int
    intended_s: float
    sent_s: float
    came_s: array[float] = field(default_factory=lambda: array("d"))
    ended_s: float = 0.0
    num_chars: int = 0
    input_tokens: int | None = None
    output_tokens: int = 0
    is_estimated: bool = False
    finish_reason: str | None = None
    error: str | None = None
    message: str | None = None

    @property
    def is_good(self) -> bool:
        return self.error is None

    @property
    def ttft_s(self) -> float | None:
        """From the send to the first chunk with text."""
        return self.came_s[0] - self.sent_s if self.came_s else None

    @property
    def e2e_s(self) -> float:
        """From the send to the last byte."""
        return self.ended_s - self.sent_s

    @property
    def queue_s(self) -> float:
        """From when it was meant to be sent to when it was: time in our own queue."""
        return self.sent_s - self.intended_s

    @property
    def tpot_s(self) -> float | None:
        """Seconds for each output token behind the first; ``None`` where nothing was streamed."""
        if len(self.came_s) < 2 or self.output_tokens < 2:
            return None
        return (self.came_s[-1] - self.came_s[0]) / (self.output_tokens - 1)

    @property
    def itl_s(self) -> list[float]:
        """Seconds between one chunk and the next."""
        return [later - earlier for earlier, later in pairwise(self.came_s)]

    @property
    def tokens_per_chunk(self) -> float | None:
        return self.output_tokens / len(self.came_s) if len(self.came_s) > 1 else None

    def as_row(self, begun_s: float) -> Mapping[str, Any]:
        """One line of the rows' file: times count from the beginning of the benchmark."""
        return {
            "number": self.number,
            "intended_s": round(self.intended_s - begun_s, 6),
            "sent_s": round(self.sent_s - begun_s, 6),
            "came_s": [round(at_s - begun_s, 6) for at_s in self.came_s],
            "ended_s": round(self.ended_s - begun_s, 6),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "is_estimated": self.is_estimated,
            "finish_reason": self.finish_reason,
            "error": self.error,
            "message": self.message,
        }


async def attempted(
    provider: Provider, request: Request, number: int, intended_s: float | None = None
) -> Attempt:
    """Ask once, and note when what came. Never raises what an endpoint may do."""
    sent_s = monotonic()
    attempt = Attempt(number, sent_s if intended_s is None else intended_s, sent_s)
    try:
        await _read(provider, request, attempt)
    except WeaveError as error:
        attempt.error = type(error).__name__
        attempt.message = str(error)[:MOST_SHOWN_CHARS]
    attempt.ended_s = monotonic()
    if not attempt.output_tokens and attempt.num_chars:
        attempt.output_tokens = max(1, round(attempt.num_chars / CHARS_PER_TOKEN))
        attempt.is_estimated = True
    return attempt


async def _read(provider: Provider, request: Request, attempt: Attempt) -> None:
    came_s = attempt.came_s
    async with aclosing(provider.stream(request)) as chunks:
        async for chunk in chunks:
            if chunk.text or chunk.reasoning or chunk.tool_calls:
                came_s.append(monotonic())
                attempt.num_chars += len(chunk.text) + len(chunk.reasoning)
            if chunk.finish_reason is not None:
                attempt.finish_reason = chunk.finish_reason
            if chunk.usage is not None:
                attempt.input_tokens = chunk.usage.input_tokens
                attempt.output_tokens = chunk.usage.output_tokens or 0
    if not came_s:
        raise BadResponseError("the answer held no text")
