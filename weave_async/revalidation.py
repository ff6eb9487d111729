"""What other rules would make of the answers that a run has bought. Nothing is asked or written.

The answers come from the journal, as they would in a run; what became of their samples before, the
outputs tell. Of each earlier row 16 bytes are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import orjson

from weave_async.asking.consulting import Advisor, Consultations
from weave_async.errors import (
    ConsultationNeeded,
    InputError,
    RecipeError,
    RunFolderError,
    Unsent,
)
from weave_async.interfaces import Consult
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.metrics.stage_times import StageTimes
from weave_async.parts import (
    advisors_of,
    columns_read_by,
    consulted_by,
    decisions_of,
    endpoints_asked,
    examples_source_of,
    num_samples_asked,
    repair_of,
    selectors_of,
    source_of,
    stage_spec_of,
    workers_of,
)
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Consulted, Message, Response, Sample
from weave_async.rundir import RunFolder, open_regular
from weave_async.settings import Settings
from weave_async.stages.building import stages_of
from weave_async.stages.interface import ConsultFor
from weave_async.stages.noising import most_variants
from weave_async.stages.pipeline import Pipeline

BATCH = 128
MAX_EXAMPLES = 3
NEW = "new"
State = Literal["written", "rejected"]
_STEMS: dict[str, State] = {"samples": "written", "rejected": "rejected"}


@dataclass(frozen=True, slots=True)
class Change:
    """A sample that would end otherwise than it has, as an example of others."""

    sample_id: str
    before: str
    after: str
    completion: str


@dataclass(slots=True)
class Revalidation:
    """What would change. ``changes`` counts by how a sample has ended and how it would:
    ``written``, or the rule and the reason of its rejection; ``new`` for one that was not there.
    ``reworded`` samples would be written as before, with other texts.
    """

    num_answers: int = 0
    written_before: int = 0
    written: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    reworded: int = 0
    gone: int = 0
    """Samples that there would no longer be, as copies."""
    undecided: int = 0
    """Samples on which nobody can decide without asking a model."""
    examples: list[Change] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        changes = [
            {"before": before, "after": after, "samples": count}
            for (before, after), count in self.changes.most_common()
        ]
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**told, "rejected": dict(self.rejected.most_common()), "changes": changes}


async def revalidate(path: Path, changed: Recipe | None = None) -> Revalidation:
    """Judge the answers of the run in ``path`` anew, by the stages of its recipe, or of another.

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
        stages, selectors = stages_of(spec), selectors_of(recipe)
        endpoints = endpoints_asked(folder, recipe)
        plan = Plan(
            recipe,
            source,
            endpoints,
            num_samples=num_samples_asked(folder, recipe),
            examples=examples_source_of(recipe),
        )
        plan.require_columns(columns_read_by([*stages, *selectors]))
        folder.open()
        stack.callback(folder.close)
        decisions_of(plan, folder)
        journal = Journal(folder.journal, asks=plan.asks())
        stack.callback(journal.close)
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
        found = Revalidation()
        before = _ends_before(folder)
        found.written_before = sum(end == "written" for end, _ in before.values())
        answers = _answers(plan, journal)
        while batch := list(islice(answers, BATCH)):
            found.num_answers += len(batch)
            judged = await pipeline.process(batch)
            undecided = {sample.sample_id for sample in batch}
            undecided.difference_update(sample.answer_id for sample in judged)
            found.undecided += len(undecided)
            _leave_out(before, undecided, most_copies=most_variants(stages))
            for sample in await pipeline.selection.select(judged):
                if recipe.accept is None or found.written < recipe.accept:
                    _compare(found, before, sample)
        for sample in await pipeline.selection.held():
            _compare(found, before, sample)
        found.gone = len(before)
    return found


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


def _leave_out(
    before: dict[int, tuple[str, int]], undecided: Iterable[str], most_copies: int
) -> None:
    """Samples, and their copies, of which nobody can say what would become of them."""
    for name in undecided:
        for each in (name, *(f"{name}~{copy}" for copy in range(1, most_copies))):
            before.pop(hash(each), None)


def _answers(plan: Plan, journal: Journal) -> Iterator[Sample]:
    for sample in plan.samples(plan.is_decided):
        answered = journal.recall(sample) if journal.may_hold(sample.sample_id) else None
        if answered is not None and answered.failure is None:
            yield answered


def _ends_before(folder: RunFolder) -> dict[int, tuple[str, int]]:
    """How each sample has ended, and a digest of its texts, by a digest of its name."""
    ends = {}
    for stem, state in _STEMS.items():
        for where, row in _rows(folder.path / f"{stem}.jsonl"):
            try:
                end = state if state == "written" else f"{row['rule']}: {row['reason']}"
                ends[hash(row["sample_id"])] = end, _digest(row["messages"])
            except (KeyError, TypeError) as error:
                raise InputError(f"{where} is no row of ours: {error!r}; try `verify`") from error
    if not ends:
        raise RunFolderError(f"{folder.path} has no rows yet: run it to its end first")
    return ends


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not path.exists():
        return
    with open_regular(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield f"{path}:{number}", orjson.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number} is no row of ours: {error}") from error


def _digest(messages: Sequence[Any]) -> int:
    return hash(orjson.dumps(messages))


def _compare(found: Revalidation, before: dict[int, tuple[str, int]], sample: Sample) -> None:
    """Count what has become of a sample, beside what had; ``before`` loses its entry."""
    rejection = sample.rejection
    after = "written" if rejection is None else f"{rejection.rule}: {rejection.reason}"
    if rejection is None:
        found.written += 1
    else:
        found.rejected[after] += 1
    was, digest = before.pop(hash(sample.sample_id), (NEW, 0))
    if was == after:
        found.reworded += rejection is None and digest != _digest(sample.messages)
        return
    found.changes[was, after] += 1
    if found.changes[was, after] <= MAX_EXAMPLES:
        found.examples.append(Change(sample.sample_id, was, after, sample.completion))
