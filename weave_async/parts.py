"""Recipe and settings → the parts of a run, each checked and built before anything is asked."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from weave_async import registry
from weave_async.asking.asker import Asker, ByEndpoint, Planned
from weave_async.asking.choices import Choices
from weave_async.asking.consulting import Advisor, Consultations
from weave_async.asking.failover import Failover
from weave_async.asking.regeneration import Regenerating
from weave_async.attributes import Choice
from weave_async.batch.batching import Batching
from weave_async.batch.lane import Lane
from weave_async.batch.ledger import Ledger
from weave_async.controller.controller import Controller
from weave_async.controller.decisions import DecisionLog
from weave_async.dispatch import Dispatcher
from weave_async.errors import RecipeError, RunFolderError, WeaveError
from weave_async.flow.budget import Budget, Cost
from weave_async.flow.descriptors import PER_CONNECTION, room_for_connections
from weave_async.flow.retry import Backoff
from weave_async.hedging import Hedging
from weave_async.interfaces import BatchApi, BatchProvider, Provider, Sink, Source
from weave_async.journal.calls import NOBODY, Seller
from weave_async.journal.journal import Journal
from weave_async.journal.segments import list_segments
from weave_async.metrics.ledger import RunMetrics
from weave_async.metrics.live import LiveMeter, Measuring, Meter
from weave_async.plan import Plan
from weave_async.pricing import Price, price_of
from weave_async.recipe import MixEntry, Part, Recipe
from weave_async.records import Consulted, Endpoint, Row
from weave_async.rundir import OUTPUTS, RunFolder
from weave_async.settings import ProviderTraits, Settings
from weave_async.sources.files import format_of, open_bytes, spool
from weave_async.sources.openai_batch import is_batch_line
from weave_async.stages import building
from weave_async.stages.building import AnyStage, PartSpec, StageSpec, cost_of
from weave_async.stages.repairing import Repair
from weave_async.stages.selecting import SelectingStage
from weave_async.workers.pool import WorkerPool

if TYPE_CHECKING:
    from weave_async.validation.json_schema import AnswerSchema

logger = logging.getLogger(__name__)

DEFAULT_MAX_CONCURRENCY = 16
MOST_WORKERS = 8
"""Unless a recipe says otherwise: each holds its parts, and maybe their models, in memory."""
MOST_SEEDS_COMPARED = 2000
ROWS_MEASURED_EXACTLY = 500
"""At the end of a run, which waits for it; compressing takes most of the time."""
ROUNDS_IN_FLIGHT = 3
"""So many times the requests in flight are asked while a round is decided, so that a slow answer
holds up none of them: by ``benchmarks/controller.py``, at a sigma of the latency of 0.5."""
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def endpoints_of(
    mix: Sequence[MixEntry], settings: Settings, *, default_model: str | None = None
) -> list[Endpoint]:
    """An endpoint per entry of the mix, each with a name of its own unless two are the same.

    ``default_model`` is what the source names, where nobody else names one.
    """
    named: dict[str, Endpoint] = {}
    endpoints = [
        _named_apart(endpoint_of(entry, settings, default_model=default_model), named)
        for entry in mix
    ]
    _refuse_shared_address([entry.endpoint for entry in mix], settings)
    return endpoints


def _named_apart(endpoint: Endpoint, named: dict[str, Endpoint]) -> Endpoint:
    """The endpoint under a name that is no other's, and noted as such."""
    count = 1
    while named.setdefault(endpoint.name, endpoint) != endpoint:
        count += 1
        endpoint = replace(endpoint, name=f"{endpoint.name.partition('#')[0]}#{count}")
    return endpoint


def consulted_by(stages: Iterable[object]) -> list[Consulted]:
    """Whom these stages, or their parts, say they may ask: each once."""
    return list(dict.fromkeys(whom for each in stages for whom in getattr(each, "consults", ())))


