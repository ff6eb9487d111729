"""Whom stages consult, and the journal of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from weave_async.asking.consulting import Advisor, Consultations
from weave_async.dispatch import Dispatcher
from weave_async.errors import RecipeError, WeaveError
from weave_async.interfaces import Provider
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.parts.endpoints import (
    described_sellers,
    endpoint_of,
    is_simulation,
    named_apart,
    refuse_shared_address,
)
from weave_async.recipe import MixEntry, Recipe
from weave_async.records import Consulted, Endpoint
from weave_async.rundir import RunFolder
from weave_async.settings import Settings

logger = logging.getLogger(__name__)


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
            advisors[whom] = Advisor(named_apart(endpoint, named))
        names.append(name)
    refuse_shared_address(names, settings)
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
    simulated = [name for name, each in advising.items() if is_simulation(each)]
    if simulated and not all(map(is_simulation, answering)):
        logger.warning(
            "real answers are judged or rewritten by %s, which makes its answers up: name a model "
            "as `endpoint` where a stage consults one",
            " and ".join(simulated),
        )
