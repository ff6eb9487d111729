"""The seam between HTTP and the engine: what to generate, and a handle on it being generated.

Nothing here knows torch, transformers or HTTP. An engine is anything that satisfies `Engine`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from .errors import ApiError, GenerationFailed, InvalidRequest

FinishReason = Literal["stop", "length"]
Outcome = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one sequence picks its tokens. `temperature=0` is greedy; `top_k=0` keeps all.

    `num_logprobs`: how many of the likeliest tokens to report at each position, next to the picked
    one; None reports nothing. `seeded`: the client chose the seed and expects its text again.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    num_logprobs: int | None = None
    seed: int = 0
    seeded: bool = False
    choice: int = 0  # tells apart the sequences of one HTTP request, which share its seed


class Matcher(Protocol):
    """Where one sequence stands in its grammar. Belongs to the thread that generates."""

    @property
    def failure(self) -> str | None:
        """Why nothing may come any more although the text is not whole; None while all is well."""
        ...

    def allowed(self) -> bytes:
        """What may come next: a bit for each token of the vocabulary, the lowest one first. None
        is set when the grammar has run into a limit: the sequence cannot go on."""
        ...

    def accept(self, token: int) -> None:
        """Move on past a token that was allowed."""
        ...


class Grammar(Protocol):
    """What a sequence may say, compiled; many sequences may share one."""

    def matcher(self) -> Matcher: ...


def nothing_to_say(matcher: Matcher | None) -> ApiError:
    """Why a sequence has no next token. A schema that ran into a limit would do so again: that is
    the client's to change, and no reason to try once more."""
    if matcher is not None and matcher.failure is not None:
        return InvalidRequest(
            f"this schema cannot be kept to up to the end of a text: {matcher.failure}; "
            "make it simpler",
            param="response_format",
            code="invalid_schema",
        )
    return GenerationFailed(
        "the model produced logits that are not numbers (NaN or infinite); its weights "
        "are damaged or its dtype overflows: try another --dtype"
    )


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """How likely one picked token was, and the likeliest at its place (best first), before any
    temperature, penalty or cut: natural logarithms of the model's own probabilities."""

    token: int
    logprob: float
    top: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One sequence to generate. `end_ids` are the tokens that end it (empty: never ends early).

    `incremental`: its reader wants every token as it comes (to stream it, to look for a stop
    string); if not, it is woken once, at the end.
    """

    prompt_ids: Sequence[int]
    max_tokens: int
    sampling: Sampling
    end_ids: frozenset[int]
    grammar: Grammar | None = None
    incremental: bool = True

    @property
    def num_tokens(self) -> int:
        """The most tokens that this sequence can come to, prompt included."""
        return len(self.prompt_ids) + self.max_tokens


@dataclass(slots=True, eq=False)
class Generation:
    """One sequence being generated: written by the engine, read through its group.

    Its moments are read off the monotonic clock of this process, where the engine knows of them,
    else where the event loop hears; None: it has not come to that.
    """

    id: str
    request: GenerationRequest
    changed: asyncio.Event  # shared by the group: any member's news wakes its one reader
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)  # one a token, where asked for
    finish_reason: FinishReason | None = None
    error: ApiError | None = None
    submitted_s: float = field(default_factory=time.monotonic)
    admitted_s: float | None = None
    first_token_s: float | None = None
    ended_s: float | None = None

    @property
    def done(self) -> bool:
        return self.finish_reason is not None or self.error is not None

    def admit(self) -> None:
        """The engine takes it up: its wait is over."""
        self.admitted_s = time.monotonic()

    def extend(
        self,
        tokens: Sequence[int],
        finish_reason: FinishReason | None,
        logprobs: Sequence[TokenLogprobs] = (),
    ) -> None:
        if self.first_token_s is None:
            self.first_token_s = time.monotonic()
        self.tokens.extend(tokens)
        self.logprobs.extend(logprobs)
        self.finish_reason = finish_reason
        if finish_reason is not None:
            self.ended_s = time.monotonic()
        if self.request.incremental or finish_reason is not None:
            self.changed.set()

    def fail(self, error: ApiError) -> None:
        self.error = error
        self.ended_s = time.monotonic()
        self.changed.set()


@dataclass(frozen=True, slots=True)
class Progress:
    """News of one member of a group: tokens not seen before, and how it ended, if it did."""

    index: int
    tokens: list[int]
    finish_reason: FinishReason | None
    logprobs: Sequence[TokenLogprobs] = ()


class GenerationGroup:
    """The sequences of one HTTP request, read as one stream in order of arrival.

    A slow reader costs no memory beyond the tokens themselves (at most `max_tokens` each): news
    is kept as state, not queued as messages.
    """

    def __init__(
        self,
        members: Sequence[Generation],
        changed: asyncio.Event,
        cancel: Callable[[Generation], None],
    ) -> None:
        self._members = members
        self._changed = changed
        self._cancel = cancel
        self._left: set[int] = set()

    def __repr__(self) -> str:
        done = sum(member.done for member in self._members)
        return f"<GenerationGroup {done}/{len(self._members)} done>"

    def leave(self, index: int) -> None:
        """Stop reading one member and generating it: its reader found a stop string."""
        self._left.add(index)
        self._members[index].ended_s = time.monotonic()
        self._cancel(self._members[index])

    def outcomes(self) -> Iterator[tuple[Generation, Outcome]]:
        """How each member ended. Ask once nothing reads the group any more."""
        for index, member in enumerate(self._members):
            if index in self._left:
                yield member, "stop"
            elif member.error is not None:
                yield member, "error"
            else:
                yield member, member.finish_reason or "cancelled"

    async def __aiter__(self) -> AsyncIterator[Progress]:
        """Yield until every member ended or was left. Raises the first member's error met."""
        seen = [0] * len(self._members)
        reading = dict(enumerate(self._members))
        while reading:
            await self._changed.wait()
            self._changed.clear()
            for index, member in list(reading.items()):
                if member.error is not None:
                    raise member.error
                new = member.tokens[seen[index] :]
                logprobs = member.logprobs[seen[index] :]
                finish_reason = member.finish_reason
                seen[index] += len(new)
                if new or finish_reason is not None:
                    yield Progress(index, new, finish_reason, logprobs)
                if finish_reason is not None or index in self._left:
                    del reading[index]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine may hold at once. Sequences, except `kv_tokens`: room of the KV cache."""

    max_concurrency: int
    max_queue: int
    kv_tokens: int


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the engine holds now and has done since its start. Kept as counts: asking is cheap."""

    num_running: int
    num_waiting: int
    generated_tokens: int
    failure: str | None  # why nothing can be generated any more; None while all is well
    kv_tokens_used: int = 0
    kv_tokens_total: int = 0
    prompt_tokens: int = 0  # of the prompts admitted, those found in the prefix cache included
    prefix_tokens_reused: int = 0  # of `prompt_tokens`, those that were not computed again
    num_steps: int = 0


class Engine(Protocol):
    """What the HTTP side needs. Called from one event loop; no call blocks it."""

    def submit(
        self, requests: Sequence[GenerationRequest]
    ) -> AbstractContextManager[GenerationGroup]:
        """Queue all the sequences or none; raises what `require_room` raises.

        Leaving the context cancels what is still unfinished, however it is left.
        """
        ...

    def require_room(self, num_requests: int) -> None:
        """Raise `QueueFull` or `EngineStopped` if `submit` would now, before work is put in."""
        ...

    def state(self) -> EngineState: ...


class RunningEngine(Engine, Protocol):
    """What the process needs besides."""

    name: str  # as `--engine` calls it

    def start(self) -> None:
        """Begin to generate, with news to the running event loop. Returns at once."""
        ...

    def abort(self, failure: str) -> None:
        """Fail everything unfinished and accept nothing more; the first reason given stays."""
        ...

    async def stop(self) -> None:
        """Abort, and wait until no step runs any more."""
        ...
