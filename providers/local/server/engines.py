"""Which engine runs a model. The only place that knows of more than one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from .decoder import Unsupported, make_decoder
from .engine import BatchingEngine
from .generation import Capacity, RunningEngine
from .paged import PagedEngine
from .source import WeightsError
from .weights import LoadedModel

OWN, TRANSFORMERS = BatchingEngine.name, PagedEngine.name
ENGINES = ("auto", OWN, TRANSFORMERS)


def make_engine(
    kind: str,
    loaded: LoadedModel,
    capacity: Capacity,
    num_threads: int,
    warn: Callable[[str], None],
) -> RunningEngine:
    """To generate with `num_threads`. `auto` falls back on transformers' own continuous batching
    where ours cannot run the model.

    Raises `WeightsError` for what cannot be served so, RuntimeError and ValueError where memory
    runs out.
    """
    if kind == TRANSFORMERS:
        return _transformers_own(loaded, capacity, num_threads)
    make = partial(make_decoder, loaded.model)
    try:
        return BatchingEngine.on_one_thread(make, capacity, num_threads)
    except Unsupported as exc:
        if kind == OWN:
            raise WeightsError(f"engine {OWN!r} does not run this model: {exc}") from exc
        warn(f"served by transformers' own batching, which is slower: {exc}")
        return _transformers_own(loaded, capacity, num_threads)


def _transformers_own(loaded: LoadedModel, capacity: Capacity, num_threads: int) -> PagedEngine:
    torch.set_num_threads(num_threads)
    return PagedEngine(loaded, capacity)
