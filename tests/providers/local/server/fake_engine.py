"""An engine that says what a test tells it to, and writes down what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from providers.local.server.errors import QueueFull
from providers.local.server.generation import (
    EngineState,
    Generation,
    GenerationGroup,
    GenerationRequest,
    TokenLogprobs,
)


class FakeEngine:
    """Says nothing by itself: a test calls `say` on what `generations` holds.

    With `answer`, each sequence is whole before its reader asks: those tokens, up to its limit.
    """

    def __init__(self, answer: Sequence[int] | None = None, max_sequences: int = 1000) -> None:
        self.generations: list[Generation] = []
        self.cancelled: list[Generation] = []
        self.num_open = 0
        self.failure: str | None = None
        self.submitted = asyncio.Event()
        self._answer = answer
        self._max_sequences = max_sequences

    @contextmanager
    def submit(self, requests: Sequence[GenerationRequest]) -> Iterator[GenerationGroup]:
        self.require_room(len(requests))
        changed = asyncio.Event()
        members = [Generation(str(index), r, changed) for index, r in enumerate(requests)]
        self.generations += members
        self.num_open += len(members)
        if self._answer is not None:
            for member in members:
                say(member, self._answer[: member.request.max_tokens], ended=True)
        self.submitted.set()
        try:
            yield GenerationGroup(members, changed, self._cancel)
        finally:
            self.num_open -= len(members)
            for member in members:
                self._cancel(member)

    def _cancel(self, generation: Generation) -> None:
        if not generation.done and generation not in self.cancelled:
            self.cancelled.append(generation)

    def require_room(self, num_requests: int) -> None:
        if self.num_open + num_requests > self._max_sequences:
            raise QueueFull("full")

    def state(self) -> EngineState:
        num_running = sum(g.admitted_s is not None and not g.done for g in self.generations)
        num_waiting = sum(g.admitted_s is None for g in self.generations)
        generated_tokens = sum(len(generation.tokens) for generation in self.generations)
        return EngineState(num_running, num_waiting, generated_tokens, self.failure)


def say(generation: Generation, tokens: Sequence[int], *, ended: bool = False) -> None:
    """One step's news: each token half as likely as not, beside the first tokens there are."""
    request = generation.request
    if generation.admitted_s is None:
        generation.admit()
    num_logprobs = request.sampling.num_logprobs
    logprobs = [
        TokenLogprobs(token, -0.5, [(other, -1.0 - other) for other in range(num_logprobs)])
        for token in tokens
        if num_logprobs is not None
    ]
    is_end = bool(tokens) and tokens[-1] in request.end_ids
    generation.extend(tokens, ("stop" if is_end else "length") if ended else None, logprobs)
