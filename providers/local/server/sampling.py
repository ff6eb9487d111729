"""Picking the next token of each row of a batch, each row by its own rules.

One seeded uniform number decides a row (inverse CDF), so a seed costs nothing per vocabulary entry
and rows cannot influence each other. A row that asks for no truncation is never sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessorList,
)

from .generation import Sampling

if TYPE_CHECKING:
    from transformers.generation.continuous_batching.requests import FutureRequestState

# A nucleus rarely needs more candidates than this; when it does, the whole row is sorted.
# Measured on 2 CPU cores, 32 rows of 49152: topk(1024) is several times cheaper than a full sort.
NUCLEUS_GUESS = 1024


@dataclass(frozen=True, slots=True)
class _Row:
    request_id: str
    sampling: Sampling
    position: int


class RowSampler(ContinuousBatchingLogitsProcessorList):
    """Stands in for the manager's list of logits processors and leaves it only the argmax to do.

    Kept on the host between `prepare_tensor_args` and `__call__` are the rows of one batch. That
    is sound because the engine runs the manager without its asynchronous double buffering and
    without CUDA graphs, which would replay a captured `__call__`.
    """

    def __init__(self) -> None:
        super().__init__(LogitsProcessorList())
        self.do_processing = True
        # Requests whose logits were not finite: the engine fails them instead of showing tokens
        # drawn from garbage. Written by the generation thread, emptied by the event loop.
        self.poisoned: set[str] = set()
        self._rows: list[_Row] = []

    def check_kwargs(self, kwargs: dict[str, Any]) -> None:
        """The engine is the only caller and passes `sampling` always; nothing to check."""

    def prepare_tensor_args(
        self, requests_in_batch: list[FutureRequestState], arg_storage: torch.Tensor
    ) -> torch.Tensor:
        self._rows = [
            _Row(
                request.state.request_id,
                request.state.logit_processor_kwargs["sampling"],
                request.state.position_offset,
            )
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
        finite = torch.isfinite(scores[: len(self._rows)].amax(dim=-1)).tolist()
        self.poisoned.update(
            row.request_id for row, ok in zip(self._rows, finite, strict=True) if not ok
        )
        drawn = [
            index
            for index, row in enumerate(self._rows)
            if finite[index] and row.sampling.temperature > 0
        ]
        if drawn:
            rows = [self._rows[index] for index in drawn]
            picks = draw(
                scores[drawn],
                [row.sampling for row in rows],
                [row.sampling.uniform(row.position) for row in rows],
            )
            scores[drawn, picks] = torch.inf
        return scores


def draw(
    logits: torch.Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]
) -> torch.Tensor:
    """One token per row of `logits` (B, vocab). Order of cuts: temperature, top_k, then top_p."""
    device = logits.device
    temperature = torch.tensor([s.temperature for s in samplings], device=device)
    logits = logits / temperature.unsqueeze(-1)
    uniform = torch.tensor(uniforms, dtype=torch.float64, device=device).unsqueeze(-1)  # (B, 1)

    cut = [i for i, s in enumerate(samplings) if s.top_p < 1 or 0 < s.top_k < logits.size(-1)]
    if not cut:
        return _invert(logits.softmax(dim=-1), uniform)
    picks = torch.empty(len(samplings), dtype=torch.long, device=device)
    picks[cut] = _draw_cut(logits[cut], [samplings[i] for i in cut], uniform[cut])
    if whole := sorted(set(range(len(samplings))) - set(cut)):
        picks[whole] = _invert(logits[whole].softmax(dim=-1), uniform[whole])
    return picks


def _draw_cut(
    logits: torch.Tensor, samplings: Sequence[Sampling], uniform: torch.Tensor
) -> torch.Tensor:
    """As `draw`, among the candidates that top_k and top_p leave."""
    vocab = logits.size(-1)
    top_k = torch.tensor([s.top_k or vocab for s in samplings], device=logits.device).unsqueeze(-1)
    top_p = torch.tensor([s.top_p for s in samplings], device=logits.device).unsqueeze(-1)
    total = logits.logsumexp(dim=-1, keepdim=True)

    width = min(vocab, max(s.top_k or NUCLEUS_GUESS for s in samplings))
    values, ids = logits.topk(width, dim=-1)  # (B, width), best first
    probs = (values - total).exp()
    if bool(((probs.sum(dim=-1, keepdim=True) < top_p) & (top_k > width)).any()):
        values, ids = logits.sort(dim=-1, descending=True)
        probs = (values - total).exp()

    rank = torch.arange(probs.size(-1), device=logits.device)
    probs = probs.masked_fill(rank >= top_k, 0.0)
    # top_p is a share of what top_k left; where there is no top_k, of everything.
    mass = probs.sum(dim=-1, keepdim=True).where(top_k <= probs.size(-1), 1.0)
    before = probs.cumsum(dim=-1) - probs
    probs = probs.masked_fill((before >= top_p * mass) & (rank > 0), 0.0)
    return ids.gather(-1, _invert(probs, uniform).unsqueeze(-1)).squeeze(-1)


def _invert(probs: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The index where each row's cumulated probability passes `uniform`; rows need not sum to 1."""
    cumulated = probs.cumsum(dim=-1, dtype=torch.float64)
    passed = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)
    return passed.squeeze(-1).clamp_(max=probs.size(-1) - 1)
