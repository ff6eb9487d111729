"""Which engine runs a model. The only place that knows of more than one."""

from __future__ import annotations

from collections.abc import Callable

from .decoder import Unsupported, make_decoder
from .engine import BatchingEngine
from .generation import Capacity, RunningEngine
from .paged import PagedEngine
from .source import WeightsError
from .weights import LoadedModel

OWN, TRANSFORMERS = "slots", "transformers"
ENGINES = ("auto", OWN, TRANSFORMERS)


def make_engine(
    kind: str, loaded: LoadedModel, capacity: Capacity, warn: Callable[[str], None]
) -> RunningEngine:
    """`auto` falls back on transformers' own continuous batching where ours cannot run the model.

    Raises `WeightsError` for what cannot be served so, RuntimeError and ValueError where memory
    runs out.
    """
    if kind == TRANSFORMERS:
        return PagedEngine(loaded, capacity)
    try:
        return BatchingEngine(make_decoder(loaded.model), capacity)
    except Unsupported as exc:
        if kind == OWN:
            raise WeightsError(f"engine {OWN!r} does not run this model: {exc}") from exc
        warn(f"served by transformers' own batching, which is slower: {exc}")
        return PagedEngine(loaded, capacity)
