"""Room for keys and values: one tensor for all layers, divided into cells of equal size.

A sequence lies in one piece, in as many adjacent cells as its longest possible end needs, so
attention reads it where it is. On CPU the tensor is not touched before it is used: it costs the
memory of the tokens that were ever in it, not of all that it has room for.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True, eq=False)
class Span:
    """Adjacent cells, lent to one sequence. `first` and `capacity` count tokens.

    `num_computed` of its tokens have their keys and values there. `lent` until its sequence ends,
    `alive` until the cells are lent to another: what was left there can still be copied from.
    """

    first: int
    capacity: int
    num_computed: int = 0
    lent: bool = True
    alive: bool = True

    def holds(self, num_tokens: int) -> bool:
        return self.alive and self.num_computed >= num_tokens

    def will_hold(self, num_tokens: int) -> bool:
        """Or does already. What a sequence planned to compute, and did not, never comes."""
        return self.alive and (self.lent or self.num_computed >= num_tokens)


class Cells:
    """Which cells are lent. Lends the lowest that fit, so that those in use lie close together."""

    def __init__(self, num_cells: int, cell_tokens: int) -> None:
        self.cell_tokens = cell_tokens
        self._free = [True] * num_cells
        self._spans: list[Span | None] = [None] * num_cells  # the last one that had each cell

    def __repr__(self) -> str:
        return f"<Cells {self.num_free}/{len(self._free)} free, {self.cell_tokens} tokens each>"

    @property
    def num_tokens(self) -> int:
        return len(self._free) * self.cell_tokens

    @property
    def num_free(self) -> int:
        return sum(self._free)

    @property
    def num_tokens_lent(self) -> int:
        return self.num_tokens - self.num_free * self.cell_tokens

    def lend(self, num_tokens: int, *, below: int | None = None) -> Span | None:
        """Room for `num_tokens`, or None while there is none (that begins below token `below`)."""
        num_cells = math.ceil(num_tokens / self.cell_tokens)
        first = self._first_run(num_cells)
        if first is None or (below is not None and first * self.cell_tokens >= below):
            return None
        span = Span(first * self.cell_tokens, num_cells * self.cell_tokens)
        for cell in self._cells_of(span):
            self._free[cell] = False
            if (before := self._spans[cell]) is not None:
                before.alive = False
            self._spans[cell] = span
        return span

    def give_back(self, span: Span) -> None:
        """What is in it stays readable until it is lent again."""
        span.lent = False
        for cell in self._cells_of(span):
            self._free[cell] = True

    def _first_run(self, num_cells: int) -> int | None:
        run = 0
        for cell, free in enumerate(self._free):
            run = run + 1 if free else 0
            if run == num_cells:
                return cell + 1 - num_cells
        return None

    def _cells_of(self, span: Span) -> range:
        first = span.first // self.cell_tokens
        return range(first, first + span.capacity // self.cell_tokens)


class KVCache:
    """Keys and values of every layer. `tokens` further on is one row that nothing reads: there go
    the rows that only fill up a batch."""

    def __init__(
        self,
        *,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        num_tokens: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.num_tokens = num_tokens
        self.num_kv_heads = num_kv_heads
        # A token's keys, then its values. Those of a sequence lie together, so it fills its pages.
        shape = (num_layers, num_tokens + 1, 2 * num_kv_heads, head_dim)
        self._room = _zeros(shape, dtype, device)
        self.layers = list(self._room.unbind())

    @property
    def unread_row(self) -> int:
        return self.num_tokens

    def copy(self, source: int, target: int, num_tokens: int) -> None:
        """Of every layer, the `num_tokens` from `source` on to `target` on."""
        self._room[:, target : target + num_tokens] = self._room[:, source : source + num_tokens]

    def is_finite(self, first: int, num_tokens: int) -> bool:
        """Asked when memory ran out, so in small pieces."""
        layers = (layer[first : first + num_tokens] for layer in self.layers)
        return all(bool(layer.isfinite().all()) for layer in layers)

    def clear(self, first: int, num_tokens: int) -> None:
        """Zeros, where NaN may have been written: a mask does not keep those out."""
        self._room[:, first : first + num_tokens] = 0


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that take up memory only where they are written to, as far as the device can."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # a huge page would be taken up whole for a few tokens
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(shape)


def token_bytes(num_layers: int, num_kv_heads: int, head_dim: int, dtype: torch.dtype) -> int:
    """What one token takes up in the cache."""
    return 2 * num_layers * num_kv_heads * head_dim * dtype.itemsize
