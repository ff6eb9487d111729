"""A step as tensors: its tokens in a row, and which of them attend to which part of the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .kv_cache import KVCache
from .scheduler import Chunk

LENGTH_STEP = 64  # lengths are rounded up to this: whole vectors, and one mask for many steps
RUN_COST_TOKENS = 512  # one more call of attention costs about as much as reading this many


def padded(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple


@dataclass(slots=True)
class Attended:
    """Rows of the batch that one call of attention handles.

    `num_spans` sequences with `queries` rows each look at `length` tokens of the cache, the first
    from `first` on, each further one `stride` after it. Masks are made once for all layers.
    """

    rows: slice
    num_spans: int
    queries: int
    first: int
    stride: int
    length: int
    positions: Tensor  # (num_spans, queries)
    masks: dict[tuple[int | None, torch.dtype], Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """What to add to the scores, (num_spans, 1, queries, length): 0 for a token that is seen.

        With a `window`, only the last that many are.
        """
        mask = self.masks.get((window, dtype))
        if mask is None:
            places = torch.arange(self.length, device=self.positions.device)
            own = self.positions.unsqueeze(-1)  # (num_spans, queries, 1)
            hidden = places > own
            if window is not None:
                hidden |= places <= own - window
            mask = torch.zeros(hidden.shape, dtype=dtype, device=places.device)
            mask = self.masks[window, dtype] = mask.masked_fill_(hidden, -torch.inf).unsqueeze(1)
        return mask


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids`, `positions` and `places` (where in the cache a token's keys and values go) are (T,).

    Rows past the last chunk only fill the batch up. `picked` are the rows to compute logits of, of
    which the first `num_picked` are wanted and the others fill up.
    """

    ids: Tensor
    positions: Tensor
    places: Tensor
    attended: list[Attended]
    picked: Tensor
    num_picked: int
    cache: KVCache

    @property
    def num_rows(self) -> int:
        return self.ids.size(0)


def make_batch(
    chunks: Sequence[Chunk], cache: KVCache, device: torch.device, sizes: Sequence[int]
) -> Batch:
    """`chunks` as a `Step` orders them. Filled up to the next of `sizes`, ascending."""
    ids: list[int] = []
    positions: list[int] = []
    places: list[int] = []
    picked: list[int] = []
    for chunk in chunks:
        ids += chunk.sequence.ids(chunk.start, chunk.end)
        positions += range(chunk.start, chunk.end)
        places += range(chunk.span.first + chunk.start, chunk.span.first + chunk.end)
        if chunk.picks:
            picked.append(len(ids) - 1)
    unused = _next(sizes, len(ids)) - len(ids)
    num_picked = len(picked)
    picked += [0] * (_next(sizes, num_picked) - num_picked)
    ids += [0] * unused
    positions += [0] * unused
    places += [cache.unread_row] * unused
    tensor = torch.tensor([ids, positions, places], device=device)  # (3, T)
    attended = [_attended(run, first_row, tensor[1]) for first_row, run in _runs(chunks)]
    return Batch(
        ids=tensor[0],
        positions=tensor[1],
        places=tensor[2],
        attended=attended,
        picked=torch.tensor(picked, dtype=torch.long, device=device),  # none have no dtype
        num_picked=num_picked,
        cache=cache,
    )


def _next(sizes: Sequence[int], number: int) -> int:
    return next((size for size in sizes if size >= number), number)


def _attended(run: Sequence[Chunk], first_row: int, positions: Tensor) -> Attended:
    queries = run[0].end - run[0].start
    rows = slice(first_row, first_row + len(run) * queries)
    return Attended(
        rows=rows,
        num_spans=len(run),
        queries=queries,
        first=run[0].span.first,
        stride=run[0].span.capacity,
        length=padded(max(chunk.end for chunk in run), LENGTH_STEP),
        positions=positions[rows].view(len(run), queries),
    )


def _runs(chunks: Sequence[Chunk]) -> Iterator[tuple[int, list[Chunk]]]:
    """Chunks that one call can handle, with the row of the first: single tokens whose spans lie
    side by side and are so nearly of one length that reading past the shorter ones' ends costs
    less than a call of their own."""
    run: list[Chunk] = []
    row = 0
    length = 0  # of the longest in the run
    for chunk in chunks:
        if run and not (
            _side_by_side(run[-1], chunk) and _waste(len(run), length, chunk.end) < RUN_COST_TOKENS
        ):
            yield row, run
            row += sum(each.end - each.start for each in run)
            run, length = [], 0
        run.append(chunk)
        length = max(length, chunk.end)
    if run:
        yield row, run


def _side_by_side(before: Chunk, chunk: Chunk) -> bool:
    return (
        before.end - before.start == 1 == chunk.end - chunk.start
        and before.span.capacity == chunk.span.capacity
        and before.span.first + before.span.capacity == chunk.span.first
    )


def _waste(num_chunks: int, length: int, new_length: int) -> int:
    """Tokens read for nothing if a chunk of `new_length` joins `num_chunks` of up to `length`."""
    longer = padded(max(length, new_length), LENGTH_STEP)
    return num_chunks * (longer - padded(length, LENGTH_STEP)) + longer - new_length
