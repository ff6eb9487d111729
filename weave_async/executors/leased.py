"""Dispatchers that keep to a worker's part of what holds for the whole account."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Self

from weave_async.dispatch import Dispatcher
from weave_async.flow.leasing import Ask, Grant, Lease, Limits
from weave_async.interfaces import Provider
from weave_async.records import Endpoint

AskLessor = Callable[[str, Ask], Awaitable[Grant]]
"""To be called with an endpoint's name. Raises ``LessorUnreachableError``."""


class Leases:
    """Makes the dispatchers of worker ``worker``, from 0, of ``num_workers``."""

    def __init__(self, worker: int, num_workers: int, ask: AskLessor) -> None:
        self._worker = worker
        self._num_workers = num_workers
        self._ask = ask

    def dispatcher(
        self,
        endpoint: Endpoint,
        provider: Provider,
        *,
        max_concurrency: int | None,
        **options: Any,
    ) -> Dispatcher:
        """In place of ``Dispatcher``, with its options."""
        if max_concurrency is not None:
            options["max_concurrency"] = self._part_of(max_concurrency)
        limits = Limits(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        if limits == Limits():
            return Dispatcher(endpoint, provider, **options)
        lease = Lease(
            limits,
            worker=self._worker,
            num_workers=self._num_workers,
            ask=partial(self._ask, endpoint.name),
        )
        return LeasedDispatcher(endpoint, provider, lease=lease, **options)

    def _part_of(self, whole: int) -> int:
        """The parts of all workers add up to the whole, if that is one for each at least."""
        part, rest = divmod(whole, self._num_workers)
        return max(1, part + (self._worker < rest))


class LeasedDispatcher(Dispatcher):
    """Deals with the lessor for as long as it is open."""

    def __init__(self, *args: Any, lease: Lease, **options: Any) -> None:
        super().__init__(*args, lease=lease, **options)
        self._lease = lease
        self._leasing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._leasing = asyncio.create_task(self._lease.run(), name="lease")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._leasing is not None:
            self._leasing.cancel()
            await asyncio.gather(self._leasing, return_exceptions=True)
        await super().__aexit__(*exc_info)
