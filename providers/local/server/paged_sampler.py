"""The sampler inside transformers' continuous batching."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessorList,
)

from .generation import GenerationRequest, Matcher, TokenLogprobs
from .sampling import Sampler

if TYPE_CHECKING:
    from transformers.generation.continuous_batching.requests import FutureRequestState


@dataclass(slots=True, eq=False)
class PagedRow:
    """A running sequence as its sampler sees it; given to the manager along with the request.

    Written by the generation thread, one entry a token, before the manager delivers the token.
    """

    request: GenerationRequest
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    matcher: Matcher | None = None
    poisoned: bool = False  # its logits were not finite: what it says from here on means nothing


class RowSampler(ContinuousBatchingLogitsProcessorList):
    """Stands in for the manager's list of logits processors and leaves it only the argmax to do.

    Kept on the host between `prepare_tensor_args` and `__call__` are the rows of one batch. That
    is sound because the engine runs the manager without its asynchronous double buffering and
    without CUDA graphs, which would replay a captured `__call__`.
    """

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        super().__init__(LogitsProcessorList())
        self.do_processing = True
        self._sampler = Sampler(vocab_size, device)
        self._rows: list[PagedRow] = []

    def check_kwargs(self, kwargs: dict[str, Any]) -> None:
        """The engine is the only caller and passes `row` always; nothing to check."""

    def prepare_tensor_args(
        self, requests_in_batch: list[FutureRequestState], arg_storage: torch.Tensor
    ) -> torch.Tensor:
        self._rows = [
            request.state.logit_processor_kwargs["row"]
            for request in requests_in_batch
            if request.has_new_token
        ]
        return arg_storage

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor, logits_processor_args: torch.Tensor
    ) -> torch.Tensor:
        """Raise the picked token of each sampled row to +inf; `scores` is (B, vocab).

        B may exceed the rows known: each request whose prompt is not wholly read yet adds one row
        of padding at the end, and nothing is made of its scores.
        """
        if not self._rows:
            return scores
        sampled = self._sampler.sample(scores[: len(self._rows)], self._rows)
        for row, token, finite, logprobs in zip(
            self._rows, sampled.tokens, sampled.finite, sampled.logprobs, strict=True
        ):
            row.poisoned |= not finite
            row.tokens.append(token)
            if logprobs is not None:
                row.logprobs.append(logprobs)
            if row.matcher is not None:
                row.matcher.accept(token)
        places = torch.arange(len(self._rows), device=scores.device)
        picks = torch.tensor(sampled.tokens, device=scores.device)
        # Argmax is to find this and nothing else: not a NaN, not an infinity of the model's own.
        scores[: len(self._rows)] = 0.0
        scores[places, picks] = 1.0
        return scores
