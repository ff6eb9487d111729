"""What watches: measuring, and the controller with its decisions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from weave_async.attributes import Choice
from weave_async.controller.controller import Controller
from weave_async.controller.decisions import DecisionLog
from weave_async.errors import RecipeError
from weave_async.interfaces import Source
from weave_async.metrics.ledger import RunMetrics
from weave_async.metrics.live import LiveMeter, Measuring, Meter
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Row
from weave_async.rundir import RunFolder

logger = logging.getLogger(__name__)

MOST_SEEDS_COMPARED = 2000
ROWS_MEASURED_EXACTLY = 500
"""At the end of a run, which waits for it; compressing takes most of the time."""
ROUNDS_IN_FLIGHT = 3
"""So many times the requests in flight are asked while a round is decided, so that a slow answer
holds up none of them: by ``benchmarks/controller.py``, at a sigma of the latency of 0.5."""


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
