"""Eager senders at an admission in front of a server model, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from server_models import ServerModel
from weave_async.flow.admission import Admission

Send = tuple[float, float]


@dataclass
class Outcome:
    """What was let in and what was refused, as (time, amount)."""

    accepted: list[Send] = field(default_factory=list)
    refused: list[Send] = field(default_factory=list)

    @property
    def refused_share(self) -> float:
        return len(self.refused) / max(1, len(self.refused) + len(self.accepted))

    def used_share(self, limit: float, since_s: float, until_s: float) -> float:
        """How much of a limit per minute was used in this time."""
        used = sum(amount for at_s, amount in self.accepted if since_s <= at_s < until_s)
        return used / (limit * (until_s - since_s) / 60)


def fullest_window(sends: list[Send], width_s: float = 60.0) -> float:
    """The largest sum of amounts in any window of this width, whatever its phase."""
    fullest = total = 0.0
    first = 0
    for at_s, amount in sends:
        total += amount
        while sends[first][0] <= at_s - width_s:
            total -= sends[first][1]
            first += 1
        fullest = max(fullest, total)
    return fullest


def ones() -> Iterator[int]:
    while True:
        yield 1


def lognormal(seed: int, *, at_most: int = 4_000) -> Iterator[int]:
    rng = Random(seed)
    while True:
        yield min(at_most, max(20, int(rng.lognormvariate(6.5, 0.9))))


def bimodal(seed: int, *, share_of_large: float = 0.1) -> Iterator[int]:
    rng = Random(seed)
    while True:
        yield 50_000 if rng.random() < share_of_large else 500


async def saturate(
    admission: Admission,
    server: ServerModel | None,
    sizes: Iterator[int],
    minutes: float,
    *,
    seed: int = 0,
    num_senders: int = 64,
    latency_s: Callable[[Random], float] = lambda rng: rng.uniform(0.3, 1.5),
    retry_after_s: float | None = None,
    by_requests: bool = False,
) -> Outcome:
    """Send as much as admission lets through; what is refused is sent again."""
    loop = asyncio.get_running_loop()
    rng = Random(seed)
    outcome = Outcome()

    async def send_on_and_on() -> None:
        while True:
            tokens = next(sizes)
            amount = 1 if by_requests else tokens
            is_retry = False
            while True:
                async with admission.slot(tokens=tokens, is_retry=is_retry) as slot:
                    at_s = loop.time()
                    if server is None or server.ask(at_s, amount):
                        outcome.accepted.append((at_s, amount))
                        await asyncio.sleep(latency_s(rng))
                        slot.settle(tokens)
                        break
                    outcome.refused.append((at_s, amount))
                    await asyncio.sleep(rng.uniform(0.02, 0.08))
                    slot.throttled(retry_after_s)
                    is_retry = True

    senders = [asyncio.create_task(send_on_and_on()) for _ in range(num_senders)]
    await asyncio.sleep(minutes * 60)
    for sender in senders:
        sender.cancel()
    await asyncio.gather(*senders, return_exceptions=True)
    return outcome
