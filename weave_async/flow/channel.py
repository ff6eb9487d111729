"""A bounded channel between one writer and one reader, either of which may leave."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """``send`` waits while ``capacity`` items are unread, so a slow reader slows the writer.

    ``close`` says that no more will come; ``leave`` that nobody reads, and what is sent is dropped.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._items: deque[T] = deque()
        self._closed = self._left = False
        self._changed = asyncio.Condition()

    def __repr__(self) -> str:
        state = "left" if self._left else "closed" if self._closed else "open"
        return f"<Channel {state}, {len(self._items)}/{self.capacity}>"

    async def send(self, item: T) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._left or len(self._items) < self.capacity)
            if not self._left:
                self._items.append(item)
                self._changed.notify_all()

    async def close(self) -> None:
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def leave(self) -> None:
        async with self._changed:
            self._left = True
            self._items.clear()
            self._changed.notify_all()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._closed or self._left or self._items)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
