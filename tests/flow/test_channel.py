"""A channel with one writer and one reader."""

from __future__ import annotations

import asyncio

import pytest

from weave_async.flow.channel import Channel
from weave_async.testing.virtual_time import run_in_virtual_time


async def _read(channel: Channel[int], *, pause_s: float = 0.0) -> list[int]:
    read = []
    async for item in channel:
        read.append(item)
        await asyncio.sleep(pause_s)
    return read


def test_items_come_out_in_the_order_in_which_they_went_in() -> None:
    async def scenario() -> list[int]:
        channel: Channel[int] = Channel(capacity=3)
        reading = asyncio.create_task(_read(channel))
        for item in range(50):
            await channel.send(item)
        await channel.close()
        return await reading

    assert run_in_virtual_time(scenario()) == list(range(50))


def test_a_slow_reader_slows_the_writer() -> None:
    async def scenario() -> float:
        channel: Channel[int] = Channel(capacity=2)
        reading = asyncio.create_task(_read(channel, pause_s=1.0))
        for item in range(10):
            await channel.send(item)
        sent_at_s = asyncio.get_running_loop().time()
        await channel.close()
        await reading
        return sent_at_s

    assert run_in_virtual_time(scenario()) == pytest.approx(7, abs=0.1)


def test_send_waits_while_capacity_items_are_unread() -> None:
    async def scenario() -> str:
        channel: Channel[int] = Channel(capacity=2)
        await channel.send(1)
        await channel.send(2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await channel.send(3)
        return repr(channel)

    assert run_in_virtual_time(scenario()) == "<Channel open, 2/2>"


def test_a_cancelled_send_leaves_nothing_behind() -> None:
    async def scenario() -> list[int]:
        channel: Channel[int] = Channel(capacity=1)
        await channel.send(1)
        sending = asyncio.create_task(channel.send(2))
        await asyncio.sleep(1)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await channel.close()
        return await _read(channel)

    assert run_in_virtual_time(scenario()) == [1]


def test_what_was_sent_before_close_is_still_read() -> None:
    async def scenario() -> list[int]:
        channel: Channel[int] = Channel(capacity=5)
        for item in range(5):
            await channel.send(item)
        await channel.close()
        return await _read(channel)

    assert run_in_virtual_time(scenario()) == [0, 1, 2, 3, 4]


def test_close_wakes_a_reader_that_waits() -> None:
    async def scenario() -> list[int]:
        channel: Channel[int] = Channel(capacity=1)
        reading = asyncio.create_task(_read(channel))
        await asyncio.sleep(1)
        await channel.close()
        return await reading

    assert run_in_virtual_time(scenario()) == []


def test_when_the_reader_leaves_the_writer_goes_on_and_its_items_are_dropped() -> None:
    async def scenario() -> str:
        channel: Channel[int] = Channel(capacity=1)
        await channel.send(1)
        waiting = asyncio.create_task(channel.send(2))
        await asyncio.sleep(1)
        assert not waiting.done()
        await channel.leave()
        await waiting
        for item in range(100):
            await channel.send(item)
        assert await _read(channel) == []
        return repr(channel)

    assert run_in_virtual_time(scenario()) == "<Channel left, 0/1>"
