"""The servers that this process has started: who shares one, what fits, who loads when.

Endpoints with the same model and the same options share a server. Servers load one after the other:
each takes more memory while it loads than afterwards, and all cores. What they all need is held
against one budget before any of them is started.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Literal
from weakref import WeakKeyDictionary

from weave_async.errors import RecipeError

from .child import ServerProcess
from .memory import BUDGET_VARIABLE, GB, Budget, memory_budget, needed_bytes
from .server.machine import usable_cores

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Options of the server that is started; see ``weave-async serve --help``."""

    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    max_context: int | None = None
    kv_tokens: int | None = None
    engine: Literal["auto", "slots", "transformers"] | None = None


@dataclass(frozen=True, slots=True)
class WantedServer:
    """What a server is to be like. Two that differ in ``max_concurrency`` alone are the same."""

    model: str
    options: LocalOptions
    max_concurrency: int = field(compare=False)

    def arguments(self, *, threads: int | None) -> list[str]:
        chosen = {
            "model": self.model,
            "max_concurrency": self.max_concurrency,
            **{each.name: getattr(self.options, each.name) for each in fields(LocalOptions)},
            "threads": threads,
        }
        return [
            f"--{name.replace('_', '-')}={value}"
            for name, value in chosen.items()
            if value is not None
        ]

    def needed_bytes(self) -> int | None:
        return needed_bytes(
            self.model,
            device=self.options.device,
            dtype=self.options.dtype,
            kv_tokens=self.options.kv_tokens,
            max_concurrency=self.max_concurrency,
        )


class ServerPool:
    """The servers of one event loop. Each ends with the last of those who use it."""

    def __init__(self) -> None:
        self._servers: dict[WantedServer, _Shared] = {}
        self._budget: Budget | None = None
        self._loading = asyncio.Lock()

    def __repr__(self) -> str:
        users = sum(shared.num_users for shared in self._servers.values())
        return f"<ServerPool {len(self._servers)} servers, {users} users>"

    @asynccontextmanager
    async def server(self, wanted: WantedServer) -> AsyncIterator[ServerProcess]:
        """A server like that, ready: one that is there already, or a new one.

        Raises ``RecipeError`` at once if it does not fit beside the others, and later what
        ``ServerProcess.wait_until_ready`` raises.
        """
        shared = self._servers.get(wanted)
        if shared is None or shared.has_ended:
            self._require_room_for(wanted)
            shared = self._servers[wanted] = _Shared()
            shared.life = asyncio.create_task(self._live(wanted, shared), name="local server")
        shared.num_users += 1
        try:
            yield await asyncio.shield(shared.ready)
        finally:
            shared.num_users -= 1
            if shared.num_users == 0:
                if self._servers.get(wanted) is shared:
                    del self._servers[wanted]
                await shared.end()

    async def _live(self, wanted: WantedServer, shared: _Shared) -> None:
        """From start to end, in a task of its own: whoever wanted it first may leave first.

        By the time that this runs, all are in the pool who came at the same moment.
        """
        try:
            async with AsyncExitStack() as stack:
                async with self._loading:
                    server = self._new_process(wanted)
                    await stack.enter_async_context(server)
                    await server.wait_until_ready()
                shared.ready.set_result(server)
                await asyncio.Event().wait()  # until it is cancelled
        except Exception as error:
            if shared.ready.done():
                raise
            shared.ready.set_exception(error)  # for those who wait; nothing of it is left by now

    def _new_process(self, wanted: WantedServer) -> ServerProcess:
        """Alone it finds its number of threads for itself, and needs no name in messages."""
        if len(self._servers) == 1:
            return ServerProcess(wanted.arguments(threads=wanted.options.threads))
        # More threads than cores bring nothing (no difference beyond the noise, two servers on two
        # cores), and each step of one then waits for a thread that the other has displaced.
        share = max(1, usable_cores() // len(self._servers))
        threads = wanted.options.threads or share
        return ServerProcess(wanted.arguments(threads=threads), name=wanted.model)

    def _require_room_for(self, wanted: WantedServer) -> None:
        if not self._servers:
            self._budget = memory_budget()  # what is free with none of ours in it
        budget = self._budget
        if budget is None:
            return
        needs = [(each.model, each.needed_bytes()) for each in (*self._servers, wanted)]
        together = sum(need or 0 for _, need in needs)
        if budget.is_stated and needs[-1][1] is None:
            logger.warning(
                "what %s needs is not known before it is loaded: it is not held against %s",
                wanted.model,
                BUDGET_VARIABLE,
            )
        # Alone in what happens to be free, it had better count for itself, and exactly.
        if together > budget.num_bytes and (self._servers or budget.is_stated):
            raise RecipeError(_does_not_fit(needs, together, budget))


def _does_not_fit(needs: Sequence[tuple[str, int | None]], together: int, budget: Budget) -> str:
    each = [f"{model} {need / GB:.1f} GB" for model, need in needs if need is not None]
    of_these = f", together {together / GB:.1f} GB" if len(each) > 1 else ""
    return (
        f"the memory is too small for the local models of this run: they need about "
        f"{', '.join(each)}{of_these}, and {budget}. A lower max_concurrency, fewer kv_tokens, "
        f"dtype bfloat16, smaller or fewer models need less; {BUDGET_VARIABLE} sets another budget"
    )


class _Shared:
    """A server, and how many use it. Belongs to the event loop in which it was made."""

    life: asyncio.Task[None]

    def __init__(self) -> None:
        self.num_users = 0
        self.ready: asyncio.Future[ServerProcess] = asyncio.get_running_loop().create_future()

    @property
    def has_ended(self) -> bool:
        """Whether it is of no more use: it could not start, or its process is gone."""
        if not self.ready.done():
            return False
        return self.ready.exception() is not None or self.ready.result().has_exited

    async def end(self) -> None:
        self.life.cancel()
        await asyncio.wait([self.life])


_pools: WeakKeyDictionary[asyncio.AbstractEventLoop, ServerPool] = WeakKeyDictionary()


def pool_of_this_loop() -> ServerPool:
    """The one pool of the running event loop: providers know nothing of each other."""
    return _pools.setdefault(asyncio.get_running_loop(), ServerPool())
