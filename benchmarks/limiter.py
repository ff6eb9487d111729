"""What admission costs per request, and how near it keeps to its limits, beside aiolimiter alone.

    python benchmarks/limiter.py [--requests 20000] [--repeats 5] [--minutes 10] [--json]

*Cost*: so many requests that send nothing pass through 64 places; the limits by the minute are on,
and do not bind. Microseconds of this thread's CPU per request, less those of the same tasks without
a limiter; medians over the repeats, in turns, [least–most]. `waiting` has four tasks to each place.

*Rates*: minutes of a virtual clock, always more to send than may be. Answers take 0.5 s, and 0.25 s
in the second half: in the first, a semaphore with the places that 0.5 s ask for keeps the rate too.
`in 60 s` and `in 1 s` are the most that were sent within any so long, as shares of the limit.

*Tokens*: likewise, one request in 20 being 40 times as large. Waits are from the wish to the send,
or to the end for those that never were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiolimiter import AsyncLimiter

from tables import shown, spread, table
from weave_async.cli.loop import run_in_loop
from weave_async.flow.admission import Admission
from weave_async.testing.virtual_time import run_in_virtual_time

PLACES, TASKS_PER_PLACE = 64, 4
NOT_BINDING = 1e9
RPM, TPM = 600, 60_000
SLOW_S, FAST_S = 0.5, 0.25
SMALL, LARGE, LARGE_EVERY = 500, 20_000, 20
NUM_WORKERS = 100
ROUNDING_S = 1e-6
"""Two sends a whole window apart are not both in it."""
OURS, NOTHING_AT_ALL = "weave_async", "no limiter"
SEMAPHORE, BOTH = "semaphore", "semaphore and two of aiolimiter"

Send = Callable[[], Awaitable[None]]
Ask = Callable[[int, Send], Awaitable[None]]
"""Sends a request of so many tokens when it may."""
Make = Callable[[], Ask]


def main() -> None:
    given = parse_arguments()
    result = {
        "cost_us": cost_us(given.requests, given.repeats),
        "rates": {name: rate_kept(make, given.minutes) for name, make in RATES.items()},
        "tokens": {name: tokens_kept(make, given.minutes) for name, make in TOKENS.items()},
    }
    print(json.dumps(result) if given.json else as_tables(result, given))


def parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=20_000, help="of each turn [20000]")
    parser.add_argument("--repeats", type=int, default=5, help="of each limiter [5]")
    parser.add_argument("--minutes", type=float, default=10, help="of virtual time [10]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser.parse_args()


# --- the limiters --------------------------------------------------------------------------------


def nothing() -> Ask:
    async def ask(tokens: int, send: Send) -> None:
        await send()

    return ask


def semaphore(places: int) -> Ask:
    gate = asyncio.Semaphore(places)

    async def ask(tokens: int, send: Send) -> None:
        async with gate:
            await send()

    return ask


def aiolimiter(most: float, period_s: float, *, of_tokens: bool = False) -> Ask:
    limiter = AsyncLimiter(most, period_s)

    async def ask(tokens: int, send: Send) -> None:
        await limiter.acquire(tokens if of_tokens else 1)
        await send()

    return ask


def semaphore_and_aiolimiter(places: int, rpm: float, tpm: float) -> Ask:
    """What does as much as ours by its limits, as people write it."""
    gate, requests, tokens_limiter = (
        asyncio.Semaphore(places),
        AsyncLimiter(rpm, 60),
        AsyncLimiter(tpm, 60),
    )

    async def ask(tokens: int, send: Send) -> None:
        async with gate:
            await requests.acquire()
            await tokens_limiter.acquire(tokens)
            await send()

    return ask


def ours(places: int, *, rpm: float | None = None, tpm: float | None = None) -> Ask:
    admission = Admission(max_concurrency=places, requests_per_minute=rpm, tokens_per_minute=tpm)

    async def ask(tokens: int, send: Send) -> None:
        async with admission.slot(tokens=tokens) as slot:
            await send()
            slot.settle(tokens)

    return ask


COSTS: Mapping[str, Make] = {
    NOTHING_AT_ALL: nothing,
    SEMAPHORE: lambda: semaphore(PLACES),
    "aiolimiter": lambda: aiolimiter(NOT_BINDING, 60),
    BOTH: lambda: semaphore_and_aiolimiter(PLACES, NOT_BINDING, NOT_BINDING),
    OURS: lambda: ours(PLACES, rpm=NOT_BINDING, tpm=NOT_BINDING),
}
RATES: Mapping[str, Make] = {
    f"{SEMAPHORE} of {round(RPM / 60 * SLOW_S)}": lambda: semaphore(round(RPM / 60 * SLOW_S)),
    f"aiolimiter, {RPM} in 60 s": lambda: aiolimiter(RPM, 60),
    f"aiolimiter, {RPM / 60:g} in 1 s": lambda: aiolimiter(RPM / 60, 1),
    OURS: lambda: ours(NUM_WORKERS, rpm=RPM),
}
TOKENS: Mapping[str, Make] = {
    f"aiolimiter, {TPM:,} in 60 s": lambda: aiolimiter(TPM, 60, of_tokens=True),
    OURS: lambda: ours(NUM_WORKERS, tpm=TPM),
}


# --- what they cost ------------------------------------------------------------------------------


def cost_us(num_requests: int, repeats: int) -> dict[str, dict[str, Any]]:
    """By limiter: ``free`` and ``waiting``, and no ``waiting`` for what has no places."""
    tasks = {"free": PLACES, "waiting": TASKS_PER_PLACE * PLACES}
    gross: dict[str, dict[str, list[float]]] = {
        name: {kind: [] for kind in tasks} for name in COSTS
    }
    for _ in range(repeats):
        for kind, num_tasks in tasks.items():
            for name, make in COSTS.items():
                gross[name][kind].append(run_in_loop(_cpu_us(make, num_requests, num_tasks)))
    bare = gross.pop(NOTHING_AT_ALL)
    return {
        name: {
            kind: spread([mine - none for mine, none in zip(of[kind], bare[kind], strict=True)])
            for kind in tasks
            if kind == "free" or name != "aiolimiter"
        }
        for name, of in gross.items()
    }


async def _cpu_us(make: Make, num_requests: int, num_tasks: int) -> float:
    ask, numbers = make(), iter(range(num_requests))

    async def send() -> None:
        await asyncio.sleep(0)

    async def work() -> None:
        for _ in numbers:
            await ask(SMALL, send)

    begun_s = time.thread_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(num_tasks):
            group.create_task(work())
    return (time.thread_time() - begun_s) / num_requests * 1e6


# --- how they keep to limits ---------------------------------------------------------------------


@dataclass(slots=True)
class Sent:
    """What was sent: when, how large, and after how long a wait."""

    at_s: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    waits_s: dict[int, list[float]] = field(default_factory=lambda: {SMALL: [], LARGE: []})

    def most_within(self, window_s: float, amounts: Sequence[int]) -> int:
        most = total = first = 0
        for at_s, amount in zip(self.at_s, amounts, strict=True):
            total += amount
            while self.at_s[first] <= at_s - window_s + ROUNDING_S:
                total -= amounts[first]
                first += 1
            most = max(most, total)
        return most


def rate_kept(make: Make, minutes: float) -> dict[str, float]:
    sent = run_in_virtual_time(_sent(make, minutes * 60, large_every=None))
    ones = [1] * len(sent.at_s)
    return {
        "share_used": len(ones) / (RPM * minutes),
        "share_in_60_s": sent.most_within(60, ones) / RPM,
        "share_in_1_s": sent.most_within(1, ones) / (RPM / 60),
    }


def tokens_kept(make: Make, minutes: float) -> dict[str, float]:
    sent = run_in_virtual_time(_sent(make, minutes * 60, large_every=LARGE_EVERY))
    return {
        "share_used": sum(sent.tokens) / (TPM * minutes),
        "share_in_60_s": sent.most_within(60, sent.tokens) / TPM,
        "longest_small_wait_s": max(sent.waits_s[SMALL]),
        "longest_large_wait_s": max(sent.waits_s[LARGE]),
    }


async def _sent(make: Make, duration_s: float, large_every: int | None) -> Sent:
    loop, sent, ask, numbers = asyncio.get_running_loop(), Sent(), make(), count(1)
    wishes: dict[int, tuple[int, float]] = {}  # of those who wait: tokens, since when

    async def work() -> None:
        for number in numbers:
            tokens = LARGE if large_every and number % large_every == 0 else SMALL
            wishes[number] = tokens, loop.time()

            async def send(number: int = number) -> None:
                tokens, since_s = wishes.pop(number)
                sent.at_s.append(loop.time())
                sent.tokens.append(tokens)
                sent.waits_s[tokens].append(loop.time() - since_s)
                await asyncio.sleep(SLOW_S if loop.time() < duration_s / 2 else FAST_S)

            await ask(tokens, send)

    tasks = [loop.create_task(work()) for _ in range(NUM_WORKERS)]
    await asyncio.sleep(duration_s)
    for task in tasks:
        task.cancel()
    for tokens, since_s in wishes.values():
        sent.waits_s[tokens].append(duration_s - since_s)
    await asyncio.gather(*tasks, return_exceptions=True)
    return sent


# --- what people read ----------------------------------------------------------------------------


def as_tables(result: Mapping[str, Any], given: argparse.Namespace) -> str:
    costs = [
        [name, *(shown(of.get(kind), 1, with_range=True) for kind in ("free", "waiting"))]
        for name, of in result["cost_us"].items()
    ]
    rates = [
        [name, *(f"{share:.1%}" for share in of.values())] for name, of in result["rates"].items()
    ]
    tokens = [
        [
            name,
            f"{of['share_used']:.1%}",
            f"{of['share_in_60_s']:.1%}",
            shown(of["longest_small_wait_s"]),
            shown(of["longest_large_wait_s"]),
        ]
        for name, of in result["tokens"].items()
    ]
    return "\n\n".join(
        [
            f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
            f"load {os.getloadavg()[0]:.1f}; {given.requests:,} requests a turn, "
            f"{given.repeats} turns; {given.minutes:g} virtual minutes",
            table(("cost", "µs CPU/request, free", "waiting"), costs),
            table((f"{RPM} requests per minute", "used", "in 60 s", "in 1 s"), rates),
            table(
                (f"{TPM:,} tokens per minute", "used", "in 60 s", "small waits, s", "large"), tokens
            ),
        ]
    )


if __name__ == "__main__":
    main()
