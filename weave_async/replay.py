"""A run's answers, once more through its stages, or through others. Nothing is asked or written.

The answers come from the journal, as they would in a run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from weave_async.asking.consulting import Advisor, Consultations
from weave_async.engine import BATCH
from weave_async.errors import ConsultationNeeded, RecipeError, RunFolderError, Unsent
from weave_async.interfaces import Consult
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.metrics.stage_times import StageTimes
from weave_async.parts.consulting import advisors_of, consulted_by
from weave_async.parts.endpoints import endpoints_asked
from weave_async.parts.reading import examples_source_of, num_samples_asked, source_of
from weave_async.parts.sending import repair_of
from weave_async.parts.staging import columns_read_by, selectors_of, stage_spec_of, workers_of
from weave_async.parts.steering import decisions_of
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Consulted, Message, Response, Sample
from weave_async.rundir import RunFolder
from weave_async.settings import Settings
from weave_async.sharding import Shard
from weave_async.stages.building import stages_of
from weave_async.stages.interface import ConsultFor
from weave_async.stages.noising import most_variants
from weave_async.stages.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Replay:
    """A run that is replayed, by the stages of ``recipe``. It goes through its answers once."""

    folder: RunFolder
    recipe: Recipe
    most_copies: int
    _answers: Iterator[Sample]
    _pipeline: Pipeline

    async def batches(self) -> AsyncIterator[tuple[Sequence[Sample], Sequence[Sample]]]:
        """Answers, and what noise and validation make of them; those that a model would have to be
        asked about are left out.
        """
        while batch := list(islice(self._answers, BATCH)):
            yield batch, await self._pipeline.process(batch)

    async def selected(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        return await self._pipeline.selection.select(samples)

    async def held(self) -> Iterator[Sample]:
        """At the end, those that a final selector has decided about."""
        return await self._pipeline.selection.held()

    async def written(self) -> AsyncIterator[Sample]:
        """The samples that would be written, in order."""
        num_written = 0
        most = self.recipe.accept
        async for _, judged in self.batches():
            for sample in await self.selected(judged):
                is_written = sample.rejection is None and sample.failure is None
                if is_written and (most is None or num_written < most):
                    num_written += 1
                    yield sample
        for sample in await self.held():
            if sample.rejection is None:
                yield sample


@asynccontextmanager
async def replaying(path: Path, changed: Recipe | None = None) -> AsyncIterator[Replay]:
    """The run in ``path``, by the stages of its recipe or by those of another one.

    Raises ``RunLockedError`` while the run goes on, and ``RecipeError`` where its prompts cannot be
    made again, as those from standard input.
    """
    folder = RunFolder(path)
    folder.require_run()
    recipe = _with_stages_of(Recipe.load(folder.recipe), changed)
    if recipe.prompts.source == "-":
        raise RecipeError(f"{path} was made from standard input, which nobody has any more")
    async with AsyncExitStack() as stack:
        source = source_of(recipe, stack)
        spec = stage_spec_of(recipe)
        shard = Shard.told(folder.read_shard())
        stages, selectors = stages_of(spec), selectors_of(recipe) if shard is None else []
        endpoints = endpoints_asked(folder, recipe)
        plan = Plan(
            recipe,
            source,
            endpoints,
            num_samples=num_samples_asked(folder, recipe),
            examples=examples_source_of(recipe),
            shard=shard,
        )
        plan.require_columns(columns_read_by([*stages, *selectors]))
        folder.open()
        stack.callback(folder.close)
        decisions_of(plan, folder)
        journal = Journal(folder.journal, asks=plan.asks())
        stack.callback(journal.close)
        _refuse_lost_decisions(plan, journal, folder)
        workers = workers_of(recipe, spec, stages)
        if workers is not None:
            await stack.enter_async_context(workers)
        repair = repair_of(recipe, endpoints)
        consulted = consulted_by([*stages, repair])
        advisors = advisors_of(consulted, recipe, endpoints, Settings.from_environment())
        pipeline = Pipeline(
            stages,
            selectors,
            StageTimes(),
            workers=workers,
            consult_for=_recalling(folder, recipe, advisors, stack) if advisors else None,
            repair=repair,
        )
        stack.callback(pipeline.selection.close)
        await pipeline.selection.prepare()
        yield Replay(folder, recipe, most_variants(stages), _answers(plan, journal), pipeline)


def _refuse_lost_decisions(plan: Plan, journal: Journal, folder: RunFolder) -> None:
    """Answers that nobody can draw the prompts of any more would silently be left out."""
    if not journal.asked_alike:
        return
    for ordinal, sample_id in enumerate(plan.sample_ids()):
        if not plan.is_decided(ordinal) and journal.may_hold(sample_id):
            raise RunFolderError(
                f"the journal in {folder.path} holds answers to what {folder.decisions} does not "
                "tell of: restore it from a copy, or run again with --accept-changes"
            )


def _with_stages_of(recipe: Recipe, changed: Recipe | None) -> Recipe:
    if changed is None:
        return recipe
    keys = ("noise", "validation", "selection", "repairs", "stages")
    resolved = changed.with_absolute_paths().model_dump()
    return recipe.with_changes(**{key: resolved[key] for key in keys})


def _recalling(
    folder: RunFolder,
    recipe: Recipe,
    advisors: Mapping[Consulted, Advisor],
    stack: AsyncExitStack,
) -> ConsultFor:
    """How stages get what models have told them before. What they would have to ask leaves the
    sample out, as at the end of a run.
    """
    place = folder.consultations
    if not place.is_dir():
        place = Path(stack.enter_context(TemporaryDirectory(prefix="weave-async-")))
    journal = Journal(place, asks={})
    stack.callback(journal.close)
    consultations = Consultations(
        journal,
        advisors,
        {},
        RunMetrics(),
        run_seed=recipe.seed,
        send_seed=recipe.generate.send_seed,
        is_replay=True,
    )

    def consult_for(sample: Sample, stage: str) -> Consult:
        recall = consultations.consult_for(sample, stage)

        async def consult(whom: Consulted, messages: Sequence[Message], **how: Any) -> Response:
            try:
                return await recall(whom, messages, **how)
            except ConsultationNeeded as error:
                raise Unsent from error

        return consult

    return consult_for


def _answers(plan: Plan, journal: Journal) -> Iterator[Sample]:
    for sample in plan.samples(plan.is_decided):
        answered = journal.recall(sample) if journal.may_hold(sample.sample_id) else None
        if answered is not None and answered.failure is None:
            yield answered
