"""A run, from recipe to run folder. ``Run.__aenter__`` reads in the order of the journey."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from weave_async import registry
from weave_async.dispatch import Dispatcher
from weave_async.engine import Engine
from weave_async.errors import InputError, RecipeError, RunFolderError, WeaveError
from weave_async.flow.channel import Channel
from weave_async.flow.retry import Backoff
from weave_async.interfaces import Provider, Sink
from weave_async.journal.journal import Journal
from weave_async.metrics import RunMetrics
from weave_async.parts import endpoints_of, source_of, stages_of
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Sample
from weave_async.rundir import OutputFile, RunFolder
from weave_async.settings import Settings
from weave_async.sinks.rows import failed_row, rejected_row
from weave_async.stages import PART_RAISED, Pipeline
from weave_async.summary import RunSummary, Status

logger = logging.getLogger(__name__)

Resume = Literal["if-possible", "always", "never"]

WINDOW_PER_REQUEST, SMALLEST_WINDOW, WINDOW_PER_REQUEST_TO_ACCEPT = 8, 1024, 2
DEFAULT_MAX_CONCURRENCY = 16
NUM_SAMPLES_LOOKED_UP = 1000
EXIT_ROWS_MISSING, EXIT_INTERRUPTED = 1, 130


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

    ``on_sample`` is called with every sample that ends, be it written, rejected or failed.
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
        on_sample: Callable[[Sample], None] | None = None,
    ) -> None:
        self.recipe = recipe
        path = Path(output_dir or Path("out") / recipe.name)
        self.folder = RunFolder(path, allow_network_fs=allow_network_fs)
        self.metrics = RunMetrics()
        self.endpoints: list[Endpoint] = []
        self._summary: RunSummary | None = None
        self._num_samples = samples
        self._settings = settings or Settings.from_environment()
        self._resume = resume
        self._accept_changes = accept_changes
        self._on_sample = on_sample
        self._stack = AsyncExitStack()
        self._engine_task: asyncio.Task[None] | None = None
        self._written: Channel[Sample] | None = None
        self._entered = False
        self._engine_or_none: Engine | None = None
        self._has_failed = False
        self._interrupt_code: int | None = None

    def __repr__(self) -> str:
        return f"<Run {self.recipe.name} in {self.folder.path}, {self.metrics.ended} ended>"

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"{self!r} is entered already; a Run makes one run")
        self._entered = True
        async with AsyncExitStack() as stack:
            self.endpoints = endpoints_of(self.recipe.generate.mix, self._settings)
            dispatchers = self._dispatchers()
            pipeline = Pipeline(stages_of(self.recipe))
            self._sinks = [_new_sink(name) for name in self.recipe.output.to]
            source = source_of(self.recipe, stack)
            self.plan = Plan(self.recipe, source, self.endpoints, num_samples=self._num_samples)
            self._open_folder(stack)
            journal = Journal(
                self.folder.journal, asks=self.plan.asks(), on_trouble=self._stop_asking
            )
            stack.callback(journal.close)
            self._refuse_changes(journal)
            journal.begin()
            self._journal = journal
            self.folder.write_recipe(self.recipe.with_absolute_paths().resolved())
            self._outputs = self._open_outputs(stack)
            for dispatcher in dispatchers.values():
                await stack.enter_async_context(dispatcher)
            concurrency = sum(d.admission.max_concurrency for d in dispatchers.values())
            self.metrics.asked = self.plan.num_samples
            self._engine_or_none = Engine(
                self.plan.samples(),
                dispatchers=dispatchers,
                journal=journal,
                pipeline=pipeline,
                deliver=self._deliver,
                metrics=self.metrics,
                max_concurrency=min(concurrency, self.plan.num_samples),
                window=self._window(concurrency),
                accept=self.recipe.accept,
            )
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
                self._summary = self._publish()
        except Exception as error:
            self._has_failed = True
            raise _first_of(error) from error
        return self._summary

    def interrupt(self, *, drop_in_flight: bool = False, exit_code: int = EXIT_INTERRUPTED) -> None:
        """Stop asking; the run can be continued. What is in flight comes in, or is dropped."""
        self._interrupt_code = exit_code
        if drop_in_flight:
            self._engine.abandon()
        else:
            self._engine.stop()

    @property
    def summary(self) -> RunSummary:
        """How the run ended; there is none before it has."""
        if self._summary is None:
            raise RuntimeError("the run has not ended: iterate over it, or await finish()")
        return self._summary

    @property
    def num_in_flight(self) -> int:
        """Requests that are out at this moment."""
        return self._engine.num_in_flight

    @property
    def _engine(self) -> Engine:
        if self._engine_or_none is None:
            raise RuntimeError(f"{self!r} is not entered: use it in `async with`")
        return self._engine_or_none

    def _start(self) -> asyncio.Task[None]:
        if self._engine_task is None:
            self._engine_task = asyncio.create_task(self._run_engine(self._engine), name="engine")
        return self._engine_task

    async def _run_engine(self, engine: Engine) -> None:
        self.metrics.start()
        try:
            await engine.run()
        finally:
            self.metrics.stop()
            if self._written is not None:
                await self._written.close()

    async def _deliver(self, sample: Sample) -> None:
        if sample.failure is not None:
            self._outputs["failed"][0].write(failed_row(sample))
        elif sample.rejection is not None:
            self._outputs["rejected"][0].write(rejected_row(sample))
        else:
            for sink, file in zip(self._sinks, self._outputs["samples"], strict=True):
                file.write(_encoded(sink, sample))
        self.metrics.count_end(sample)
        if self._on_sample is not None:
            self._on_sample(sample)
        if self._written is not None and sample.rejection is None and sample.failure is None:
            await self._written.send(sample)

    def _window(self, concurrency: int) -> int:
        """Samples that may be started and not yet delivered."""
        if self.recipe.accept is not None:  # whatever is under way at the last one is surplus
            return WINDOW_PER_REQUEST_TO_ACCEPT * concurrency
        return max(SMALLEST_WINDOW, WINDOW_PER_REQUEST * concurrency)

    def _dispatchers(self) -> dict[str, Dispatcher]:
        dispatchers = {}
        for endpoint in {endpoint.name: endpoint for endpoint in self.endpoints}.values():
            provider_class = registry.load("provider", endpoint.provider)
            dispatchers[endpoint.name] = Dispatcher(
                endpoint,
                _new_provider(provider_class, endpoint),
                max_concurrency=_concurrency_of(endpoint, provider_class),
                backoff=Backoff(attempts=self.recipe.generate.attempts),
                on_retry=self._count_retry,
            )
        return dispatchers

    def _stop_asking(self, error: WeaveError) -> None:
        self._engine.stop(because=error)

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

    def _open_outputs(self, stack: AsyncExitStack) -> dict[str, list[OutputFile]]:
        outputs = {
            "samples": [self.folder.output("samples", sink.suffix) for sink in self._sinks],
            "rejected": [self.folder.output("rejected")],
            "failed": [self.folder.output("failed")],
        }
        for files in outputs.values():
            for file in files:
                stack.callback(file.close)
        return outputs

    def _refuse_changes(self, journal: Journal) -> None:
        """Answers are kept by what was asked: other questions would silently be bought anew."""
        if journal.changes and journal.num_recalled and not self._accept_changes:
            raise RunFolderError(
                f"{self.folder.path} holds {journal.num_recalled} answers to other requests; "
                f"changed since: {', '.join(journal.changes)}. Choose another folder with -o, or "
                "pass --accept-changes to ask anew for what changed"
            )
        if journal.num_recalled and not self._accept_changes and not self._knows_any(journal):
            raise RunFolderError(
                f"{self.folder.path} holds {journal.num_recalled} answers, and none to the rows of "
                f"{self.recipe.prompts.source}: is it another file, or has it other columns? "
                "Choose another folder with -o, or pass --accept-changes to ask for all of them"
            )

    def _knows_any(self, journal: Journal) -> bool:
        """Whether the first samples of the plan, or one of them, was answered before."""
        first = islice(self.plan.samples(), NUM_SAMPLES_LOOKED_UP)
        return any(journal.recall(sample) is not None for sample in first)

    def _publish(self) -> RunSummary:
        files: dict[str, Mapping[str, Any]] = {}
        for outputs in self._outputs.values():
            for file in outputs:
                files[file.path.name] = file.publish()
        summary = self._summarize(files)
        self.folder.write_manifest(
            {
                "weave_async": version("weave-async"),
                "name": self.recipe.name,
                "seed": self.recipe.seed,
                "mix": self.plan.described_mix(),
                **summary.as_dict(),
            }
        )
        return summary

    def _summarize(self, files: Mapping[str, Mapping[str, Any]]) -> RunSummary:
        metrics, error = self.metrics, self._engine.stopped_by
        if metrics.pending and error is None and not self._engine.stopping:
            error = InputError(f"{self.recipe.prompts.source} has lost rows while the run went on")
        accepted_enough = self.recipe.accept is not None and metrics.written >= self.recipe.accept
        if accepted_enough:
            metrics.asked = metrics.ended
        status, exit_code = self._status(error, accepted_enough)
        return RunSummary(
            status=status,
            exit_code=exit_code,
            output_dir=os.fsencode(self.folder.path).decode(errors="replace"),
            asked=metrics.asked,
            written=metrics.written,
            rejected=metrics.rejected.total(),
            failed=metrics.failed.total(),
            pending=metrics.pending,
            recalled=metrics.recalled,
            unused=self._journal.num_recalled - metrics.recalled if status == "complete" else 0,
            rejected_by_reason=dict(metrics.rejected.most_common()),
            failed_by_error=dict(metrics.failed.most_common()),
            failure_examples=dict(metrics.failure_examples),
            worth_another_try=metrics.num_retryable_failures > 0,
            retries=dict(metrics.retries),
            rows_read=self.plan.inspection.num_rows,
            rows_skipped=self.plan.inspection.num_skipped,
            input_tokens=metrics.input_tokens,
            output_tokens=metrics.output_tokens,
            elapsed_s=round(metrics.elapsed_s, 3),
            answers_per_s=round(metrics.answers_per_s, 2),
            files=files,
            error=None if error is None else str(error),
        )

    def _status(self, error: WeaveError | None, accepted_enough: bool) -> tuple[Status, int]:
        if error is not None:
            return "stopped", error.exit_code
        if self.metrics.pending and self._interrupt_code is not None and not accepted_enough:
            return "interrupted", self._interrupt_code
        too_few = self.recipe.accept is not None and not accepted_enough
        raised = any(reason.endswith(PART_RAISED) for reason in self.metrics.rejected)
        if self.metrics.failed or too_few or raised:
            return "incomplete", EXIT_ROWS_MISSING
        return "complete", 0


def _new_provider(provider_class: Callable[[Endpoint], Provider], endpoint: Endpoint) -> Provider:
    try:
        return provider_class(endpoint)
    except WeaveError:
        raise
    except Exception as error:  # a provider of somebody else's may raise anything
        raise RecipeError(
            f"provider '{endpoint.provider}' cannot be made: {type(error).__name__}: {error}"
        ) from error


def _concurrency_of(endpoint: Endpoint, provider_class: object) -> int:
    suggested = getattr(provider_class, "default_max_concurrency", DEFAULT_MAX_CONCURRENCY)
    if not isinstance(suggested, int) or suggested < 1:
        raise RecipeError(
            f"provider '{endpoint.provider}': its default_max_concurrency is {suggested!r}"
        )
    return endpoint.max_concurrency or suggested


def _new_sink(name: str) -> Sink:
    sink: Sink = registry.build("sink", name, {})
    if not isinstance(getattr(sink, "suffix", None), str) or not hasattr(sink, "encode"):
        raise RecipeError(f"sink '{name}' needs a suffix and an encode: see interfaces.Sink")
    return sink


def _encoded(sink: Sink, sample: Sample) -> bytes:
    try:
        return bytes(sink.encode(sample))
    except Exception as error:  # a sink of somebody else's; without it there is no dataset
        raise RecipeError(
            f"sink {type(sink).__name__} raised on {sample.sample_id}: "
            f"{type(error).__name__}: {error}. The answers are kept: mend it and run again"
        ) from error


def _first_of(error: BaseException) -> BaseException:
    """What broke the engine, out of the groups it was wrapped in on its way."""
    return _first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
