"""One token from each row of logits, by one uniform number a row: inverse CDF, never a sort.

A cut keeps the tokens at or above some logit, so tokens that tie with the last one kept are kept,
too: which of them a sort would have put first is an accident. Cuts apply in vLLM's order [1]:
temperature, min_p (a share of the likeliest token's probability), top_k, then top_p (a share of
what the other two left, and at least one token).

Rows are nearly always settled by their few likeliest tokens: the `NARROW` largest logits lie in the
`NARROW` chunks with the largest maxima, which makes them cheap to find. A row whose cut reaches
further is drawn from its whole vocabulary. Which of the two it is depends on that row alone.

[1] https://docs.vllm.ai/en/latest/api/vllm/v1/sample/sampler
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from .generation import Sampling

CHUNK = 64  # logits a chunk; measured on CPU, 64 rows of 49152: 32 and 128 are slower
PIECE = 8  # logits a piece of a chunk
NARROW = 64  # likeliest tokens looked at first
ROWS_PER_THREAD = 4  # rows of a whole vocabulary worked on at once: they stay in the L2 cache

_GAMMA = 0x9E3779B97F4A7C15 - 2**64  # splitmix64's constants, as signed integers
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def mix(keys: torch.Tensor) -> torch.Tensor:
    """splitmix64's finaliser on int64 tensors, whose products wrap and whose shifts keep signs."""
    keys = (keys ^ ((keys >> 30) & (2**34 - 1))) * _MIX_1
    keys = (keys ^ ((keys >> 27) & (2**37 - 1))) * _MIX_2
    return keys ^ ((keys >> 31) & (2**33 - 1))


def advance(keys: torch.Tensor, steps: torch.Tensor | int) -> torch.Tensor:
    """The key that lies `steps` after each key."""
    return mix(keys + (torch.as_tensor(steps, device=keys.device) + 1) * _GAMMA)


def uniform(keys: torch.Tensor, attempt: int = 0) -> torch.Tensor:
    """A number in [0, 1) for each key and attempt, float64."""
    return ((advance(keys, attempt) >> 11) & (2**53 - 1)).double() * 2.0**-53


