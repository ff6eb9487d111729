"""What ``run --metrics`` and ``run --otel`` stand for. Nothing of it is loaded unless asked for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from weave_async.errors import UsageError

if TYPE_CHECKING:
    from weave_async.observability.spans import Tracing
    from weave_async.run import Run

logger = logging.getLogger(__name__)

Watch = Callable[["Run"], None]
"""To be called on the event loop, once the run is entered."""


def watching(address: str | None) -> AbstractContextManager[Watch]:
    """``/metrics`` at ``address``, from the call of what this gives until it ends.

    The port is taken before that; raises ``UsageError`` where it cannot be.
    """
    return nullcontext(watch_nothing) if address is None else _serving(address)


def tracing_if(is_wanted: bool, run_name: str) -> AbstractContextManager[Tracing | None]:
    """What makes spans of requests while this lasts, and sends them."""
    if not is_wanted:
        return nullcontext()
    _require("opentelemetry.exporter.otlp.proto.http", flag="--otel", extra="otel")
    from weave_async.observability.otlp import exported_spans

    return exported_spans(run_name)


@contextmanager
def _serving(address: str) -> Iterator[Watch]:
    _require("prometheus_client", flag="--metrics", extra="prometheus")
    from weave_async.observability.metrics_server import address_of, metrics_server
    from weave_async.observability.prometheus import CostCollector, RunCollector

    with metrics_server(address_of(address)) as server:

        def watch(run: Run) -> None:
            server.watch(RunCollector(run), asyncio.get_running_loop(), CostCollector(run))
            logger.info("figures for Prometheus are at %s", server.url)

        yield watch


def watch_nothing(run: Run) -> None:
    """Nobody has asked for it."""


def _require(module: str, *, flag: str, extra: str) -> None:
    try:
        found = find_spec(module)
    except ModuleNotFoundError:  # a package that it would be in
        found = None
    if found is None:
        raise UsageError(f"{flag} needs the extra {extra}: pip install 'weave-async[{extra}]'")
