"""Meters beside a run: in order, bounded, and never in its way."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from weave_async.metrics.ledger import RunMetrics
from weave_async.metrics.live import (
    CHUNK,
    LEAST_ROWS,
    MOST_ROWS,
    MOST_WAITING,
    Measuring,
    finite,
)
from weave_async.records import Sample

MakeSample = Callable[..., Sample]


class Ordinals:
    """Remembers what it was given, and waits where it is told to."""

    def __init__(self, figure: float = 1.0) -> None:
        self.seen: list[int] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self._figure = figure

    def count(self, samples: Sequence[Sample]) -> None:
        self.may_go_on.wait(10)
        self.seen += [sample.ordinal for sample in samples]

    def snapshot(self) -> Mapping[str, float]:
        return {"rows": len(self.seen), "vendi": self._figure}

    def figures(self) -> dict[str, Any]:
        return {"rows": len(self.seen), "vendi": {"value": self._figure}}


class Raising(Ordinals):
    def count(self, samples: Sequence[Sample]) -> None:
        raise ZeroDivisionError("no words")


def measuring_with(
    diversity: Ordinals,
    bias: Ordinals | None = None,
    *,
    most_expected: int = 1000,
    ledger: RunMetrics | None = None,
) -> Measuring:
    meters = diversity, bias or Ordinals()
    return Measuring(
        lambda: meters, seed=7, most_expected=most_expected, ledger=ledger or RunMetrics()
    )


@pytest.fixture
def samples(make_sample: MakeSample) -> list[Sample]:
    """Three thousand, told apart by ordinal and id."""
    sample = make_sample()
    return [
        replace(sample, ordinal=n, prompt=replace(sample.prompt, prompt_id=f"{n:016x}"))
        for n in range(3000)
    ]


def test_meters_see_every_row_once_in_order(samples: list[Sample]) -> None:
    diversity, bias = Ordinals(), Ordinals()

    async def measure() -> dict[str, Any]:
        measuring = measuring_with(diversity, bias)
        for start in range(0, len(samples), 100):
            await measuring.count(samples[start : start + 100])
            if start % 700 == 0:
                await asyncio.sleep(0.001)
        return await measuring.figures()

    figures = asyncio.run(measure())
    assert diversity.seen == bias.seen == [sample.ordinal for sample in samples]
    assert figures["diversity"]["rows"] == figures["bias"]["rows"] == len(samples)


def test_the_loop_goes_on_while_a_meter_takes_its_time_and_waits_once_the_line_is_full(
    samples: list[Sample],
) -> None:
    diversity = Ordinals()

    async def measure() -> None:
        measuring = measuring_with(diversity)
        diversity.may_go_on.clear()
        await measuring.count(samples[:CHUNK])
        await asyncio.wait_for(measuring.count(samples[CHUNK : MOST_WAITING - 1]), 5)  # in line
        full = asyncio.create_task(measuring.count(samples[MOST_WAITING - 1 :]))
        done, _ = await asyncio.wait([full], timeout=0.05)
        assert not done
        diversity.may_go_on.set()
        await asyncio.wait_for(full, 5)
        await measuring.close()

    asyncio.run(measure())
    assert diversity.seen[:1000] == [sample.ordinal for sample in samples[:1000]]


def test_which_rows_of_a_large_run_are_measured_depends_on_the_rows_alone(
    samples: list[Sample],
) -> None:
    def measured(batch: int, of: Sequence[Sample]) -> list[int]:
        diversity, bias = Ordinals(), Ordinals()

        async def measure() -> dict[str, Any]:
            measuring = measuring_with(diversity, bias, most_expected=2 * MOST_ROWS)
            for start in range(0, len(of), batch):
                await measuring.count(of[start : start + batch])
            return await measuring.figures()

        figures = asyncio.run(measure())
        assert figures["diversity"]["share_of_rows"] == len(diversity.seen) / len(of)
        assert bias.seen == diversity.seen
        return diversity.seen

    chosen = measured(64, samples)
    assert chosen == measured(1000, samples)
    assert measured(64, samples[500:]) == [n for n in chosen if n >= 500]
    assert 1350 < len(chosen) < 1650


@pytest.mark.parametrize(
    ("most_expected", "share"),
    [(0, 1), (1, 1), (MOST_ROWS, 1), (2 * MOST_ROWS, 0.5), (10**6, MOST_ROWS / 10**6)],
)
def test_no_more_rows_are_measured_than_bounded(most_expected: int, share: float) -> None:
    assert measuring_with(Ordinals(), most_expected=most_expected).share == share


def test_a_meter_that_raises_costs_its_figures_and_nothing_else(
    samples: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = RunMetrics()

    async def measure() -> dict[str, Any]:
        measuring = measuring_with(Raising(), ledger=ledger)
        for start in range(0, 500, 100):
            await measuring.count(samples[start : start + 100])
            await asyncio.sleep(0.001)
        return await measuring.figures()

    with caplog.at_level(logging.WARNING):
        figures = asyncio.run(measure())
    assert ledger.diversity == {}
    assert figures["diversity"] == {"note": "not measured: ZeroDivisionError: no words"}
    assert figures["bias"] == figures["diversity"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "measure: off" in caplog.text


def test_live_figures_appear_with_the_first_rows(samples: list[Sample]) -> None:
    ledger = RunMetrics()

    async def measure() -> None:
        measuring = measuring_with(Ordinals(figure=41.2), ledger=ledger)
        assert ledger.diversity == {}
        await measuring.count(samples[: CHUNK + 1])
        await measuring.close()

    asyncio.run(measure())
    assert ledger.snapshot()["diversity"] == {"rows": CHUNK, "vendi": 41.2}


def test_a_figure_that_is_no_number_is_none_in_a_file() -> None:
    told = finite({"vendi": float("nan"), "of": [1.5, float("inf")], "interval": (0.1, 0.2)})
    assert told == {"vendi": None, "of": [1.5, None], "interval": [0.1, 0.2]}


def test_nothing_is_loaded_before_there_is_something_to_measure() -> None:
    def meters() -> Any:
        raise AssertionError("loaded")

    async def measure() -> None:
        measuring = Measuring(meters, seed=7, most_expected=1, ledger=RunMetrics())
        await measuring.count(())
        await measuring.close()

    asyncio.run(measure())


@pytest.mark.parametrize("batch", [1, 7, 500])
def test_of_few_rows_where_many_were_expected_more_than_a_share_is_measured(
    samples: list[Sample], batch: int
) -> None:
    async def measure(num: int) -> tuple[list[int], float]:
        diversity = Ordinals()
        measuring = measuring_with(diversity, most_expected=100 * MOST_ROWS)
        for start in range(0, num, batch):
            await measuring.count(samples[start : min(start + batch, num)])
        told = await measuring.figures()
        return diversity.seen, told["diversity"]["share_of_rows"]

    seen, share = asyncio.run(measure(600))
    assert (sorted(seen), share) == (list(range(600)), 1.0)
    seen, share = asyncio.run(measure(3000))
    assert len(set(seen)) == len(seen) == LEAST_ROWS
    assert share == pytest.approx(1 / 3)
    again, _ = asyncio.run(measure(3000))
    assert seen == again
