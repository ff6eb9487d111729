"""Picking the next token of every row of a batch in one go, each row by its own rules.

In order: the client's `logit_bias`, penalties (see penalties.py), the grammar, then greedy or a
draw with its cuts (see draws.py). The numbers that decide a draw are a function of (seed, choice,
position) alone: neither the batch that a sequence shares nor a restart of it half-way changes what
it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Protocol

import torch

from .draws import CHUNK, Chunked, Draws, advance
from .generation import GenerationRequest, Matcher, Sampling, TokenLogprobs
from .penalties import Penalties, is_penalised

GREEDY_BELOW = 1e-5  # temperatures under this are 0, as in vLLM: their inverse overflows


class Row(Protocol):
    """What is read of a running sequence. `tokens` are those generated so far."""

    @property
    def request(self) -> GenerationRequest: ...
    @property
    def tokens(self) -> Sequence[int]: ...
    @property
    def matcher(self) -> Matcher | None: ...


@dataclass(frozen=True, slots=True)
class Sampled:
    """One entry a row. Where `finite` is False the logits had NaN or +inf, or the row's grammar
    and bias left no token: the token means nothing."""

    tokens: list[int]
    finite: list[bool]
    logprobs: list[TokenLogprobs | None]


class Sampler:
    """Made for one model; called by one thread.

    What it knows of rows is kept between calls and rebuilt only when other rows are passed, so a
    row must be the same object at each step.
    """

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self._vocab_size = vocab_size
        self._device = device
        self._scratch = torch.empty(0, device=device)
        self._plan = _Plan((), vocab_size, device, None)

    def __repr__(self) -> str:
        return f"<Sampler {len(self._plan.rows)} rows of {self._vocab_size}>"

    @torch.inference_mode()
    def sample(self, logits: torch.Tensor, rows: Sequence[Row]) -> Sampled:
        """`logits` (B, vocab), in row order; may be overwritten. Matchers are read, not moved on:
        whoever keeps a token lets its matcher `accept` it."""
        if not rows:
            return Sampled([], [], [])
        plan = self._plan_for(rows)
        values = self._in_chunks(logits)  # (B, padded vocab), fp32
        report = plan.report(values) if len(plan.reported) else None
        plan.edit(values[:, : self._vocab_size])
        picks, finite = plan.pick(Chunked.of(values))
        tokens, oks = torch.stack((picks, finite.to(picks.dtype))).tolist()
        logprobs = report(picks) if report else [None] * len(rows)
        return Sampled(tokens, [bool(ok) for ok in oks], logprobs)

    def _plan_for(self, rows: Sequence[Row]) -> _Plan:
        known = self._plan.rows
        if len(known) != len(rows) or not all(map(is_, known, rows)):
            self._plan = _Plan(tuple(rows), self._vocab_size, self._device, self._plan.penalties)
        return self._plan

    def _in_chunks(self, logits: torch.Tensor) -> torch.Tensor:
        """In fp32 and a width that divides into chunks, copied only if they are not yet."""
        num_rows, width = logits.shape
        if logits.dtype == torch.float32 and width % CHUNK == 0 and logits.is_contiguous():
            return logits
        if self._scratch.size(0) < num_rows:  # fresh memory at each step would be slower
            padded = -(-width // CHUNK) * CHUNK
            self._scratch = torch.full((num_rows, padded), -torch.inf, device=self._device)
        values = self._scratch[:num_rows]
        values[:, :width] = logits
        return values


class _Plan:
    """What a batch of rows asks for, as tensors."""

    def __init__(
        self,
        rows: tuple[Row, ...],
        vocab_size: int,
        device: torch.device,
        before: Penalties | None,
    ) -> None:
        self.rows = rows
        self._device = device
        samplings = [row.request.sampling for row in rows]
        self._keys = _keys(samplings, device)
        drawn = [i for i, s in enumerate(samplings) if s.temperature >= GREEDY_BELOW]
        greedy = sorted(set(range(len(rows))) - set(drawn))
        self._greedy = torch.tensor(greedy, dtype=torch.long, device=device)
        self._draws = Draws(drawn, [samplings[i] for i in drawn], device) if drawn else None
        self._bias = _Bias(samplings, device) if any(s.logit_bias for s in samplings) else None
        penalised = [i for i, row in enumerate(rows) if is_penalised(row.request)]
        self.penalties = (
            Penalties(penalised, [rows[i] for i in penalised], vocab_size, device, before)
            if penalised
            else None
        )
        matchers = [(i, row.matcher) for i, row in enumerate(rows) if row.matcher is not None]
        self._masks = _Masks(matchers, device) if matchers else None
        reported = [i for i, s in enumerate(samplings) if s.num_logprobs is not None]
        self.reported = torch.tensor(reported, dtype=torch.long, device=device)

    def edit(self, logits: torch.Tensor) -> None:
        """Bias, penalties and grammars, in place; `logits` is (B, vocab)."""
        if self._bias is not None:
            self._bias.apply(logits)
        if self.penalties is not None:
            self.penalties.update()
            self.penalties.apply(logits)
        if self._masks is not None:
            self._masks.apply(logits)

    def pick(self, logits: Chunked) -> tuple[torch.Tensor, torch.Tensor]:
        """A token a row, and whether it means anything: (B,) each."""
        finite = logits.maxima.amax(dim=-1).isfinite()
        if self._draws is None:
            return logits.best(self._greedy), finite
        positions = torch.tensor([len(row.tokens) for row in self.rows], device=self._device)
        drawn = self._draws.rows
        picks = torch.empty(len(self.rows), dtype=torch.long, device=self._device)
        picks[drawn] = self._draws(logits, advance(self._keys, positions)[drawn])
        if len(self._greedy):
            picks[self._greedy] = logits.best(self._greedy)
        return picks, finite

    def report(self, values: torch.Tensor) -> Callable[[torch.Tensor], list[TokenLogprobs | None]]:
        """Read the model's own logits before they are edited; log probabilities once picked."""
        own = values[self.reported]  # (L, padded vocab), a copy
        total = own.logsumexp(dim=-1, keepdim=True)
        wanted = [self.rows[i].request.sampling.num_logprobs or 0 for i in self.reported.tolist()]
        top = own.topk(min(max(wanted), own.size(-1)), dim=-1)

        def picked(picks: torch.Tensor) -> list[TokenLogprobs | None]:
            tokens = picks[self.reported]
            logprobs = (own.gather(-1, tokens.unsqueeze(-1)) - total).squeeze(-1).tolist()
            ids, values = top.indices.tolist(), (top.values - total).tolist()
            found: list[TokenLogprobs | None] = [None] * len(self.rows)
            for n, (place, token) in enumerate(
                zip(self.reported.tolist(), tokens.tolist(), strict=True)
            ):
                best = tuple(zip(ids[n], values[n], strict=True))[: wanted[n]]
                found[place] = TokenLogprobs(token, logprobs[n], best)
            return found

        return picked