def advisors_of(
    consulted: Iterable[Consulted],
    recipe: Recipe,
    endpoints: Sequence[Endpoint],
    settings: Settings,
) -> dict[Consulted, Advisor]:
    """Who is meant by each. ``endpoints`` are those of the mix: one that is in it, with its model,
    is the same endpoint, with the limits that hold there; of others, the mix may say the options.
    """
    named = {endpoint.name: endpoint for endpoint in endpoints}
    mix = list(zip(recipe.generate.mix, endpoints, strict=True))
    advisors, names = {}, [entry.endpoint for entry, _ in mix]
    for whom in consulted:
        name = whom.endpoint or names[0]
        alike = [(entry, each) for entry, each in mix if entry.endpoint == name]
        of_mix = [each for _, each in alike if whom.model in (None, each.model)]
        if of_mix:
            advisors[whom] = Advisor(of_mix[0], recipe.generate.api)
            continue
        options = alike[0][0].options if alike else {}
        entry = MixEntry(endpoint=name, model=whom.model, options=options)
        try:
            endpoint = endpoint_of(entry, settings)
        except RecipeError as error:
            raise RecipeError(f"for a stage that consults '{name}': {error}") from error
        same = [each for each in endpoints if _is_same(each, endpoint)]
        if same:
            advisors[whom] = Advisor(same[0], recipe.generate.api)
        else:
            advisors[whom] = Advisor(_named_apart(endpoint, named))
        names.append(name)
    _refuse_shared_address(names, settings)
    return advisors


def _is_same(one: Endpoint, other: Endpoint) -> bool:
    """Whether one gate is to admit to both: the same limits count what is sent to either."""
    return replace(one, name="", mode="live") == replace(other, name="", mode="live")


def consultation_journal_of(
    folder: RunFolder,
    advisors: Mapping[Consulted, Advisor],
    providers: Mapping[str, Provider],
    *,
    on_trouble: Callable[[WeaveError], None],
) -> Journal | None:
    """What stages have asked models, and will ask; ``None`` where no run in this folder has.

    It is kept open while nobody is consulted, too: what earlier consultations have cost, counts.
    """
    if not advisors and not folder.consultations.is_dir():
        return None
    consulted = {advisor.endpoint.name: advisor.endpoint for advisor in advisors.values()}
    asks = {
        name: {"provider": each.provider, "model": each.model, "options": each.public_options}
        for name, each in consulted.items()
    }
    return Journal(
        folder.make_consultations(),
        asks={"consulted": asks},
        endpoints=described_sellers(consulted.values(), providers),
        on_trouble=on_trouble,
        require_ours=folder.require_lock,
    )


def consultations_of(
    recipe: Recipe,
    endpoints: Sequence[Endpoint],
    advisors: Mapping[Consulted, Advisor],
    providers: Mapping[str, Provider],
    dispatchers: Mapping[str, Dispatcher],
    *,
    journal: Journal,
    metrics: RunMetrics,
    is_replay: bool = False,
) -> Consultations:
    """How stages ask models; see ``Consultations`` for when to enter it. As a replay it needs
    neither providers nor dispatchers.
    """
    if not is_replay:
        advising = {advisor.endpoint.name for advisor in advisors.values()}
        _warn_of_simulated_advice(
            [providers[endpoint.name] for endpoint in endpoints],
            {name: providers[name] for name in sorted(advising)},
        )
    return Consultations(
        journal,
        advisors,
        dispatchers,
        metrics,
        run_seed=recipe.seed,
        send_seed=recipe.generate.send_seed,
        is_replay=is_replay,
    )


def _warn_of_simulated_advice(
    answering: Iterable[Provider], advising: Mapping[str, Provider]
) -> None:
    """Made-up verdicts on answers that somebody has paid for are worth nothing."""
    simulated = [name for name, each in advising.items() if _is_simulation(each)]
    if simulated and not all(map(_is_simulation, answering)):
        logger.warning(
            "real answers are judged or rewritten by %s, which makes its answers up: name a model "
            "as `endpoint` where a stage consults one",
            " and ".join(simulated),
        )


def _is_simulation(provider: Provider) -> bool:
    return bool(getattr(provider, "is_simulation", False))


def endpoint_of(
    entry: MixEntry, settings: Settings, *, default_model: str | None = None
) -> Endpoint:
    """The endpoint an entry of the mix means, once the environment has had its say."""
    named = settings.provider_of(entry.endpoint)
    provider = registry.load("provider", named, also_known=list(settings.endpoints))
    traits = ProviderTraits(
        getattr(provider, "default_model", None) or default_model,
        getattr(provider, "environment_fallback", None),
        getattr(provider, "trusting_options", ()),
    )
    return settings.endpoint(
        entry.endpoint, model=entry.model, options=entry.options, traits=traits, mode=entry.mode
    )


