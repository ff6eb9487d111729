"""An endpoint in the same process: for dry runs, demos, tests and benchmarks.

It answers from the request alone, so that a run is the same at any concurrency: the same request
gets the same text, the same latency and the same faults. What it says is made of the prompt's own
words and some filler, in the shape of the request's schema if it has one; it is no language model.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Self

import orjson

from weave_async.errors import DeadlineError, RateLimitError, ServerError
from weave_async.records import Chunk, Endpoint, FinishReason, Request, Response, Usage

from .options import options_of
from .simulated_json import ValueMaker

_OPENERS = ("Thanks for asking.", "Good question.", "I can help with that.", "Let me look into it.")
_FILLERS = (
    "please check your account page and try again",
    "we have made a note of it on your account",
    "this can take up to three working days",
    "you will get a message from us when it is done",
    "the details are under settings in the app",
    "our team will look at it today",
    "you can reply here if anything is unclear",
    "no action is needed from you for now",
)
_MIN_WORD_LENGTH = 4
_TOKENS_PER_WORD = 1.3


@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    """How the endpoint behaves. Shares are between 0 and 1."""

    latency_s: float = 0.0
    """Median time for an answer."""
    latency_spread: float = 0.0
    """Sigma of the log-normal around the median; 0 answers in exactly ``latency_s``."""
    error_rate: float = 0.0
    """Share of requests whose first tries end with a 500."""
    errors_in_a_row: int = 1
    """How often such a request fails before it is answered."""
    empty_rate: float = 0.0
    """Share of answers that are empty."""
    rpm: float | None = None
    """Requests per minute above which it answers 429 with a Retry-After."""


class SimulatedProvider:
    """Seeded answers, latency, errors and a rate limit, with nothing on the network."""

    default_max_concurrency: ClassVar[int] = 64
    default_model: ClassVar[str | None] = "simulated"
    environment_fallback: ClassVar[str | None] = None
    is_simulation: ClassVar[bool] = True

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._options = options_of(endpoint, SimulatedOptions)
        self._failures_left: dict[str, int] = {}
        self._window_started_s = -math.inf
        self._num_in_window = 0

    def __repr__(self) -> str:
        return f"<SimulatedProvider {self._options}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    async def complete(self, request: Request) -> Response:
        rng = Random(request.request_id)  # noqa: S311 - seeds a simulation
        self._count_against_limit()
        latency_s = self._latency_s(rng)
        if latency_s > 0:
            await asyncio.sleep(min(latency_s, self._endpoint.deadline_s))
        if latency_s > self._endpoint.deadline_s:
            raise DeadlineError(f"simulated: no answer within {self._endpoint.deadline_s:g} s")
        self._fail_first(request, rng)
        text, finish_reason = self._answer(request, rng)
        return Response(
            text=text,
            finish_reason=finish_reason,
            raw_finish_reason=finish_reason,
            usage=Usage(_num_tokens(request.prompt_text), _num_tokens(text)),
            model=request.model,
            e2e_s=latency_s,
        )

    async def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        response = await self.complete(request)
        words = response.text.split(" ")
        for index, word in enumerate(words):
            yield Chunk(text=word if index == 0 else f" {word}")
        yield Chunk(
            finish_reason=response.finish_reason,
            raw_finish_reason=response.raw_finish_reason,
            usage=response.usage,
            model=response.model,
        )

    async def models(self) -> Sequence[str]:
        return [self._endpoint.model]

    def _count_against_limit(self) -> None:
        """A fixed window of one second, as strict servers have it."""
        if self._options.rpm is None:
            return
        now_s = asyncio.get_running_loop().time()
        if now_s - self._window_started_s >= 1.0:
            self._window_started_s, self._num_in_window = now_s, 0
        if self._num_in_window >= max(1.0, self._options.rpm / 60):
            retry_after_s = self._window_started_s + 1.0 - now_s
            raise RateLimitError("simulated: 429", status_code=429, retry_after_s=retry_after_s)
        self._num_in_window += 1

    def _latency_s(self, rng: Random) -> float:
        spread = self._options.latency_spread
        factor = rng.lognormvariate(0, spread) if spread else 1.0
        return self._options.latency_s * factor

    def _fail_first(self, request: Request, rng: Random) -> None:
        if rng.random() >= self._options.error_rate:
            return
        left = self._failures_left.get(request.request_id, self._options.errors_in_a_row)
        if left:
            self._failures_left[request.request_id] = left - 1
            raise ServerError("simulated: 500", status_code=500)
        self._failures_left.pop(request.request_id, None)

    def _answer(self, request: Request, rng: Random) -> tuple[str, FinishReason]:
        if rng.random() < self._options.empty_rate:
            return "", "stop"
        topic_words = [word.strip(".,?!\"'") for word in request.prompt_text.split()[-40:]]
        topics = [word for word in topic_words if len(word) >= _MIN_WORD_LENGTH] or ["this"]
        if request.schema is not None:
            return orjson.dumps(ValueMaker(request.schema, rng, topics).value()).decode(), "stop"
        fillers = rng.sample(_FILLERS, rng.randint(1, 4))
        sentences = [
            rng.choice(_OPENERS),
            *(f"About {rng.choice(topics)} and {rng.choice(topics)}: {said}." for said in fillers),
        ]
        words = " ".join(sentences).split(" ")
        max_tokens = request.params.max_tokens
        max_words = len(words) if max_tokens is None else int(max_tokens / _TOKENS_PER_WORD)
        if max_words < len(words):
            return " ".join(words[:max_words]), "length"
        return " ".join(words), "stop"


def _num_tokens(text: str) -> int:
    return round(len(text.split()) * _TOKENS_PER_WORD)