def _keys(samplings: Sequence[Sampling], device: torch.device) -> torch.Tensor:
    """What tells the draws of one sequence from those of every other: (B,) int64."""
    seeds = torch.tensor([s.seed for s in samplings], dtype=torch.long, device=device)
    choices = torch.tensor([s.choice for s in samplings], dtype=torch.long, device=device)
    return advance(advance(seeds, 0), choices)


class _Bias:
    """`logit_bias`: added to the logits of single tokens."""

    def __init__(self, samplings: Sequence[Sampling], device: torch.device) -> None:
        entries = [
            (row, token, bias)
            for row, sampling in enumerate(samplings)
            for token, bias in sampling.logit_bias.items()
        ]
        rows, tokens, biases = zip(*entries, strict=True)
        self._at = (torch.tensor(rows, device=device), torch.tensor(tokens, device=device))
        self._biases = torch.tensor(biases, dtype=torch.float32, device=device)

    def apply(self, logits: torch.Tensor) -> None:
        logits.index_put_(self._at, self._biases, accumulate=True)


class _Masks:
    """Grammars: everything that a row must not say next becomes -inf."""

    def __init__(self, matchers: Sequence[tuple[int, Matcher]], device: torch.device) -> None:
        self._matchers = [matcher for _, matcher in matchers]
        self._rows = torch.tensor([row for row, _ in matchers], device=device)
        self._bits = 2 ** torch.arange(8, dtype=torch.uint8, device=device)

    def apply(self, logits: torch.Tensor) -> None:
        allowed = bytearray().join(matcher.allowed() for matcher in self._matchers)
        packed = torch.frombuffer(allowed, dtype=torch.uint8).to(logits.device)
        packed = packed.view(len(self._matchers), -1, 1)  # (G, vocab / 8 and some, 1)
        banned = ((packed & self._bits) == 0).flatten(1)[:, : logits.size(-1)]  # (G, vocab)
        logits[self._rows] = logits[self._rows].masked_fill_(banned, -torch.inf)
