"""What asks: dispatchers and lanes of batches, choices and repairs of form, the budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weave_async.asking.asker import Asker, ByEndpoint, Planned
from weave_async.asking.choices import Choices
from weave_async.asking.failover import Failover
from weave_async.asking.regeneration import Regenerating
from weave_async.batch.batching import Batching
from weave_async.batch.lane import Lane
from weave_async.batch.ledger import Ledger
from weave_async.dispatch import Dispatcher
from weave_async.errors import RecipeError
from weave_async.flow.budget import Budget, Cost
from weave_async.flow.retry import Backoff
from weave_async.hedging import Hedging
from weave_async.interfaces import BatchApi, BatchProvider, Provider
from weave_async.journal.calls import NOBODY
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.parts.endpoints import (
    fitted_concurrency,
    is_simulation,
    price_at,
    prices_of,
    sellers_of,
    start_concurrency_of,
)
from weave_async.plan import Plan
from weave_async.pricing import Price
from weave_async.recipe import Recipe
from weave_async.records import Consulted, Endpoint
from weave_async.rundir import RunFolder
from weave_async.stages.repairing import Repair

if TYPE_CHECKING:
    from weave_async.validation.json_schema import AnswerSchema


def dispatchers_of(
    recipe: Recipe,
    endpoints: Sequence[Endpoint],
    providers: Mapping[str, Provider],
    journal: Journal,
    *,
    on_retry: Callable[[str], None],
    consultations: Journal | None = None,
    vocabularies: Path | None = None,
    new_dispatcher: Callable[..., Dispatcher] = Dispatcher,
) -> dict[str, Dispatcher]:
    """A dispatcher for each endpoint, by name, all within one budget.

    What earlier runs have spent on ``consultations`` counts, too.
    """
    named = {endpoint.name: endpoint for endpoint in endpoints}
    sellers = sellers_of(named.values(), providers)
    prices = prices_of(sellers) if recipe.budget.usd is not None else {}
    journals = [journal] if consultations is None else [journal, consultations]
    budget = _budget_of(recipe, journals, prices)
    started = {name: start_concurrency_of(e, providers[name]) for name, e in named.items()}
    most = fitted_concurrency(
        {name: endpoint.max_concurrency or started[name] for name, endpoint in named.items()}
    )
    return {
        name: new_dispatcher(
            endpoint,
            providers[name],
            max_concurrency=most[name] if endpoint.max_concurrency else None,
            start_concurrency=most[name],
            backoff=Backoff(attempts=recipe.generate.attempts),
            on_retry=on_retry,
            log=journal,
            epoch=journal.epoch,
            budget=budget,
            price=prices.get(name),
            hedging=_hedging_of(recipe),
            vocabularies=vocabularies if budget or endpoint.tokens_per_minute else None,
        )
        for name, endpoint in named.items()
    }


def batching_of(
    recipe: Recipe,
    folder: RunFolder,
    providers: Mapping[str, Provider],
    dispatchers: Mapping[str, Dispatcher],
    *,
    plan: Plan,
    journal: Journal,
    metrics: RunMetrics,
    accept_changes: bool,
) -> Batching | None:
    """What asks those endpoints that are to be asked in batches; ``None`` where nothing is."""
    names = [name for name, each in dispatchers.items() if each.endpoint.mode == "batch"]
    ledger = Ledger(folder.batches)
    if not names and not ledger.unfinished():
        return None
    ledger.begin()
    lanes = {
        name: Lane(
            api=_batch_api_of(dispatchers[name].endpoint, providers[name]),
            dispatcher=dispatchers[name],
            ledger=ledger,
            folder=folder.batches,
            request_api=recipe.generate.api,
        )
        for name in names
    }
    return Batching(
        lanes,
        ledger=ledger,
        folder=folder.batches,
        plan=plan,
        journal=journal,
        metrics=metrics,
        max_requests=recipe.generate.batch.max_requests,
        max_bytes=recipe.generate.batch.max_bytes,
        require_ours=folder.require_lock,
        accept_changes=accept_changes,
    )


def _batch_api_of(endpoint: Endpoint, provider: Provider) -> BatchApi:
    if not isinstance(provider, BatchProvider):
        raise RecipeError(
            f"endpoint '{endpoint.name}' cannot be asked in mode batch: provider "
            f"'{endpoint.provider}' has no batch API"
        )
    return provider.batch_api()


def asker_of(
    recipe: Recipe,
    dispatchers: Mapping[str, Dispatcher],
    endpoints: Sequence[Endpoint],
    providers: Mapping[str, Provider],
    *,
    journal: Journal,
    metrics: RunMetrics,
) -> Asker:
    """How a sample comes to its answer, over these endpoints."""
    asker = _sender_of(recipe, dispatchers, endpoints, providers)
    if recipe.generate.n > 1:
        asker = Choices(asker)
    if recipe.answer_schema is not None and recipe.generate.max_regenerations:
        asker = Regenerating(
            asker,
            compiled(recipe.answer_schema),
            max_regenerations=recipe.generate.max_regenerations,
            journal=journal,
            metrics=metrics,
        )
    return asker


def _sender_of(
    recipe: Recipe,
    dispatchers: Mapping[str, Dispatcher],
    endpoints: Sequence[Endpoint],
    providers: Mapping[str, Provider],
) -> Asker:
    """The innermost asker. A simulated answer must never stand in for a real one."""
    if recipe.generate.when_down == "wait" or len(dispatchers) == 1:
        return Planned(dispatchers)
    kinds: dict[bool, dict[str, float]] = {}
    for endpoint, entry in zip(endpoints, recipe.generate.mix, strict=True):
        if endpoint.mode == "batch":  # nobody has asked for its live price
            continue
        weights = kinds.setdefault(is_simulation(providers[endpoint.name]), {})
        weights[endpoint.name] = weights.get(endpoint.name, 0.0) + entry.weight
    return ByEndpoint(
        {
            name: asker
            for weights in kinds.values()
            for asker in [Failover(dispatchers, weights)]
            for name in weights
        }
    )


def _hedging_of(recipe: Recipe) -> Hedging | None:
    hedge = recipe.generate.hedge
    return None if hedge is None else Hedging(hedge.after, most=hedge.most)


def _budget_of(
    recipe: Recipe, journals: Sequence[Journal], prices: Mapping[str, Price | None]
) -> Budget | None:
    """What is left to spend, after the earlier runs in the folder."""
    wanted = recipe.budget
    if wanted.usd is None and wanted.tokens is None:
        return None
    usd = 0.0
    if wanted.usd is not None:
        usd = sum(_spent_usd(journal, prices) for journal in journals)
    spent = Cost(sum(journal.spent_tokens for journal in journals), usd)
    return Budget(max_tokens=wanted.tokens, max_usd=wanted.usd, already_spent=spent)


def _spent_usd(journal: Journal, prices: Mapping[str, Price | None]) -> float:
    """What earlier runs in the folder have cost at worst, each answer at its own model's price."""
    accounts = {seller: account for seller, account in journal.spent.items() if account.tokens}
    sellers = accounts.keys() - {NOBODY}
    if NOBODY in accounts:  # whose those calls were, nobody has said: any earlier one's
        sellers |= journal.all_sellers
    earlier = {seller: price_at(seller) for seller in sellers}
    for seller, price in earlier.items():
        if price is None:
            raise RecipeError(
                "a budget in money counts all runs in the folder, and the price of "
                f"'{seller.model}' at {seller.address} is not known: limit the tokens instead, or "
                "choose another folder with -o"
            )
    known = [price for price in (*prices.values(), *earlier.values()) if price is not None]
    dearest = max((max(price.input_usd, price.output_usd) for price in known), default=0.0)
    usd = 0.0
    for seller, account in accounts.items():
        settled_price = earlier.get(seller) or Price(dearest, dearest)
        usd += account.unsettled_tokens * dearest
        usd += settled_price.usd(
            input_tokens=account.input_tokens, output_tokens=account.output_tokens
        )
    return usd


def repair_of(recipe: Recipe, endpoints: Sequence[Endpoint]) -> Repair | None:
    """How rejected answers are asked for again: of whoever has given them."""
    if not recipe.repairs:
        return None
    mix = zip(recipe.generate.mix, endpoints, strict=True)
    whom = {each.name: Consulted(entry.endpoint, each.model) for entry, each in mix}
    return Repair(recipe.repairs, whom)


def compiled(schema: Mapping[str, Any]) -> AnswerSchema:
    from weave_async.validation.json_schema import AnswerSchema  # loads jsonschema

    return AnswerSchema(schema)
