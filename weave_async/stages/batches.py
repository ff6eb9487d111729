"""Batches on their way through the stages: several at once in, one after the other out."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from weave_async.records import Sample

BatchT = TypeVar("BatchT")
Process = Callable[[Sequence[Sample]], Awaitable[Sequence[Sample]]]


class BatchesUnderWay(Generic[BatchT]):
    """At most ``max_batches`` tasks of ``process``, taken back in the order of their beginning.

    ``num_dropped`` counts those that were given up.
    """

    def __init__(self, process: Process, max_batches: int) -> None:
        self._process = process
        self._max_batches = max_batches
        self.num_dropped = 0
        self._tasks: deque[tuple[BatchT, asyncio.Task[Sequence[Sample]]]] = deque()

    def __repr__(self) -> str:
        return f"<BatchesUnderWay {len(self)} of {self._max_batches}>"

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def has_room(self) -> bool:
        return len(self._tasks) < self._max_batches

    def begin(self, batch: BatchT, samples: Sequence[Sample]) -> None:
        """``batch`` is what comes back with the samples."""
        process = self._process(samples)
        self._tasks.append((batch, asyncio.ensure_future(process)))

    async def first_or(self, arrived: asyncio.Event) -> tuple[BatchT, Sequence[Sample]] | None:
        """The first batch and what has become of its samples, once it is through; or ``None`` when
        ``arrived`` is set before that, and there is room for more. Raises what processing raised.
        """
        batch, task = self._tasks[0]
        if self.has_room and not task.done():
            arrival = asyncio.ensure_future(arrived.wait())
            try:
                await asyncio.wait((task, arrival), return_when=asyncio.FIRST_COMPLETED)
            finally:
                arrival.cancel()
            if not task.done():
                return None
        await asyncio.wait((task,))
        self._tasks.popleft()
        return batch, [] if task.cancelled() else task.result()

    def drop(self) -> None:
        """Give up all that are under way: they come back without samples."""
        self.num_dropped += sum(task.cancel() for _, task in self._tasks)

    async def close(self) -> None:
        """Drop what is left, and see it end."""
        self.drop()
        while self._tasks:
            await asyncio.wait((self._tasks.popleft()[1],))
