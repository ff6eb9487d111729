"""A run, from recipe to run folder. ``Run.__aenter__`` reads in the order of the journey."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from weave_async.asking.consulting import Consultations
from weave_async.controller.controller import Controller
from weave_async.controller.decisions import DecisionLog, digest_of
from weave_async.dispatch import Dispatcher
from weave_async.engine import RECALLED, Engine
from weave_async.errors import BudgetError, InputError, RecipeError, RunFolderError, WeaveError
from weave_async.flow.budget import Budget
from weave_async.flow.channel import Channel
from weave_async.gates import Figure, Judged
from weave_async.journal.journal import Journal
from weave_async.metrics.headlines import cautions_of, figure_of, headlines_of
from weave_async.metrics.ledger import RunMetrics
from weave_async.metrics.live import Measuring
from weave_async.metrics.rule_watch import RuleWatch
from weave_async.parts.consulting import (
    advisors_of,
    consultation_journal_of,
    consultations_of,
    consulted_by,
)
from weave_async.parts.endpoints import (
    described_sellers,
    endpoints_asked,
    endpoints_of,
    prices_of,
    providers_of,
    sellers_of,
    usual_concurrency,
)
from weave_async.parts.reading import examples_source_of, refuse_own_source, source_of
from weave_async.parts.sending import asker_of, batching_of, dispatchers_of, repair_of
from weave_async.parts.staging import (
    columns_read_by,
    require_divisible,
    selectors_of,
    sinks_of,
    stage_spec_of,
    workers_of,
)
from weave_async.parts.steering import controller_of, decisions_of, measuring_of
from weave_async.plan import Plan
from weave_async.pricing import Price
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Sample
from weave_async.rundir import RunFolder
from weave_async.settings import Settings
from weave_async.sharding import Shard
from weave_async.sinks.outputs import Outputs
from weave_async.stages.building import ALWAYS_APPLIED, drift_gate_of, stages_of
from weave_async.stages.guard import PART_RAISED
from weave_async.stages.judging import AskingJudgingStage
from weave_async.stages.noising import most_variants
from weave_async.stages.pipeline import Pipeline
from weave_async.stages.selecting import SelectingStage
from weave_async.summary import RunSummary, Status

if TYPE_CHECKING:
    from weave_async.observability.spans import Tracing

logger = logging.getLogger(__name__)

Resume = Literal["if-possible", "always", "never"]

WINDOW_PER_REQUEST, SMALLEST_WINDOW = 8, 4096
EXIT_ROWS_MISSING, EXIT_UNMET, EXIT_INTERRUPTED = 1, 3, 130


class Run:
    """Makes a dataset of a recipe.

    ::

        async with Run(recipe, output_dir="out/demo") as run:
            async for sample in run:
                print(sample.completion)
        print(run.summary)

    Entering checks recipe, settings, input and folder, and locks the folder: what is wrong with
    them raises ``WeaveError`` before any request is sent. Iterating yields samples as they are
    written; ``finish`` goes on without yielding. Leaving early stops asking, lets in what is in
    flight, and publishes what is there; the same run can be continued later.

    With ``explains_all`` every rule judges every sample, and its verdict stays with it; else a
    sample is spared the rules behind the one that has rejected it.
    ``on_sample`` is called with every sample that ends, be it written, rejected or failed.
    With ``tracing`` each request leaves an OpenTelemetry span; else ``new_dispatcher`` makes what
    sends requests.

    With a ``shard`` only its samples are asked for; samples are then compared with each other, and
    what the recipe requires is looked at, when shards are merged. A run that ``only_recalls`` sends
    no request: what it has no answer for stays pending.
    """

    def __init__(
        self,
        recipe: Recipe,
        *,
        output_dir: str | Path | None = None,
        samples: int | None = None,
        settings: Settings | None = None,
        resume: Resume = "if-possible",
        accept_changes: bool = False,
        allow_network_fs: bool = False,
        explains_all: bool = False,
        on_sample: Callable[[Sample], None] | None = None,
        shard: Shard | None = None,
        only_recalls: bool = False,
        tracing: Tracing | None = None,
        new_dispatcher: Callable[..., Dispatcher] = Dispatcher,
    ) -> None:
        self.recipe = recipe
        path = Path(output_dir or Path("out") / recipe.name)
        self.folder = RunFolder(path, allow_network_fs=allow_network_fs)
        self.metrics = RunMetrics()
        self.endpoints: list[Endpoint] = []
        self.dispatchers: Mapping[str, Dispatcher] = {}
        """By the names of endpoints, those that stages consult among them; once it is entered."""
        self._consultations: Consultations | None = None
        self._summary: RunSummary | None = None
        if samples is not None and samples < 1:
            raise ValueError(f"samples must be at least 1, not {samples}")
        self._num_samples = samples
        self._settings = settings or Settings.from_environment()
        self._resume = resume
        self._accept_changes = accept_changes
        self._explains_all = explains_all
        self._on_sample = on_sample
        self._shard = shard
        self._only_recalls = only_recalls
        self._new_dispatcher = new_dispatcher if tracing is None else tracing.dispatcher
        self._stack = AsyncExitStack()
        self._engine_task: asyncio.Task[None] | None = None
        self._written: Channel[Sample] | None = None
        self._to_hand_on: list[Sample] = []
        self._measuring: Measuring | None = None
        self._to_measure: list[Sample] = []
        self._figures: dict[str, Any] = {}
        self._num_known = 0
        self._prices: dict[str, Price | None] = {}
        self._entered = False
        self._new_engine: Callable[[], Engine] | None = None
        self._engine_or_none: Engine | None = None
        self._fill_by_batches: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._filling: asyncio.Task[None] | None = None
        self._controller: Controller | None = None
        self._decisions: DecisionLog | None = None
        self._stop_engine: Callable[[Engine], None] | None = None
        self._has_failed = False
        self._interrupt_code: int | None = None

    def __repr__(self) -> str:
        return f"<Run {self.recipe.name} in {self.folder.path}, {self.metrics.ended} ended>"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"{self!r} is entered already; a Run makes one run")
        self._entered = True
        async with AsyncExitStack() as stack:
            refuse_own_source(self.recipe, self.folder)
            source = source_of(self.recipe, stack)
            self.endpoints = self._endpoints(default_model=getattr(source, "model", None))
            spec = stage_spec_of(self.recipe, explains_all=self._explains_all)
            stages, selectors = stages_of(spec), self._selectors()
            repair = repair_of(self.recipe, self.endpoints)
            advisors = advisors_of(
                consulted_by([*stages, repair]), self.recipe, self.endpoints, self._settings
            )
            asked_by_stages = {a.endpoint.name: a.endpoint for a in advisors.values()}
            all_endpoints = [*self.endpoints, *asked_by_stages.values()]
            self._providers = providers = providers_of(all_endpoints)
            self._sinks = sinks_of(self.recipe)
            self.plan = Plan(
                self.recipe,
                source,
                self.endpoints,
                num_samples=self._num_samples,
                examples=examples_source_of(self.recipe),
                shard=self._shard,
            )
            self.plan.require_columns(columns_read_by([*stages, *selectors]))
            self._open_folder(stack)
            self._keep_shard()
            self._decisions = decisions = decisions_of(self.plan, self.folder)
            journal = Journal(
                self.folder.journal,
                asks=self.plan.asks(),
                endpoints=described_sellers(self.endpoints, providers),
                on_trouble=self._stop_asking,
                require_ours=self.folder.require_lock,
            )
            stack.callback(journal.close)
            places = self._places(journal)
            self._refuse_lost_answers(journal)
            self._refuse_surprises(journal, num_to_ask=places.count(0))
            _tell_of_unknown(journal)
            if journal.num_recalled:
                self._tell_of_other_sellers(journal)
            journal.begin()
            self._journal = journal
            consulted = consultation_journal_of(
                self.folder, advisors, providers, on_trouble=self._stop_asking
            )
            if consulted is not None:
                stack.callback(consulted.close)
                _tell_of_unknown(consulted, "questions of judges and other stages")
            dispatchers = dispatchers_of(
                self.recipe,
                all_endpoints,
                providers,
                journal,
                on_retry=self._count_retry,
                consultations=consulted,
                vocabularies=self._settings.vocabularies,
                new_dispatcher=self._new_dispatcher,
            )
            self.dispatchers = dispatchers
            self.folder.write_recipe(self.recipe.with_absolute_paths().resolved())
            self._outputs = Outputs(self.folder, self._sinks)
            stack.callback(self._outputs.close)
            for dispatcher in () if self._only_recalls else dispatchers.values():
                await stack.enter_async_context(dispatcher)
            of_mix = {endpoint.name: dispatchers[endpoint.name] for endpoint in self.endpoints}
            concurrency = sum(d.admission.max_concurrency for d in of_mix.values())
            self._controller = controller_of(
                self.recipe,
                self.plan,
                decisions,
                self.endpoints,
                max_concurrency=usual_concurrency(self.endpoints, providers),
            )
            if consulted is not None and advisors:
                self._consultations = await stack.enter_async_context(
                    consultations_of(
                        self.recipe,
                        self.endpoints,
                        advisors,
                        providers,
                        dispatchers,
                        journal=consulted,
                        metrics=self.metrics,
                    )
                )
            self.metrics.asked = self.plan.num_samples
            self.metrics.accept = self.recipe.accept
            self.metrics.recallable = self.plan.num_samples - places.count(0)
            consult_for = None if self._consultations is None else self._consultations.consult_for
            workers = workers_of(self.recipe, spec, stages)
            if workers is not None:
                await stack.enter_async_context(workers)
            self.metrics.drift_gate = drift_gate_of(stages)
            self.metrics.rule_watch = RuleWatch(
                ((each.kind, each.name) for each in stages if each.kind == "validation"),
                unnamed={ALWAYS_APPLIED},
                asking={each.name for each in stages if isinstance(each, AskingJudgingStage)},
            )
            pipeline = Pipeline(
                stages,
                selectors,
                self.metrics.stage_times,
                workers=workers,
                consult_for=consult_for,
                repair=repair,
                watch=self.metrics.rule_watch,
            )
            stack.callback(pipeline.selection.close)
            await pipeline.selection.prepare()
            most_samples = self.plan.num_samples * most_variants(stages)
            most_written = [most_samples, self.recipe.accept, pipeline.selection.most_written]
            self._measuring = measuring_of(
                self.recipe,
                source,
                mix=self.plan.described_mix(),
                most_expected=min(filter(None, most_written), default=0),  # a shard may be empty
                ledger=self.metrics,
            )
            if self._measuring is not None:
                stack.push_async_callback(self._measuring.close)
            batching = batching_of(
                self.recipe,
                self.folder,
                providers,
                of_mix,
                plan=self.plan,
                journal=journal,
                metrics=self.metrics,
                accept_changes=self._accept_changes,
            )
            self._new_engine = lambda: Engine(
                self.plan.samples,
                places=places,
                asker=asker_of(
                    self.recipe,
                    of_mix,
                    self.endpoints,
                    providers,
                    journal=journal,
                    metrics=self.metrics,
                ),
                dispatchers=dispatchers,
                consultations=self._consultations,
                journal=journal,
                pipeline=pipeline,
                deliver=self._deliver,
                hand_on=self._hand_on,
                metrics=self.metrics,
                max_concurrency=min(concurrency, places.count(0)),
                window=max(SMALLEST_WINDOW, WINDOW_PER_REQUEST * concurrency),
                accept=self.recipe.accept,
                most_per_answer=most_variants(stages),
                group_size=self.recipe.generate.n,
                controller=self._controller,
            )
            if batching is not None and self._controller is not None:
                raise RecipeError(
                    f"{self.folder.batches} has batches that are still out, which a controller "
                    "knows nothing of: run with controller: off first, to collect them"
                )
            if batching is None:
                self._engine_or_none = self._new_engine()
            else:  # what there is to ask is known once that is done
                self._fill_by_batches = partial(batching.fill, places)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with self._stack:
            has_ended = self._summary is not None or self._has_failed
            if self._engine_task is not None and not has_ended:
                self.interrupt(drop_in_flight=exc_type is asyncio.CancelledError)
                await self.finish()

    async def __aiter__(self) -> AsyncIterator[Sample]:
        """Samples as they are written. A slow consumer slows the run down; memory stays flat."""
        if self._engine_task is not None:
            raise RuntimeError(f"{self!r} has been started already: a run is iterated over once")
        self._written = Channel(capacity=1)
        self._start()
        async for sample in self._written:
            yield sample
        await self.finish()

    async def finish(self) -> RunSummary:
        """Run to the end, be it a stop, and publish the outputs. Raises only what prevents that."""
        engine_task = self._start()
        if self._written is not None:
            await self._written.leave()
        try:
            await asyncio.shield(engine_task)  # whoever waits may be cancelled; the run is not
            if self._summary is None:
                self._summary = self._end()
        except Exception as error:
            self._has_failed = True
            raise _first_of(error) from error
        return self._summary

    def interrupt(self, *, drop_in_flight: bool = False, exit_code: int = EXIT_INTERRUPTED) -> None:
        """Stop asking; the run can be continued. What is in flight comes in, or is dropped."""
        self._interrupt_code = exit_code
        self._stop(Engine.abandon if drop_in_flight else Engine.stop)

    @property
    def summary(self) -> RunSummary:
        """How the run ended; there is none before it has."""
        if self._summary is None:
            raise RuntimeError("the run has not ended: iterate over it, or await finish()")
        return self._summary

    @property
    def num_in_flight(self) -> int:
        """Requests that are out at this moment."""
        return 0 if self._engine_or_none is None else self._engine_or_none.num_in_flight

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is asked, as there is enough, or somebody or something stops it."""
        engine = self._engine_or_none
        return self._stop_engine is not None if engine is None else engine.stopping

    @property
    def budget(self) -> Budget | None:
        """What all of its requests are paid from, where there is a limit; once it is entered."""
        return next((each.budget for each in self.dispatchers.values()), None)

    @property
    def cost_usd(self) -> float | None:
        """What this run's answers have cost so far, by list price; ``None`` where one is not known.

        The first call that needs a price loads the list, which takes a third of a second.
        """
        usd = 0.0
        for name, (input_tokens, output_tokens) in list(self.metrics.tokens.items()):
            if (price := self._price_at(name)) is None:
                return None
            usd += price.usd(input_tokens=input_tokens, output_tokens=output_tokens)
        return round(usd, 6)

    def _price_at(self, name: str) -> Price | None:
        if name not in self._prices:
            endpoint = self.dispatchers[name].endpoint
            self._prices |= prices_of(sellers_of([endpoint], self._providers))
        return self._prices[name]

    @property
    def _engine(self) -> Engine:
        assert self._engine_or_none is not None, "the run has ended, so there was an engine"
        return self._engine_or_none

    def _start(self) -> asyncio.Task[None]:
        if self._new_engine is None:
            raise RuntimeError(f"{self!r} is not entered: use it in `async with`")
        if self._engine_task is None:
            running = self._run_engine(self._new_engine)
            self._engine_task = asyncio.create_task(running, name="engine")
        return self._engine_task

    async def _run_engine(self, new_engine: Callable[[], Engine]) -> None:
        self.metrics.start()
        probing = asyncio.create_task(self.metrics.loop_lag.run(), name="lag probe")
        wall_s = self.recipe.budget.wall
        if wall_s is not None:
            spent = BudgetError(f"the budget's time, {wall_s:g} s, is over: run again to continue")
            self._stack.callback(
                asyncio.get_running_loop().call_later(wall_s, self._stop_asking, spent).cancel
            )
        if self._only_recalls:
            missing = self._missing_answers()
            self._stop(lambda engine: engine.stop(because=missing))
        try:
            if self._fill_by_batches is not None:
                await self._fill(self._fill_by_batches)
            if self._engine_or_none is None:
                self._engine_or_none = new_engine()
                self._stop_before(self._engine_or_none)
            await self._engine_or_none.run()
        finally:
            probing.cancel()
            self.metrics.stop()
            if self._written is not None:
                await self._written.close()
        if self._measuring is not None and not self._engine.has_left_answers_behind:
            self._figures = await self._measuring.figures()

    def _missing_answers(self) -> RunFolderError | None:
        missing = self.metrics.asked - self.metrics.recallable
        if not missing:
            return None
        return RunFolderError(
            f"{missing} of {self.metrics.asked} samples have no answer yet, and none is asked for "
            "here"
        )

    def _deliver(self, sample: Sample) -> None:
        """Bring a sample to its end: a row in the file for that end, and a count."""
        self._outputs.write(sample)
        self.metrics.count_end(sample)
        if self._on_sample is not None:
            self._on_sample(sample)
        if sample.rejection is None and sample.failure is None:
            if self._measuring is not None:
                self._to_measure.append(sample)
            if self._written is not None:
                self._to_hand_on.append(sample)

    async def _hand_on(self) -> None:
        """Give what was written to the meters, and to whoever iterates over the run; both may be
        slow.
        """
        if self._measuring is not None:
            to_measure, self._to_measure = self._to_measure, []
            await self._measuring.count(to_measure)
        samples, self._to_hand_on = self._to_hand_on, []
        for sample in samples:
            assert self._written is not None
            await self._written.send(sample)

    async def _fill(self, fill_by_batches: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have what can be asked in batches in the journal; what it cannot, the engine is told."""
        if self._stop_engine is not None:
            return
        self._filling = asyncio.create_task(fill_by_batches(), name="batches")
        try:
            await self._filling
        except WeaveError as error:
            self._stop_asking(error)
        except asyncio.CancelledError:
            if self._stop_engine is None:  # not we have cancelled it
                raise

    def _stop_asking(self, error: WeaveError) -> None:
        self._stop(lambda engine: engine.stop(because=error))

    def _stop_before(self, engine: Engine) -> None:
        """What was to be stopped before there was an engine: it delivers what the journal has."""
        if self._stop_engine is not None:
            self._stop_engine(engine)

    def _stop(self, stop: Callable[[Engine], None]) -> None:
        """Stop the engine; before there is one, what comes before it, and then the engine."""
        if self._engine_or_none is not None:
            stop(self._engine_or_none)
            return
        self._stop_engine = stop
        if self._filling is not None:
            self._filling.cancel()

    def _count_retry(self, error: str) -> None:
        self.metrics.retries[error] += 1

    def _open_folder(self, stack: AsyncExitStack) -> None:
        path = self.folder.path
        if self._resume == "never" and self.folder.holds_a_run():
            raise RunFolderError(
                f"{path} already holds a run, and --resume never wants a fresh one: "
                "choose another folder with -o"
            )
        if self._resume == "always" and not self.folder.holds_a_run():
            raise RunFolderError(
                f"{path} holds no run to resume: check -o, or leave out --resume always"
            )
        self.folder.open()
        stack.callback(self.folder.close)

    def _places(self, journal: Journal) -> bytearray:
        """For each sample, ``RECALLED`` where an earlier run has its answer, else 0.

        While nothing has changed that shapes requests, a sample's id tells; a look into the
        journal, and at the row, is needed only where something has; or where a controller may have
        decided anew what had been decided otherwise.
        """
        places = bytearray(self.plan.num_samples)
        if not journal.num_recalled:
            return places
        for ordinal, sample_id in enumerate(self.plan.sample_ids()):
            if journal.may_hold(sample_id):
                if self.plan.is_decided(ordinal):
                    places[ordinal] = RECALLED
                elif journal.asked_alike:
                    self._refuse_lost_decisions()
        self._num_known = self.plan.num_samples - places.count(0)
        may_be_anew = self._accept_changes and self.plan.steering is not None
        if may_be_anew or not journal.asked_alike:
            for sample in self.plan.samples(places.__getitem__):
                if journal.recall(sample) is None:
                    places[sample.ordinal] = 0
        return places

    def _tell_of_other_sellers(self, journal: Journal) -> None:
        """An answer is kept by what was asked, not by who was: say so where it matters."""
        for name, seller in sellers_of(self.endpoints, self._providers).items():
            before = journal.sellers_before.get(name, seller)
            if before.address != seller.address:
                logger.warning(
                    "%s has moved: earlier answers came from %s, new ones will come from %s; "
                    "answers are not asked for again for that",
                    name,
                    before.address,
                    seller.address,
                )

    def _refuse_lost_answers(self, journal: Journal) -> None:
        """A journal that was lost would silently be bought anew."""
        if self._accept_changes or self.folder.published_answers() <= journal.num_recalled:
            return
        raise RunFolderError(
            f"{self.folder.path} has published {self.folder.published_answers()} answers, and its "
            f"journal holds {journal.num_recalled}: restore it from a copy, or pass "
            "--accept-changes to ask for them again"
        )

    def _refuse_lost_decisions(self) -> None:
        """A decision is durable before what follows from it is asked. Without it, nobody knows what
        an answer is the answer to.
        """
        if not self._accept_changes:
            raise RunFolderError(
                f"the journal in {self.folder.path} holds answers to what {self.folder.decisions} "
                "does not tell of: restore it from a copy, or pass --accept-changes to decide, and "
                "ask, anew"
            )

    def _refuse_surprises(self, journal: Journal, num_to_ask: int) -> None:
        """Answers are kept by what was asked: other questions would silently be bought anew."""
        if not (journal.num_recalled and num_to_ask) or self._accept_changes:
            return
        num_recalled = self.plan.num_samples - num_to_ask
        num_unused = journal.num_recalled - self._num_known
        cost = (
            f"{num_recalled} of the {self.plan.num_samples} samples would be recalled and "
            f"{num_to_ask} asked for: {self._worst_cost(num_to_ask)}"
        )
        if journal.changes:
            raise RunFolderError(
                f"{self.folder.path} holds {journal.num_recalled} answers to other requests; "
                f"changed since: {', '.join(journal.changes)}. {cost}. Choose another folder with "
                "-o, or pass --accept-changes to ask for what changed"
            )
        if not num_recalled:
            raise RunFolderError(
                f"{self.folder.path} holds {journal.num_recalled} answers, and none to the rows of "
                f"{self.recipe.prompts.source}: is it another file, or has it other columns? "
                f"{cost}. Choose another folder with -o, or pass --accept-changes to ask for them"
            )
        if num_unused > 0:
            logger.warning(
                "%d earlier answers belong to no sample of this run (were rows changed, or taken "
                "out?): %s",
                num_unused,
                cost,
            )

    def _worst_cost(self, num_to_ask: int) -> str:
        """What so many answers can cost, if each is as long as it may be."""
        tokens = num_to_ask * self.recipe.generate.params.max_tokens
        told = f"at most {tokens:,} output tokens"
        sellers = sellers_of(self.endpoints, self._providers)
        prices = [price for price in prices_of(sellers).values() if price]
        if len(prices) < len({endpoint.name for endpoint in self.endpoints}):
            return told
        return f"{told}, ${tokens * max(price.output_usd for price in prices):,.2f} by list price"

    def _end(self) -> RunSummary:
        """Publish; but what was published before is not replaced by less.

        A run that was told to drop all at once has not come to all that the journal holds.
        """
        if self._engine.has_left_answers_behind:
            self._outputs.discard()
            return self._summarize({})
        return self._publish()

    def _publish(self) -> RunSummary:
        # The ledger and the files were written by the same hand; a bug of ours would show here.
        files = self._outputs.publish(
            {
                "samples": self.metrics.written,
                "rejected": self.metrics.rejected.total(),
                "failed": self.metrics.failed.total(),
            }
        )
        summary = self._summarize(files)
        steered = {} if self._controller is None else {"controller": self._controller.as_dict()}
        self.folder.write_metrics({**self.metrics.as_dict(), **self._figures, **steered})
        log = self._decisions
        decided = {} if log is None else {"decisions": digest_of(log.decisions)}
        self.folder.write_manifest(
            {
                "weave_async": version("weave-async"),
                "name": self.recipe.name,
                "seed": self.recipe.seed,
                "mix": self.plan.described_mix(),
                "epoch": self._journal.last_epoch,
                **decided,
                **self._told_of_shard,
                **summary.as_dict(),
            }
        )
        self._outputs.remove_stale()
        return summary

    def _endpoints(self, *, default_model: str | None) -> list[Endpoint]:
        """Where nobody is asked, those who were, whatever the environment says now."""
        if self._only_recalls:
            return endpoints_asked(self.folder, self.recipe)
        return endpoints_of(self.recipe.generate.mix, self._settings, default_model=default_model)

    def _selectors(self) -> list[SelectingStage]:
        if self._shard is None:
            return selectors_of(self.recipe)
        require_divisible(self.recipe)
        return []

    @property
    def _told_of_shard(self) -> dict[str, Any]:
        shard = self._shard
        return {"shard": shard.as_dict(self.plan.num_of_all_shards)} if shard else {}

    def _keep_shard(self) -> None:
        """Say which shard this is, before anything is asked for; refuse another one's folder."""
        here = Shard.told(self.folder.read_shard())
        if here != self._shard and self.folder.holds_answers():
            what = "a whole run" if here is None else f"shard {here}"
            wanted = "without --shard" if here is None else f"with --shard {here}"
            raise RunFolderError(
                f"{self.folder.path} holds {what}: go on with it {wanted}, or choose another "
                "folder with -o"
            )
        if self._shard is not None:
            self.folder.write_shard(self._shard.as_dict(self.plan.num_of_all_shards))

    def _summarize(self, files: Mapping[str, Mapping[str, Any]]) -> RunSummary:
        metrics, error = self.metrics, self._engine.stopped_by
        if metrics.pending and error is None and not self._engine.stopping:
            error = InputError(f"{self.recipe.prompts.source} has lost rows while the run went on")
        accepted_enough = self.recipe.accept is not None and metrics.written >= self.recipe.accept
        if accepted_enough:
            metrics.asked = metrics.ended
        gates = self.recipe.gates if self._shard is None else ()
        required = [gate.judged(self._figure(gate.metric)) for gate in gates]
        status, exit_code = self._status(error, accepted_enough, required)
        return RunSummary(
            status=status,
            exit_code=exit_code,
            output_dir=os.fsencode(self.folder.path).decode(errors="replace"),
            asked=metrics.asked,
            copies=metrics.copies,
            written=metrics.written,
            rejected=metrics.rejected.total(),
            failed=metrics.failed.total(),
            pending=metrics.pending,
            recalled=metrics.recalled,
            asked_now=metrics.asked_now,
            unused=self._journal.num_recalled - self._num_known,
            rejected_by_reason=dict(metrics.rejected.most_common()),
            unvaried=dict(metrics.unvaried.most_common()),
            idle_rules=metrics.rule_watch.idle,
            failed_by_error=dict(metrics.failed.most_common()),
            failure_examples=dict(metrics.failure_examples),
            worth_another_try=metrics.num_retryable_failures > 0,
            retries=dict(metrics.retries),
            rows_read=self.plan.inspection.num_rows,
            rows_skipped=self.plan.inspection.num_skipped,
            input_tokens=metrics.input_tokens,
            output_tokens=metrics.output_tokens,
            cost_usd=self.cost_usd,
            elapsed_s=round(metrics.elapsed_s, 3),
            answers_per_s=round(metrics.answers_per_s, 2),
            files=files,
            endpoints={name: each.account() for name, each in self.dispatchers.items()},
            consultations=asdict(metrics.consultations),
            diversity=headlines_of(self._figures),
            cautions=list(cautions_of(self._figures)),
            required=required,
            error=None if error is None else str(error),
        )

    def _figure(self, metric: str) -> Figure:
        """What a requirement is judged by."""
        metrics = self.metrics
        if metric == "rows":
            return Figure(metrics.written)
        if metric == "acceptance":
            num_judged = metrics.written + metrics.rejected.total()
            if not num_judged:
                return Figure(None, missing_because="no sample has an answer")
            return Figure(metrics.written / num_judged)
        return figure_of(self._figures, metric)

    def _status(
        self, error: WeaveError | None, accepted_enough: bool, required: Sequence[Judged]
    ) -> tuple[Status, int]:
        if error is not None:
            return "stopped", error.exit_code
        if self.metrics.pending and self._interrupt_code is not None and not accepted_enough:
            return "interrupted", self._interrupt_code
        too_few = self.recipe.accept is not None and not accepted_enough
        raised = any(reason.endswith(PART_RAISED) for reason in self.metrics.rejected)
        if self.metrics.failed or too_few or raised:
            return "incomplete", EXIT_ROWS_MISSING
        if not all(judged.met for judged in required):
            return "unmet", EXIT_UNMET
        return "complete", 0


def _tell_of_unknown(journal: Journal, what: str = "requests") -> None:
    """The calls that were out when the last run died: nobody can know what became of them."""
    unknown = [call for call in journal.unknown if call.epoch == journal.epoch - 1]
    if unknown:
        logger.warning(
            "%d %s were out when the last run ended: they may have been billed, and are asked "
            "again (at most %d tokens)",
            len(unknown),
            what,
            sum(call.max_cost_tokens for call in unknown),
        )


def _first_of(error: BaseException) -> BaseException:
    """What broke the engine, out of the groups it was wrapped in on its way."""
    return _first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
