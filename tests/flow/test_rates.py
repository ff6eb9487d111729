"""The rates, against four models of a server: used to the full, and hardly ever refused."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator

import pytest

from flow_saturation import (
    Outcome,
    bimodal,
    fullest_window,
    lognormal,
    ones,
    saturate,
)
from server_models import SERVER_MODELS, ServerModel, ShortSpanServer, SlidingWindowServer
from weave_async.flow.admission import Admission
from weave_async.testing.virtual_time import run_in_virtual_time

SIZES: dict[str, Callable[[int], Iterator[int]]] = {"lognormal": lognormal, "bimodal": bimodal}
LIMITS = {"requests": 600, "lognormal": 600_000, "bimodal": 6_000_000}
"""Per minute; the largest request is then below a hundredth of it, so that pacing can be exact."""

kinds = pytest.mark.parametrize("kind", ["requests", "lognormal", "bimodal"])
models = pytest.mark.parametrize("model", SERVER_MODELS, ids=lambda model: model.__name__)
rejections = pytest.mark.parametrize("counts_rejections", [False, True], ids=["", "counted"])
either = pytest.mark.parametrize(
    ("kind", "counts_rejections"), [("requests", False), ("lognormal", True)]
)
"""Half of the combinations, with each value of both; all of them, with more seeds: below."""


def outcome_of(
    kind: str,
    model: Callable[..., ServerModel],
    *,
    limit: float,
    real_limit: float,
    counts_rejections: bool,
    seed: int = 0,
    minutes: float = 30,
    num: int = 64,
) -> Outcome:
    random.seed(seed)  # for the jitter of pauses

    async def scenario() -> Outcome:
        if kind == "requests":
            admission = Admission(max_concurrency=num, requests_per_minute=limit)
            sizes = ones()
        else:
            admission = Admission(max_concurrency=num, tokens_per_minute=limit)
            sizes = SIZES[kind](seed)
        server = model(real_limit, counts_rejections=counts_rejections)
        return await saturate(admission, server, sizes, minutes, seed=seed, num_senders=num)

    return run_in_virtual_time(scenario())


def require_full_use(outcome: Outcome, limit: float, minutes: float = 30) -> None:
    assert outcome.used_share(limit, 0, minutes * 60) >= 0.97
    assert outcome.refused_share <= 0.001
    assert fullest_window(outcome.accepted + outcome.refused) <= limit


@kinds
@models
def test_a_limit_is_used_to_the_full_and_never_exceeded(
    kind: str, model: Callable[..., ServerModel]
) -> None:
    limit, minutes = LIMITS[kind], 10
    outcome = outcome_of(
        kind, model, limit=limit, real_limit=limit, counts_rejections=True, minutes=minutes
    )
    require_full_use(outcome, limit, minutes)
    assert fullest_window(outcome.accepted, width_s=1.0) <= 2 * limit / 60


@models
@either
def test_a_limit_that_is_lower_than_configured_is_found(
    kind: str, model: Callable[..., ServerModel], counts_rejections: bool
) -> None:
    limit = LIMITS[kind]
    outcome = outcome_of(
        kind, model, limit=limit, real_limit=0.7 * limit, counts_rejections=counts_rejections
    )
    assert outcome.used_share(0.7 * limit, 0, 1800) >= 0.9
    assert outcome.refused_share <= (0.03 if counts_rejections else 0.01)


@models
@either
def test_a_tenth_of_the_limit_that_was_configured_is_found(
    kind: str, model: Callable[..., ServerModel], counts_rejections: bool
) -> None:
    limit = 10 * LIMITS[kind]
    outcome = outcome_of(
        kind, model, limit=limit, real_limit=0.1 * limit, counts_rejections=counts_rejections
    )
    assert outcome.used_share(0.1 * limit, 0, 1800) >= 0.9
    assert outcome.refused_share <= (0.03 if counts_rejections else 0.01)


def refused_while_the_limit_falls_and_rises(
    model: Callable[..., ServerModel], seed: int
) -> tuple[float, float]:
    """The share refused, and the share used ten minutes after the limit is back."""
    random.seed(seed)
    limit = 600

    async def scenario() -> Outcome:
        admission = Admission(max_concurrency=64, requests_per_minute=limit)
        server = model(limit)

        async def fall_and_rise() -> None:
            await asyncio.sleep(600)
            server.limit = limit / 10
            await asyncio.sleep(600)
            server.limit = limit

        falling = asyncio.create_task(fall_and_rise())
        outcome = await saturate(admission, server, ones(), 32, seed=seed)
        await falling
        return outcome

    outcome = run_in_virtual_time(scenario())
    return outcome.refused_share, outcome.used_share(limit, 1800, 1900)


@models
def test_a_limit_that_falls_and_comes_back_is_followed(model: Callable[..., ServerModel]) -> None:
    refused, used_at_the_end = refused_while_the_limit_falls_and_rises(model, seed=0)
    assert refused <= 0.03
    assert used_at_the_end >= 0.9


@pytest.mark.parametrize("limit", [1, 10, 60, 90, 1500])
def test_requests_per_minute_are_used_at_any_scale(limit: int) -> None:
    outcome = outcome_of(
        "requests", SlidingWindowServer, limit=limit, real_limit=limit, counts_rejections=True
    )
    require_full_use(outcome, limit)


def test_sizes_above_a_second_exceed_the_limit_by_one_request_at_most() -> None:
    limit, largest = 60_000, 50_000

    async def scenario() -> Outcome:
        admission = Admission(max_concurrency=64, tokens_per_minute=limit)
        return await saturate(admission, None, bimodal(3, share_of_large=0.2), 60)

    outcome = run_in_virtual_time(scenario())
    assert fullest_window(outcome.accepted) <= limit + largest
    assert outcome.used_share(limit, 0, 3600) >= 0.97


def test_both_limits_hold_at_once_and_the_tighter_one_is_used() -> None:
    async def scenario() -> Outcome:
        admission = Admission(
            max_concurrency=64, requests_per_minute=120, tokens_per_minute=240_000
        )
        return await saturate(admission, None, lognormal(1, at_most=1500), 10)

    outcome = run_in_virtual_time(scenario())
    sends = [(at_s, 1.0) for at_s, _ in outcome.accepted]
    assert fullest_window(sends) <= 120
    assert fullest_window(outcome.accepted) <= 240_000
    assert len(sends) >= 0.97 * 120 * 10


def test_a_rest_earns_no_burst() -> None:
    async def scenario() -> list[tuple[float, float]]:
        admission = Admission(max_concurrency=64, requests_per_minute=600)
        before = await saturate(admission, None, ones(), 1)
        await asyncio.sleep(300)
        after = await saturate(admission, None, ones(), 1)
        return before.accepted + after.accepted

    sends = run_in_virtual_time(scenario())
    assert fullest_window(sends) <= 600
    assert fullest_window(sends, width_s=1) <= 12


def test_without_limits_all_are_admitted_at_once() -> None:
    async def scenario() -> Outcome:
        admission = Admission(max_concurrency=1000)
        return await saturate(admission, None, bimodal(0), 0.002)

    outcome = run_in_virtual_time(scenario())
    assert [at_s for at_s, _ in outcome.accepted] == [0] * 64


# --- more of the same ----------------------------------------------------------------------------


@pytest.mark.torture
@kinds
@models
@rejections
@pytest.mark.parametrize("seed", range(3))
def test_limits_are_used_or_found_with_many_seeds(
    kind: str, model: Callable[..., ServerModel], counts_rejections: bool, seed: int
) -> None:
    most_refused = 0.03 if counts_rejections else 0.01
    limit = LIMITS[kind]
    for share, factor in ((1.0, 1), (0.7, 1), (0.1, 10)):
        outcome = outcome_of(
            kind,
            model,
            limit=factor * limit,
            real_limit=share * factor * limit,
            counts_rejections=counts_rejections,
            seed=seed,
        )
        if share == 1:
            require_full_use(outcome, limit)
        else:
            assert outcome.used_share(share * factor * limit, 0, 1800) >= 0.9, share
            assert outcome.refused_share <= most_refused, share


@pytest.mark.torture
@models
@pytest.mark.parametrize("seed", range(1, 10))
def test_a_limit_that_falls_and_comes_back_is_followed_with_many_seeds(
    model: Callable[..., ServerModel], seed: int
) -> None:
    refused, used_at_the_end = refused_while_the_limit_falls_and_rises(model, seed)
    assert refused <= 0.03
    assert used_at_the_end >= 0.9


@pytest.mark.torture
@pytest.mark.parametrize("model", [SlidingWindowServer, ShortSpanServer])
def test_in_real_time_a_limit_is_used_and_hardly_ever_refused(
    model: Callable[..., ServerModel],
) -> None:
    async def scenario() -> tuple[Outcome, float]:
        admission = Admission(max_concurrency=64, requests_per_minute=600)
        began_s = asyncio.get_running_loop().time()
        return await saturate(admission, model(600), ones(), 1), began_s

    outcome, began_s = asyncio.run(scenario())
    assert outcome.used_share(600, began_s, began_s + 60) >= 0.95
    assert outcome.refused_share <= 0.005
