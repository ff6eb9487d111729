"""What one request needs of the server: its model, its limits, its engine. No HTTP here."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from .errors import InvalidRequest, ModelNotFound
from .generation import Engine, GenerationRequest, Sampling
from .protocol import GenerationParams

DEFAULT_MAX_TOKENS = 512

T = TypeVar("T")


class Codec(Protocol):
    """Text ↔ token ids. `encode*` may take long and run in a thread; `decode` is quick."""

    def encode(self, text: str) -> list[int]: ...
    def encode_chat(self, messages: Sequence[dict[str, str]]) -> list[int]: ...
    def decode(self, ids: Sequence[int]) -> str: ...


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
                f"model {name!r} is not served here; served: {self.model.name!r}", param="model"
            )

    def plan(
        self, prompts: Sequence[Sequence[int]], params: GenerationParams
    ) -> list[GenerationRequest]:
        """Every sequence to generate, `n` for each prompt, in the order of their indices."""
        seed = secrets.randbits(63) if params.seed is None else params.seed
        return [
            GenerationRequest(
                prompt_ids=prompt_ids,
                max_tokens=self._max_tokens(prompt_ids, params.max_tokens),
                sampling=Sampling(
                    temperature=params.temperature,
                    top_p=params.top_p,
                    top_k=params.top_k,
                    seed=seed,
                    choice=index * params.n + copy,
                ),
                end_ids=frozenset() if params.ignore_eos else self.model.end_ids,
            )
            for index, prompt_ids in enumerate(prompts)
            for copy in range(params.n)
        ]

    def _max_tokens(self, prompt_ids: Sequence[int], asked: int | None) -> int:
        if not prompt_ids:
            raise InvalidRequest("the prompt is empty: it has no tokens", param="prompt")
        if max(prompt_ids) >= self.model.vocab_size:
            raise InvalidRequest(
                f"token id {max(prompt_ids)} is not in the vocabulary; "
                f"the highest id is {self.model.vocab_size - 1}",
                param="prompt",
            )
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