def providers_of(endpoints: Sequence[Endpoint]) -> dict[str, Provider]:
    """A provider for each endpoint, by name. What can be checked without asking is checked."""
    return {endpoint.name: _new_provider(endpoint) for endpoint in endpoints}


def _new_provider(endpoint: Endpoint) -> Provider:
    try:
        provider: Provider = registry.load("provider", endpoint.provider)(endpoint)
    except WeaveError:
        raise
    except Exception as error:  # a provider of somebody else's may raise anything
        raise RecipeError(
            f"provider '{endpoint.provider}' cannot be made: {type(error).__name__}: {error}"
        ) from error
    return provider


def dispatchers_of(
    recipe: Recipe,
    endpoints: Sequence[Endpoint],
    providers: Mapping[str, Provider],
    journal: Journal,
    *,
    on_retry: Callable[[str], None],
    consultations: Journal | None = None,
    vocabularies: Path | None = None,
) -> dict[str, Dispatcher]:
    """A dispatcher for each endpoint, by name, all within one budget.

    What earlier runs have spent on ``consultations`` counts, too.
    """
    named = {endpoint.name: endpoint for endpoint in endpoints}
    sellers = sellers_of(named.values(), providers)
    prices = prices_of(sellers) if recipe.budget.usd is not None else {}
    journals = [journal] if consultations is None else [journal, consultations]
    budget = _budget_of(recipe, journals, prices)
    started = {name: _start_concurrency(e, providers[name]) for name, e in named.items()}
    most = _fitted(
        {name: endpoint.max_concurrency or started[name] for name, endpoint in named.items()}
    )
    return {
        name: Dispatcher(
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


def measuring_of(
    recipe: Recipe,
    source: Source,
    *,
    mix: Sequence[Mapping[str, Any]],
    most_expected: int,
    ledger: RunMetrics,
) -> Measuring | None:
    """The meters of what is written, ``None`` where the recipe wants none. They are made when there
    is something to measure. ``mix`` is the recipe's, with the models that are asked in truth.
    """
    measure = recipe.measure
    if measure is None:
        return None
    if measure.embedder == "minilm":
        _require_minilm()

    def meters() -> tuple[LiveMeter, Meter]:
        # These load numpy.
        from weave_async.features.embeddings import MiniLmEmbedder, NgramEmbedder
        from weave_async.metrics.bias.meter import BiasMeter
        from weave_async.metrics.bias.targets import targets_of
        from weave_async.metrics.meter import DiversityMeter

        diversity = DiversityMeter(
            recipe.seed,
            embedder=MiniLmEmbedder() if measure.embedder == "minilm" else NgramEmbedder(),
            seeds_texts=_texts_of_seeds(source),
            attribute_values=_attribute_values(recipe),
            max_rows=ROWS_MEASURED_EXACTLY,
        )
        targets = targets_of({**recipe.resolved(), "generate": {"mix": mix}})
        return diversity, BiasMeter(recipe.seed, targets=targets, label=measure.label)

    return Measuring(meters, seed=recipe.seed, most_expected=most_expected, ledger=ledger)


def _require_minilm() -> None:
    from weave_async.features.embeddings import has_minilm  # loads numpy

    if not has_minilm():
        raise RecipeError(
            "measure.embedder: minilm needs an extra that is not installed: pip install "
            "'weave-async[embeddings]', or take ngrams"
        )


def _attribute_values(recipe: Recipe) -> dict[str, list[Any]]:
    """What attributes can be, of those that are one of a list."""
    attributes = recipe.prompts.attributes.items()
    return {name: each.choice for name, each in attributes if isinstance(each, Choice)}


def _texts_of_seeds(source: Source) -> Iterator[str]:
    """What answers are compared with, to tell what in them is new: the texts of the first rows."""
    rows = (row for row in source.rows() if isinstance(row, Row))
    for row in islice(rows, MOST_SEEDS_COMPARED):
        yield "\n".join(value for value in row.values.values() if isinstance(value, str))


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
            _compiled(recipe.answer_schema),
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
        weights = kinds.setdefault(_is_simulation(providers[endpoint.name]), {})
        weights[endpoint.name] = weights.get(endpoint.name, 0.0) + entry.weight
    return ByEndpoint(
        {
            name: asker
            for weights in kinds.values()
            for asker in [Failover(dispatchers, weights)]
            for name in weights
        }
    )


def decisions_of(plan: Plan, folder: RunFolder) -> DecisionLog | None:
    """What a controller has decided in this folder; from now on the plan draws by it."""
    if plan.steering is None:
        return None
    log = DecisionLog(folder.decisions, plan.steering.shape)
    plan.steering.take(log.decisions)
    return log


def controller_of(
    recipe: Recipe,
    plan: Plan,
    log: DecisionLog | None,
    endpoints: Sequence[Endpoint],
    *,
    max_concurrency: int,
) -> Controller | None:
    """What decides how later samples are drawn, where the recipe wants that."""
    wanted, steering = recipe.controller, plan.steering
    if wanted is None or steering is None or log is None:
        return None
    if any(endpoint.mode == "batch" for endpoint in endpoints):
        raise RecipeError(
            "a controller decides by what has come what is asked next, and a batch is asked all at "
            "once: set controller: off, or mode: live"
        )
    size = steering.round_size
    if size < plan.num_samples <= steering.num_free_rounds * size:
        logger.warning(
            "the controller will decide nothing: the first %d rounds of %d samples are drawn as "
            "the recipe says, and there are %d samples; set controller.round to less",
            steering.num_free_rounds,
            size,
            plan.num_samples,
        )
    elif size * steering.lag < ROUNDS_IN_FLIGHT * max_concurrency:
        logger.warning(
            "controller.round × controller.lag, %d, is less than %d times the %d requests that can "
            "be in flight: some will wait for its decisions",
            size * steering.lag,
            ROUNDS_IN_FLIGHT,
            max_concurrency,
        )
    return Controller(
        steering,
        log,
        run_seed=recipe.seed,
        num_samples=plan.num_samples,
        endpoints=[endpoint.name for endpoint in endpoints],
        group_size=recipe.generate.n,
        floor=wanted.floor,
        step=wanted.step,
        memory=wanted.memory,
    )


def _hedging_of(recipe: Recipe) -> Hedging | None:
    hedge = recipe.generate.hedge
    return None if hedge is None else Hedging(hedge.after, most=hedge.most)


def sellers_of(
    endpoints: Iterable[Endpoint], providers: Mapping[str, Provider]
) -> dict[str, Seller]:
    """Model and address of each endpoint, by name, as the journal keeps them."""
    return {
        endpoint.name: Seller(
            endpoint.model,
            endpoint.base_url or getattr(providers[endpoint.name], "default_base_url", None),
        )
        for endpoint in endpoints
    }


def described_sellers(
    endpoints: Iterable[Endpoint], providers: Mapping[str, Provider]
) -> dict[str, dict[str, Any]]:
    """The same as the journal's opening tells it: never a key."""
    return {
        name: {"model": seller.model, "address": seller.address}
        for name, seller in sellers_of(endpoints, providers).items()
    }


def prices_of(sellers: Mapping[str, Seller]) -> dict[str, Price | None]:
    """What a token costs at each endpoint; ``None`` where nobody knows."""
    return {name: _price_of(seller) for name, seller in sellers.items()}


def _price_of(seller: Seller) -> Price | None:
    model, address = seller.model, seller.address
    if model is None or address is None or urlsplit(address).hostname in _THIS_MACHINE:
        return None
    return price_of(model, base_url=address)


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
    earlier = {seller: _price_of(seller) for seller in sellers}
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


def _start_concurrency(endpoint: Endpoint, provider: Provider) -> int:
    suggested = getattr(provider, "default_max_concurrency", DEFAULT_MAX_CONCURRENCY)
    if not isinstance(suggested, int) or suggested < 1:
        raise RecipeError(
            f"provider '{endpoint.provider}': its default_max_concurrency is {suggested!r}"
        )
    return suggested


def usual_concurrency(endpoints: Iterable[Endpoint], providers: Mapping[str, Provider]) -> int:
    """Requests in flight that these endpoints begin with; adaptive ones may come to more."""
    named = {endpoint.name: endpoint for endpoint in endpoints}
    return sum(
        endpoint.max_concurrency or _start_concurrency(endpoint, providers[name])
        for name, endpoint in named.items()
    )


def _fitted(concurrency: dict[str, int]) -> dict[str, int]:
    """What is wanted of each endpoint, cut down to the connections that this process may open."""
    wanted = sum(concurrency.values())
    room = room_for_connections(wanted)
    if room == wanted:
        return concurrency
    logger.warning(
        "only %d of %d requests can be in flight, as this process may not open more files: "
        "raise the limit with `ulimit -n %d`",
        room,
        wanted,
        wanted * PER_CONNECTION + 128,
    )
    return {name: max(1, wanted_here * room // wanted) for name, wanted_here in concurrency.items()}


def stage_spec_of(recipe: Recipe, *, explains_all: bool = False) -> StageSpec:
    """What noise and validation are built from, here and in the workers."""
    return StageSpec(
        seed=recipe.seed,
        noise=_specs(recipe, "noise", recipe.noise),
        validation=_specs(recipe, "validator", recipe.validation),
        schema=recipe.answer_schema,
        explains_all=explains_all,
    )


def workers_of(recipe: Recipe, spec: StageSpec, stages: Sequence[AnyStage]) -> WorkerPool | None:
    """Where what the event loop would suffer from runs; ``None`` if there can be no such thing.

    Where all stages are light, only long samples come here: the workers start with the first one.
    """
    if not (spec.noise or spec.validation or spec.schema):
        return None
    limits = recipe.stages
    return WorkerPool(
        building.BUILD,
        spec.as_dict(),
        num_workers=limits.workers or min(MOST_WORKERS, max(1, len(os.sched_getaffinity(0)) - 1)),
        deadline_s=limits.deadline,
        memory_bytes=limits.memory_mb << 20,
        starts_late=all(cost_of(stage) != building.IN_WORKERS for stage in stages),
    )


def selectors_of(recipe: Recipe) -> list[SelectingStage]:
    stages = building.selectors_of(_specs(recipe, "selector", recipe.selection))
    rules = [part.name for part in recipe.validation]
    for stage in stages:
        for name in getattr(stage.rule, "rules_read", ()):
            if name.partition("#")[0] not in rules:
                unknown = registry.unknown("rule", name, rules, where=" in 'validation'")
                raise RecipeError(f"{stage.kind} '{stage.name}': {unknown}")
    if recipe.accept is not None and any(stage.is_final for stage in stages):
        raise RecipeError(
            f"accept: {recipe.accept} ends the asking at so many written samples, and "
            f"'{stages[-1].name}' writes none before it has seen all: give `candidates` instead"
        )
    return stages


def _specs(recipe: Recipe, kind: str, parts: Sequence[Part]) -> list[PartSpec]:
    return [
        PartSpec(part.name, registry.located(kind, part.name, part.options, recipe.folder))
        for part in parts
    ]


def repair_of(recipe: Recipe, endpoints: Sequence[Endpoint]) -> Repair | None:
    """How rejected answers are asked for again: of whoever has given them."""
    if not recipe.repairs:
        return None
    mix = zip(recipe.generate.mix, endpoints, strict=True)
    whom = {each.name: Consulted(entry.endpoint, each.model) for entry, each in mix}
    return Repair(recipe.repairs, whom)


def columns_read_by(stages: Iterable[Any]) -> dict[str, list[str]]:
    """The columns and attributes of prompts that stages need, by the name of the stage."""
    needed = {}
    for stage in stages:
        part = getattr(stage, "rule", None)
        names = [*getattr(part, "columns_read", ())]
        if (options := getattr(stage, "options", None)) is not None:
            names += options.protect_fields
        if names:
            needed[f"{stage.kind} '{stage.name}'"] = names
    return needed


def _compiled(schema: Mapping[str, Any]) -> AnswerSchema:
    from weave_async.validation.json_schema import AnswerSchema  # loads jsonschema

    return AnswerSchema(schema)


def _refuse_shared_address(names: Sequence[str], settings: Settings) -> None:
    """One address and key cannot be meant for several endpoints of different names."""
    unnamed = sorted({name for name in names if name not in settings.endpoints})
    default = settings.default
    if len(unnamed) > 1 and default.provider is None and (default.base_url or default.api_key):
        raise RecipeError(
            f"WEAVE_ASYNC_BASE_URL and WEAVE_ASYNC_API_KEY could be meant for {unnamed[0]} or for "
            f"{unnamed[1]}: give each an endpoint of its own, WEAVE_ASYNC_ENDPOINTS__NAME__BASE_URL"
        )


def sinks_of(recipe: Recipe) -> list[Sink]:
    """The writers of the dataset's formats."""
    return [_new_sink(name) for name in recipe.output.to]


def _new_sink(name: str) -> Sink:
    sink: Sink = registry.build("sink", name, {})
    if not isinstance(getattr(sink, "suffix", None), str) or not hasattr(sink, "encode"):
        raise RecipeError(f"sink '{name}' needs a suffix and an encode: see interfaces.Sink")
    return sink


def source_of(recipe: Recipe, stack: AsyncExitStack | ExitStack) -> Source:
    """The source a recipe names. Standard input is copied first: a run reads its source twice."""
    if recipe.prompts.source == "-":
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="weave-async-"))
        path = spool(sys.stdin.buffer, Path(folder))
    else:
        path = recipe.folder / recipe.prompts.source
    return _source_at(path)


def refuse_own_source(recipe: Recipe, folder: RunFolder) -> None:
    """A run that read what it writes would never be the same again."""
    ours = folder.path.resolve()
    for name in _read_by(recipe):
        try:
            path = (recipe.folder / name).resolve()
        except (OSError, RuntimeError, ValueError):  # a loop of links, say: whoever reads it tells
            continue
        if path == ours:
            raise RecipeError(
                f"{name} is the folder that this run writes: choose another one with -o"
            )
        if path.parent == ours and path.stem in OUTPUTS:
            raise RecipeError(f"{name} is a file that this run writes: choose another -o")


def _read_by(recipe: Recipe) -> Iterator[str]:
    """The files and folders whose rows a recipe names."""
    examples = recipe.prompts.examples
    if recipe.prompts.source != "-":
        yield recipe.prompts.source
    if examples is not None and examples.source is not None:
        yield examples.source
    for kind, parts in (("validator", recipe.validation), ("selector", recipe.selection)):
        for part in parts:
            yield from registry.paths_in(kind, part.name, part.options)


def model_of_source(recipe: Recipe) -> str | None:
    """The model that the source of a recipe names, as far as it can be told without a run."""
    if recipe.prompts.source == "-":
        return None
    try:
        source = _source_at(recipe.folder / recipe.prompts.source)
        model: str | None = getattr(source, "model", None)
    except WeaveError:  # it is for the run to tell what is wrong with its prompts
        return None
    return model


def examples_source_of(recipe: Recipe) -> Source | None:
    """The source of examples, where it is another than that of the prompts."""
    examples = recipe.prompts.examples
    if examples is None or examples.source is None:
        return None
    return _source_at(recipe.folder / examples.source)


def _source_at(path: Path) -> Source:
    source: Source = registry.build("source", _format_of(path), {"path": path})
    return source


def _format_of(path: Path) -> str:
    """By its name; a batch file is JSON Lines by name, and told by its first line."""
    if path.is_dir():
        return "run"
    by_name = format_of(path)
    if by_name != "jsonl" or not path.is_file():
        return by_name
    with open_bytes(path) as lines:
        first = next((line for line in lines if line.strip()), b"")
    return "openai_batch" if is_batch_line(first) else by_name


def endpoints_asked(folder: RunFolder, recipe: Recipe) -> list[Endpoint]:
    """Who was asked last, by the journal: a run may have been sent elsewhere than its recipe says.

    Neither addresses nor keys: nobody is asked now.
    """
    segments = list_segments(folder.journal) if folder.journal.is_dir() else []
    mix = segments[-1].opening.get("asks", {}).get("mix", []) if segments else []
    names = list(segments[-1].opening.get("endpoints", ())) if segments else []
    if len(names) != len(mix):  # two entries of the mix are one endpoint
        names = [f"{entry.get('provider')}#{number}" for number, entry in enumerate(mix)]
    if not mix:
        raise RunFolderError(
            f"{folder.journal} is empty, so that nothing tells who was asked: nothing has come "
            "back yet. Run the same command again"
        )
    if len(mix) != len(recipe.generate.mix):
        raise RunFolderError(f"{folder.recipe} is not the recipe of the journal beside it")
    return [
        Endpoint(
            name,
            entry.get("provider"),
            entry.get("model"),
            options=entry.get("options") or {},
        )
        for name, entry in zip(names, mix, strict=True)
    ]


def num_samples_asked(folder: RunFolder, recipe: Recipe) -> int | None:
    """How many the run was told to ask for; ``None`` where that is for the recipe to say."""
    manifest = folder.read_manifest()
    if manifest is None or recipe.accept is not None:
        return None
    asked, copies = manifest.get("asked"), manifest.get("copies", 0)
    if not isinstance(asked, int) or not isinstance(copies, int):
        return None
    return asked - copies if asked > copies else None
