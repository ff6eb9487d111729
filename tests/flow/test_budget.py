"""What is spent and what is reserved fit the budget, at any time."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave_async.errors import BudgetError
from weave_async.flow.admission import Admission
from weave_async.flow.budget import Budget, Cost
from weave_async.testing.virtual_time import run_in_virtual_time


def test_the_worst_case_is_reserved_and_what_it_cost_is_spent() -> None:
    budget = Budget(max_tokens=1000, max_usd=1.0)
    assert budget.reserve(Cost(600, 0.6), lambda: None)
    assert not budget.reserve(Cost(600, 0.1), lambda: None)
    budget.settle(Cost(600, 0.6), Cost(100, 0.1))
    assert budget.reserve(Cost(600, 0.6), lambda: None)
    assert (budget.spent, budget.reserved) == (Cost(100, 0.1), Cost(600, 0.6))


def test_what_can_never_fit_says_what_is_spent_and_what_to_do() -> None:
    budget = Budget(max_usd=2.0, already_spent=Cost(5, 1.5))
    with pytest.raises(BudgetError, match=r"\$2\.0.* \$1\.5.* \$0\.6.*raise the budget") as caught:
        budget.reserve(Cost(10, 0.6), lambda: None)
    assert caught.value.exit_code == 1


def test_who_does_not_fit_waits_as_long_as_something_may_still_cost_less() -> None:
    async def scenario() -> tuple[float, float]:
        budget = Budget(max_tokens=100)
        admission = Admission(max_concurrency=8, budget=budget)
        other = Admission(max_concurrency=8, budget=budget)
        loop = asyncio.get_running_loop()

        async def first() -> None:
            async with other.slot(tokens=80, cost=Cost(80)) as slot:
                await asyncio.sleep(5)
                slot.settle(10, Cost(10))

        task = asyncio.create_task(first())
        await asyncio.sleep(1)
        async with admission.slot(tokens=80, cost=Cost(80)) as slot:
            came_in_at_s = loop.time()
            slot.settle(80)
        await task
        with pytest.raises(BudgetError):
            async with admission.slot(tokens=80, cost=Cost(80)):
                pass
        return came_in_at_s, budget.spent.tokens

    assert run_in_virtual_time(scenario()) == (pytest.approx(5), 90)


def test_who_waits_is_told_when_nothing_is_left_that_could_cost_less() -> None:
    async def scenario() -> None:
        admission = Admission(max_concurrency=8, budget=Budget(max_tokens=100))

        async def one() -> None:
            async with admission.slot(tokens=80, cost=Cost(80)) as slot:
                await asyncio.sleep(1)
                slot.settle(80)

        tasks = [asyncio.create_task(one()) for _ in range(4)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), *[BudgetError] * 3]

    run_in_virtual_time(scenario())


def test_an_outcome_that_nobody_knows_stays_at_its_worst_case() -> None:
    async def scenario() -> Cost:
        budget = Budget(max_tokens=1000)
        admission = Admission(max_concurrency=8, budget=budget)
        with pytest.raises(KeyError):
            async with admission.slot(tokens=80, cost=Cost(80)):
                raise KeyError
        async with admission.slot(tokens=80, cost=Cost(80)) as slot:
            slot.missed("row", "timed out", is_billed=True)
        async with admission.slot(tokens=80, cost=Cost(80)) as slot:
            slot.missed("row", "503", is_billed=False)
        async with admission.slot(tokens=80, cost=Cost(80)) as slot:
            slot.throttled(1.0)
        return budget.spent

    assert run_in_virtual_time(scenario()) == Cost(160)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 5_000),
    st.lists(st.integers(1, 400), min_size=1, max_size=40),
)
def test_spent_and_reserved_never_exceed_the_budget(
    seed: int, max_tokens: int, worst: list[int]
) -> None:
    """Whatever ends how: answered, cut, cancelled, refused, over two endpoints."""

    async def scenario() -> None:
        rng = Random(seed)
        max_usd = max_tokens * 3e-6
        budget = Budget(max_tokens=max_tokens, max_usd=max_usd)
        admissions = [Admission(max_concurrency=3, budget=budget) for _ in range(2)]

        def check() -> None:
            assert budget.reserved.tokens >= 0
            assert budget.spent.tokens + budget.reserved.tokens <= max_tokens
            assert budget.spent.usd + budget.reserved.usd <= max_usd + 1e-9

        async def one(tokens: int) -> None:
            cost = Cost(tokens, tokens * 3e-6)
            async with rng.choice(admissions).slot(tokens=tokens, cost=cost) as slot:
                check()
                await asyncio.sleep(rng.random())
                real = rng.randint(0, tokens)
                match rng.randrange(5):
                    case 0:
                        slot.settle(real, Cost(real, real * 3e-6))
                    case 1:
                        slot.settle(None)
                    case 2:
                        slot.missed("row", "cut", is_billed=True)
                    case 3:
                        slot.throttled(0.1)
                    case _:
                        raise KeyError
            check()

        tasks = [asyncio.create_task(one(tokens)) for tokens in worst]
        await asyncio.sleep(rng.random())
        for task in rng.sample(tasks, len(tasks) // 4):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        check()
        assert budget.reserved == Cost(0, 0.0)

    run_in_virtual_time(scenario())


def test_it_shows_its_state() -> None:
    budget = Budget(max_tokens=10_000, max_usd=2.0, already_spent=Cost(1_500, 0.25))
    budget.reserve(Cost(2_000, 0.5), lambda: None)
    assert repr(budget) == (
        "<Budget 1,500 tokens and $0.2500 spent, 2,000 tokens and $0.5000 reserved>"
    )
