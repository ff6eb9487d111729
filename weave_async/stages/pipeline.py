"""The stages of a run, one after the other, each where it belongs.

::

    rules ─▶ judges ─▶ repair ─▶ noise ─▶ rules again ─▶ selection
            (the sample as it was answered)  (what noise has changed)  (in output order)

What came of asking is judged first, and once: by rules, by models, and after a repair anew. Of what
is good, noise makes its copies; they are of the same answer, so that nobody pays to have them
judged again, but the rules see what noise has changed.

Neighbours that run in the same place make a leg. Light stages stay on the event loop as long as all
of a leg are light; where one is not, they go to the workers with it: the way there costs the same
for one stage or for ten, and the loop belongs to the network. Long samples go there, too: what
takes microseconds on an answer takes a second on a megabyte. Several batches can be under way; only
selection, which looks at samples beside each other, takes one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from itertools import chain, compress, groupby, islice
from operator import itemgetter
from typing import NamedTuple, Protocol, TypeVar

from weave_async.errors import Unsent
from weave_async.metrics.rule_watch import RuleWatch
from weave_async.metrics.stage_times import StageTime, StageTimes
from weave_async.records import Sample
from weave_async.stages.building import IN_WORKERS, WITH_MODELS, AnyStage, cost_of
from weave_async.stages.guard import has_ended
from weave_async.stages.interface import ConsultFor, SampleStage
from weave_async.stages.judging import AskingJudgingStage
from weave_async.stages.noising import AskingNoiseStage
from weave_async.stages.repairing import Repair
from weave_async.stages.selecting import SelectingStage, Selection

T = TypeVar("T")
Ask = Callable[[Sample, ConsultFor], Awaitable[T]]

BATCHES_PER_WORKER = 2
"""So that a worker finds its next batch ready."""
MOST_CHARS_HERE = 10_000
"""Of a sample that is light work for light stages: the worst text takes about 2 ms for 1,000."""
CHARS_AT_A_TIME = 20_000
"""After so many of all samples together, the loop has its turn."""
BATCHES_WITH_MODELS = 8
"""A model takes seconds: so many batches keep its endpoint busy."""


class Workers(Protocol):
    """Where stages run that are not light: see ``workers.pool``."""

    @property
    def num_workers(self) -> int: ...

    async def process(
        self, stages: range, samples: Sequence[Sample]
    ) -> Sequence[Sequence[Sample]]: ...

    def take_times(self) -> Mapping[str, StageTime]: ...


class Leg(NamedTuple):
    """Stages next to each other that run in the same place."""

    place: int
    stages: range


def legs_of(stages: Sequence[AnyStage], start: int = 0, end: int | None = None) -> list[Leg]:
    """The legs of the stages from ``start`` to ``end``."""
    legs = []
    for asks, run in groupby(stages[start:end], key=lambda stage: cost_of(stage) == WITH_MODELS):
        costs = [cost_of(stage) for stage in run]
        legs.append(Leg(WITH_MODELS if asks else max(costs), range(start, start + len(costs))))
        start += len(costs)
    return legs


class Pipeline:
    """Takes samples through their stages. Without ``workers`` all that asks nobody runs here;
    ``consult_for`` is needed where stages ask.
    """

    def __init__(
        self,
        stages: Sequence[AnyStage],
        selectors: Sequence[SelectingStage],
        times: StageTimes,
        *,
        workers: Workers | None = None,
        consult_for: ConsultFor | None = None,
        repair: Repair | None = None,
        watch: RuleWatch | None = None,
    ) -> None:
        self.stages = list(stages)
        self.selection = Selection(selectors, times)
        self._times = times
        self._workers = workers
        self._consult_for = consult_for
        self._repair = repair
        self._watch = watch
        num_judging = _num_while(self.stages, lambda stage: stage.kind != "noise")
        num_rules = _num_while(self.stages, lambda stage: cost_of(stage) != WITH_MODELS)
        self._judging = legs_of(self.stages, 0, num_judging)
        self._noise = legs_of(self.stages, num_judging)
        self._rules = legs_of(self.stages, 0, min(num_judging, num_rules))

    def __repr__(self) -> str:
        names = ", ".join(stage.name for stage in (*self.stages, *self.selection.stages))
        return f"<Pipeline {names}>"

    @property
    def needs_workers(self) -> bool:
        return any(leg.place == IN_WORKERS for leg in (*self._judging, *self._noise))

    @property
    def max_batches(self) -> int:
        """How many batches are worth having under way at once: 1 where nothing is waited for."""
        legs = (*self._judging, *self._noise)
        if self._repair is not None or any(leg.place == WITH_MODELS for leg in legs):
            return BATCHES_WITH_MODELS
        if self._workers is not None and self.needs_workers:
            return BATCHES_PER_WORKER * self._workers.num_workers
        return 1

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples after validation and noise, in the same order, each with its copies behind
        it. Those that could not be judged, as the run is stopping, are left out.
        """
        samples = await self._through_all(self._judging, samples)
        if self._watch is not None:
            self._watch.count(samples)
        if self._repair is not None:
            samples = await self._repaired(self._repair, samples)
        if not self._noise:
            return samples
        noisy = list(await self._through_all(self._noise, samples))
        changed = [n for n, each in enumerate(noisy) if each.edits and not has_ended(each)]
        judged = await self._through_all(self._rules, [noisy[n] for n in changed])
        for n, each in zip(changed, judged, strict=True):
            noisy[n] = each
        return noisy

    async def _repaired(self, repair: Repair, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples, those that were rejected and could be mended in their places."""
        after: list[Sample | None] = list(samples)
        bad = {n: sample for n, sample in enumerate(samples) if repair.is_worthwhile(sample)}
        while bad:
            with self._times.timed("repair", len(bad)):
                others = await self._asked(repair.repaired, bad.values())
            after = _replaced(after, zip(bad, others, strict=True))
            anew = {n: each for n in bad if (each := after[n]) and each.rejection is None}
            judged = await self._through_all(self._judging, list(anew.values()))
            by_name = {sample.sample_id: sample for sample in judged}
            after = _replaced(after, ((n, by_name.get(anew[n].sample_id)) for n in anew))
            bad = {n: each for n in anew if (each := after[n]) and repair.is_worthwhile(each)}
        return [sample for sample in after if sample is not None]

    async def _through_all(
        self, legs: Sequence[Leg], samples: Sequence[Sample]
    ) -> Sequence[Sample]:
        for leg in legs:
            samples = await self._through(leg, samples)
        return samples

    async def _through(self, leg: Leg, samples: Sequence[Sample]) -> Sequence[Sample]:
        if leg.place != WITH_MODELS:
            return await self._computed(leg, samples)
        for number in leg.stages:
            stage = self.stages[number]
            assert isinstance(stage, AskingNoiseStage | AskingJudgingStage)
            with self._times.timed(f"{stage.kind}:{stage.name}", len(samples)):
                came = await self._asked(stage.apply, samples)
            samples = [after for each in came if each is not None for after in each]
        return samples

    async def _computed(self, leg: Leg, samples: Sequence[Sample]) -> Sequence[Sample]:
        if self._workers is None:
            return await self._on_the_loop(leg.stages, samples)
        is_for_workers = leg.place == IN_WORKERS
        sent = [not has_ended(each) and (is_for_workers or _is_long(each)) for each in samples]
        came = iter(
            await self._in_workers(self._workers, leg.stages, list(compress(samples, sent)))
        )
        after: list[Sample] = []
        for is_sent, run in groupby(zip(sent, samples, strict=True), key=itemgetter(0)):
            some = [sample for _, sample in run]
            if is_sent:
                after += chain.from_iterable(islice(came, len(some)))
            else:
                after += some if is_for_workers else await self._on_the_loop(leg.stages, some)
        return after

    async def _on_the_loop(self, stages: range, samples: Sequence[Sample]) -> Sequence[Sample]:
        """A few samples at a time: the network has its turn between them."""
        after: list[Sample] = []
        for number, some in enumerate(_few_at_a_time(samples)):
            if number:
                await asyncio.sleep(0)
            for place in stages:
                stage = self.stages[place]
                assert not isinstance(stage, AskingNoiseStage | AskingJudgingStage)
                some = self._here(stage, some)
            after += some
        return after

    def _here(self, stage: SampleStage, samples: Sequence[Sample]) -> Sequence[Sample]:
        with self._times.timed(f"{stage.kind}:{stage.name}", len(samples)):
            return [after for sample in samples for after in stage.apply(sample)]

    async def _in_workers(
        self, workers: Workers, stages: range, samples: Sequence[Sample]
    ) -> Sequence[Sequence[Sample]]:
        if not samples:
            return ()
        came = await workers.process(stages, samples)
        for name, time in workers.take_times().items():
            self._times.add(name, time)
        return came

    async def _asked(self, ask: Ask[T], samples: Collection[Sample]) -> list[T | None]:
        """What comes of asking about all samples at once; ``None`` where the run is stopping.

        How many questions are out, their endpoint's limits decide. What ends the run is raised once
        all of them have come back: their answers are paid for.
        """
        assert self._consult_for is not None, "there are stages that ask, so they can"
        outcomes = await asyncio.gather(
            *(ask(sample, self._consult_for) for sample in samples), return_exceptions=True
        )
        came: list[T | None] = []
        for outcome in outcomes:
            if isinstance(outcome, Unsent):
                came.append(None)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                came.append(outcome)
        return came


def _num_while(stages: Sequence[AnyStage], holds: Callable[[AnyStage], bool]) -> int:
    """How many stages there are before the first of which it does not hold."""
    return next((n for n, stage in enumerate(stages) if not holds(stage)), len(stages))


def _num_chars(sample: Sample) -> int:
    """Of all that a rule may look at."""
    return sum(len(each.content) for each in (*sample.messages, *sample.request.messages))


def _is_long(sample: Sample) -> bool:
    return _num_chars(sample) > MOST_CHARS_HERE


def _few_at_a_time(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    first = num_chars = 0
    for place, sample in enumerate(samples):
        if num_chars > CHARS_AT_A_TIME:
            yield samples[first:place]
            first, num_chars = place, 0
        num_chars += _num_chars(sample)
    yield samples[first:]


def _replaced(
    samples: list[Sample | None], others: Iterable[tuple[int, Sample | None]]
) -> list[Sample | None]:
    by_place = dict(others)
    return [by_place.get(n, sample) for n, sample in enumerate(samples)]
