"""What one request needs of the server: its model, its limits, its engine. No HTTP here."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol, TypeVar

from .errors import InvalidRequest, ModelNotFound, QueueFull
from .fields import shortened
from .generation import Engine, GenerationGroup, GenerationRequest
from .metrics import Metrics
from .protocol import GenerationParams
from .vocabulary import Vocabulary

DEFAULT_MAX_TOKENS = 512

T = TypeVar("T")


class Codec(Protocol):
    """Text → token ids, which may take long and runs in a thread, and back by `vocabulary`."""

    vocabulary: Vocabulary

    def encode(self, text: str) -> list[int]: ...
    def encode_chat(self, messages: Sequence[dict[str, str]]) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What clients may know of the model, and what their requests are checked against."""

    name: str
    codec: Codec
    end_ids: frozenset[int]
    vocab_size: int
    context_tokens: int
    fingerprint: str
    created: int


@dataclass(frozen=True)
class Service:
    model: ServedModel
    engine: Engine
    metrics: Metrics = field(default_factory=Metrics)
    # One thread: encoding a 4 MB prompt takes long and must not stop the event loop meanwhile.
    encoder: ThreadPoolExecutor = field(
        default_factory=partial(ThreadPoolExecutor, 1, thread_name_prefix="encoder")
    )

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.encoder.shutdown(wait=False, cancel_futures=True)

    async def encode(self, encode: Callable[[], T]) -> T:
        """The one doorway through which tokenizing leaves the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.encoder, encode)

    def require_model(self, name: str) -> None:
        if name != self.model.name:
            raise ModelNotFound(
                f"model {shortened(name)!r} is not served here; served: {self.model.name!r}",
                param="model",
            )

    def require_room(self, num_requests: int) -> None:
        """Refuse before any work is put in what `generate` would refuse."""
        with self._telling_when_to_retry():
            self.engine.require_room(num_requests)

    @contextmanager
    def generate(self, requests: Sequence[GenerationRequest]) -> Iterator[GenerationGroup]:
        """`Engine.submit`, with its sequences in the metrics once they are over."""
        with self._telling_when_to_retry(), self.engine.submit(requests) as group:
            try:
                yield group
            finally:
                for generation, outcome in group.outcomes():
                    self.metrics.observe(generation, outcome)

    @contextmanager
    def _telling_when_to_retry(self) -> Iterator[None]:
        try:
            yield
        except QueueFull as exc:
            exc.retry_after_s = self.metrics.retry_after_s(self.engine.state())
            raise

    def plan(
        self, prompts: Sequence[Sequence[int]], params: GenerationParams, *, incremental: bool
    ) -> list[GenerationRequest]:
        """Every sequence to generate, `n` for each prompt, in the order of their indices."""
        self._require_in_vocabulary(params.sampling.logit_bias, "logit_bias")
        seed = secrets.randbits(63) if params.seed is None else params.seed
        return [
            GenerationRequest(
                prompt_ids=prompt_ids,
                max_tokens=self._max_tokens(prompt_ids, params.max_tokens),
                sampling=replace(params.sampling, seed=seed, choice=index * params.n + copy),
                end_ids=frozenset() if params.ignore_eos else self.model.end_ids,
                incremental=incremental,
            )
            for index, prompt_ids in enumerate(prompts)
            for copy in range(params.n)
        ]

    def _max_tokens(self, prompt_ids: Sequence[int], asked: int | None) -> int:
        if not prompt_ids:
            raise InvalidRequest("the prompt is empty: it has no tokens", param="prompt")
        self._require_in_vocabulary(prompt_ids, "prompt")
        left = self.model.context_tokens - len(prompt_ids)
        if left < (asked or 1):
            raise InvalidRequest(
                f"the prompt has {len(prompt_ids)} tokens and max_tokens is "
                f"{asked or 'at least 1'}, but the context holds {self.model.context_tokens}; "
                f"shorten the prompt or ask for at most {max(left, 0)} tokens",
                param="messages" if left < 1 else "max_tokens",
                code="context_length_exceeded",
            )
        return asked if asked is not None else min(left, DEFAULT_MAX_TOKENS)

    def _require_in_vocabulary(self, ids: Iterable[int], param: str) -> None:
        highest = max(ids, default=0)
        if highest >= self.model.vocab_size:
            raise InvalidRequest(
                f"token id {highest} is not in the vocabulary; "
                f"the highest id is {self.model.vocab_size - 1}",
                param=param,
            )