@dataclass(frozen=True, slots=True)
class Chunked:
    """The logits of a step, fp32, padded with -inf to whole chunks, and each chunk's largest."""

    values: torch.Tensor  # (B, C * CHUNK)
    maxima: torch.Tensor  # (B, C)

    @classmethod
    def of(cls, values: torch.Tensor) -> Chunked:
        return cls(values, values.view(values.size(0), -1, CHUNK).amax(dim=-1))

    def best(self, rows: torch.Tensor) -> torch.Tensor:
        """The first of the likeliest tokens of each row: an argmax, at a tenth of its price."""
        chunk = self.maxima.index_select(0, rows).argmax(dim=-1, keepdim=True)  # (R, 1)
        return chunk.squeeze(-1) * CHUNK + self._gather(rows, chunk).argmax(dim=-1)

    def likeliest(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The `NARROW` largest logits of each row, largest first, and their token ids: (R, W)."""
        chunks = _largest(self.maxima.index_select(0, rows))  # (R, W)
        values = self._gather(rows, chunks)
        pieces = values.view(rows.size(0), -1, PIECE)  # the same trick again, in what is left
        few = _largest(pieces.amax(dim=-1))
        places = (few.unsqueeze(-1) * PIECE + torch.arange(PIECE, device=few.device)).flatten(1)
        values, found = values.gather(-1, places).topk(min(NARROW, places.size(-1)), dim=-1)
        places = places.gather(-1, found)
        return values, chunks.gather(-1, places // CHUNK) * CHUNK + places % CHUNK

    def _gather(self, rows: torch.Tensor, chunks: torch.Tensor) -> torch.Tensor:
        """The logits of some chunks of each row: (R, N) → (R, N * CHUNK)."""
        flat = (rows.unsqueeze(-1) * self.maxima.size(-1) + chunks).flatten()
        return self.values.view(-1, CHUNK).index_select(0, flat).view(rows.size(0), -1)


def _largest(maxima: torch.Tensor) -> torch.Tensor:
    """Where the `NARROW` largest of each row are, in no order."""
    return maxima.topk(min(NARROW, maxima.size(-1)), dim=-1, sorted=False).indices


class Draws:
    """The rows of a batch that draw: which ones, and by which rules. Each tensor is (R,)."""

    def __init__(self, rows: Sequence[int], samplings: Sequence[Sampling], device: torch.device):
        def column(values: Sequence[float], dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self.rows = column(rows, torch.long)
        self._inverse_temperature = column([1 / s.temperature for s in samplings])
        self._min_p = column([s.min_p for s in samplings])
        self._top_k = column([s.top_k for s in samplings], torch.long)
        self._top_p = column(
            [s.top_p if s.top_p < 1 else torch.inf for s in samplings], torch.float64
        )
        cut = [i for i, s in enumerate(samplings) if s.top_k or s.top_p < 1 or s.min_p]
        self._cut = column(cut, torch.long)
        self._uncut = column(sorted(set(range(len(samplings))) - set(cut)), torch.long)
        self._buffer = torch.empty(0, device=device)  # (rows of a block, V)
        # A nucleus is a share of the whole row, unless another cut already limits the row.
        self._nucleus = column(
            [
                place
                for place, s in enumerate(samplings[i] for i in cut)
                if s.top_p < 1 and not s.top_k and not s.min_p
            ],
            torch.long,
        )

    def __call__(self, logits: Chunked, keys: torch.Tensor) -> torch.Tensor:
        """A token a row, (R,), drawn by the row's key; meaningless where logits are not finite."""
        picks = torch.zeros_like(self.rows)
        if len(self._cut):
            picks[self._cut], settled = self._draw_narrow(logits, keys[self._cut])
            for block in _blocks(self._cut[~settled]):
                picks[block] = self._draw_wide(self._weigh(logits, block), block, keys[block])
        for block in _blocks(self._uncut):
            weights = self._weigh(logits, block)
            picks[block] = _invert_whole(weights, _chunk_sums(weights), uniform(keys[block]))
        return picks

    def _draw_narrow(
        self, logits: Chunked, keys: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the cut rows, by their likeliest tokens alone; and which rows that is right for."""
        cut = self._cut
        values, ids = logits.likeliest(self.rows[cut])  # (R, W)
        best = values[:, :1]
        weights = (values - best).mul_(self._inverse_temperature[cut].unsqueeze(-1)).exp_().double()
        last = weights[:, -1]
        if values.size(-1) == logits.values.size(-1):
            last = torch.full_like(last, -1.0)  # nothing lies beyond

        floor = torch.maximum(_kth(weights, self._top_k[cut]), self._min_p[cut])
        limited = last < floor
        weights = weights.masked_fill(weights < floor.unsqueeze(-1), 0.0)
        mass = weights.sum(dim=-1)
        for block in _blocks(self._nucleus):
            sums = _chunk_sums(self._weigh(logits, cut[block]))
            mass[block] = sums.sum(dim=-1, dtype=torch.float64)
        known = limited.index_fill(0, self._nucleus, True)

        target = (mass * self._top_p[cut]).unsqueeze(-1)
        before = weights.cumsum(dim=-1) - weights
        reach = ((before < target).sum(dim=-1, keepdim=True) - 1).clamp(min=0)
        floor = torch.maximum(floor, weights.gather(-1, reach).squeeze(-1))
        weights = weights.masked_fill(weights < floor.unsqueeze(-1), 0.0)
        picks = ids.gather(-1, _invert(weights, uniform(keys)).unsqueeze(-1)).squeeze(-1)
        # Where there is no number there is nothing to settle.
        return picks, (known & (last < floor)) | ~best.squeeze(-1).isfinite()

    def _draw_wide(
        self, weights: torch.Tensor, block: torch.Tensor, keys: torch.Tensor
    ) -> torch.Tensor:
        """From all the tokens of rows whose cuts reach far; uses up `weights` (R, V).

        top_p by refusal: a token is of the nucleus if the likelier ones weigh less than top_p. If
        it is not, neither is any that is less likely: draw again among the others. That is as
        exact as sorting, and a wide nucleus mostly accepts the first.
        """
        floor, top_k = self._min_p[block], self._top_k[block]
        if bool((top_k > 0).any()):
            widest = int(top_k.max().clamp(max=weights.size(-1)))
            floor = torch.maximum(floor, _kth(weights.topk(widest, dim=-1).values, top_k))
        if bool((floor > 0).any()):
            weights.masked_fill_(weights < floor.unsqueeze(-1), 0.0)
        sums = _chunk_sums(weights)
        picks = _invert_whole(weights, sums, uniform(keys))
        target = self._top_p[block] * sums.sum(dim=-1, dtype=torch.float64)
        asked = torch.arange(len(block), device=block.device)
        for attempt in itertools.count(1):
            picked = weights.gather(-1, picks[asked].unsqueeze(-1))
            sums = _chunk_sums(weights.masked_fill_(weights <= picked, 0.0))
            refused = sums.sum(dim=-1, dtype=torch.float64) >= target[asked]
            asked, weights, sums = asked[refused], weights[refused], sums[refused]
            if not len(asked):
                break
            picks[asked] = _invert_whole(weights, sums, uniform(keys[asked], attempt))
        return picks

    def _weigh(self, logits: Chunked, block: torch.Tensor) -> torch.Tensor:
        """Unnormalised probabilities, (R, V): the likeliest token weighs 1. Good until the next."""
        rows, shape = self.rows[block], (len(block), logits.values.size(-1))
        if self._buffer.size(0) < shape[0]:  # kept: fresh memory costs as much as the arithmetic
            self._buffer = logits.values.new_empty(shape)
        best = logits.maxima.index_select(0, rows).amax(dim=-1, keepdim=True)
        # In this order the digits are kept: the difference is exact where it matters.
        scaled = self._buffer[: len(block)]
        torch.index_select(logits.values, 0, rows, out=scaled).sub_(best)
        return scaled.mul_(self._inverse_temperature[block].unsqueeze(-1)).exp_()


def _blocks(wanted: torch.Tensor) -> Iterator[torch.Tensor]:
    if not len(wanted):
        return iter(())
    if wanted.device.type != "cpu":
        return iter((wanted,))
    return iter(wanted.split(ROWS_PER_THREAD * torch.get_num_threads()))


def _kth(largest: torch.Tensor, top_k: torch.Tensor) -> torch.Tensor:
    """The `top_k`-th (R,) of each row of weights (R, N), largest first; 0 where that cuts none."""
    place = (top_k - 1).clamp(0, largest.size(-1) - 1).unsqueeze(-1)
    none = (top_k == 0) | (top_k > largest.size(-1))
    return largest.gather(-1, place).squeeze(-1).masked_fill(none, 0.0)


def _chunk_sums(weights: torch.Tensor) -> torch.Tensor:
    """(R, C). In chunks also because a plain sum of one row is split among threads, and would
    then differ in the last bit from the same row's sum in a batch."""
    return weights.view(weights.size(0), -1, CHUNK).sum(dim=-1)


def _invert(weights: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """The index where the cumulated weights (R, N) pass the uniform share (R,) of their sum."""
    cumulated = weights.cumsum(dim=-1, dtype=torch.float64)
    return _passing(cumulated, uniforms.unsqueeze(-1) * cumulated[:, -1:])


def _invert_whole(
    weights: torch.Tensor, sums: torch.Tensor, uniforms: torch.Tensor
) -> torch.Tensor:
    """As `_invert` for (R, C * CHUNK) with its sums (R, C): first which chunk, then where in it."""
    cumulated = sums.cumsum(dim=-1, dtype=torch.float64)
    target = uniforms.unsqueeze(-1) * cumulated[:, -1:]
    chunk = _passing(cumulated, target).unsqueeze(-1)  # (R, 1)
    end = cumulated.gather(-1, chunk)
    begin = torch.where(chunk > 0, cumulated.gather(-1, (chunk - 1).clamp(min=0)), 0.0)
    share = ((target - begin) / (end - begin)).squeeze(-1)
    places = torch.arange(CHUNK, device=weights.device) + chunk * CHUNK
    return chunk.squeeze(-1) * CHUNK + _invert(weights.gather(-1, places), share)


def _passing(cumulated: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The first place of each row (R, N) that is beyond its target (R, 1)."""
    total = cumulated[:, -1:]
    # u * total may round up to total, and what passes total is a token that was cut.
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    passed = torch.searchsorted(cumulated, target, right=True).squeeze(-1)
    return passed.clamp_(max=cumulated.size(-1) - 1)
