"""Selection: samples beside each other, in the order of the output.

Of a batch, each selector first computes what it compares, for all samples at once; then sample by
sample each selector is asked, up to the first that refuses, and what all have passed each of them
keeps. So a sample is compared with what is in the dataset, and with nothing else.

A final selector, the last of them, decides once it has seen all: until then its candidates wait in
a file. What is not light runs in a thread, one batch after the other: the loop is the network's.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from weave_async.errors import StorageError
from weave_async.metrics.stage_times import StageTime, StageTimes
from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.rundir import storage_errors
from weave_async.stages.guard import Guard, has_ended, rejected, storable
from weave_async.wire import SampleWriter, sample_in


@dataclass(slots=True)
class SelectingStage:
    """One selector, with its name in the recipe."""

    name: str
    rule: Any
    kind: Literal["selection"] = "selection"
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.guard = Guard(self.kind, self.name)

    @property
    def is_light(self) -> bool:
        return getattr(self.rule, "is_light", False) is True

    @property
    def is_final(self) -> bool:
        """Whether it decides once it has seen all."""
        return hasattr(self.rule, "offer")

    def prepare(self) -> None:
        """Read what it compares with, if there is such a thing."""
        if (prepare := getattr(self.rule, "prepare", None)) is not None:
            prepare()

    def features_of(self, samples: Sequence[Sample]) -> Sequence[Any]:
        """What is compared of each sample, or what was raised on it."""
        if not samples or not hasattr(self.rule, "features_of"):
            return [None] * len(samples)
        try:
            return list(self.rule.features_of(samples))
        except Exception as error:
            if len(samples) == 1:
                return [error]
            return [each for sample in samples for each in self.features_of([sample])]

    def verdict(self, sample: Sample, features: Any) -> Verdict:
        """Raises whatever the selector raises."""
        if isinstance(features, Exception):
            raise features
        if self.is_final:
            return ACCEPTED
        if hasattr(self.rule, "verdict"):
            return storable(self.rule.verdict(sample, features))
        return storable(self.rule(sample))

    def keep(self, sample: Sample, features: Any) -> None:
        keep = getattr(self.rule, "offer" if self.is_final else "keep", None)
        if keep is not None:
            keep(sample, features)


class Selection:
    """Takes samples through the selectors, and holds back those that a final one decides about."""

    def __init__(self, stages: Sequence[SelectingStage], times: StageTimes) -> None:
        self.stages = list(stages)
        self._times = times
        self._is_light = all(stage.is_light for stage in stages)
        self._final = next((stage for stage in stages if stage.is_final), None)
        self._held: HeldSamples | None = None

    def __repr__(self) -> str:
        return f"<Selection {', '.join(stage.name for stage in self.stages)}>"

    @property
    def num_held(self) -> int:
        """How many samples a final selector has yet to decide about."""
        return 0 if self._held is None else self._held.num_samples

    @property
    def most_written(self) -> int | None:
        """How many samples a final selector lets through at most, if it says."""
        return None if self._final is None else getattr(self._final.rule, "most_written", None)

    async def prepare(self) -> None:
        """Have selectors read what they compare with. Raises ``WeaveError`` where they cannot.

        Whoever is cancelled meanwhile leaves at once: a large file may take minutes.
        """
        for stage in self.stages:
            await _left_at_will(stage.prepare)

    def close(self) -> None:
        """Let go of what was held back."""
        if self._held is not None:
            self._held.close()

    async def select(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples after selection, without those that a final selector still decides about.

        Batches have to come one after the other, in order.
        """
        if not self.stages:
            return samples
        if self._is_light:
            return self._selected(samples)
        return await asyncio.to_thread(self._selected, samples)

    async def held(self) -> Iterator[Sample]:
        """Those that were held back, now that all have come, each with what was decided."""
        if self._final is None or self._held is None:
            return iter(())  # none has come so far
        started = time.perf_counter(), time.thread_time()
        verdicts = await asyncio.to_thread(_begun, self._final.rule.verdicts)
        self._count(self._final, 0, *started)
        return self._decided(self._final, self._held, verdicts)

    def _decided(
        self, final: SelectingStage, held: HeldSamples, verdicts: Iterable[Verdict]
    ) -> Iterator[Sample]:
        for sample, verdict in zip(held, verdicts, strict=True):
            yield (
                sample
                if verdict.passed
                else rejected(sample, final.kind, final.name, storable(verdict))
            )

    def _selected(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        for stage in self.stages:
            self._count(stage, len(samples), time.perf_counter(), time.thread_time())
        alive = [sample for sample in samples if not has_ended(sample)]
        features = [self._features_of(stage, alive) for stage in self.stages]
        each_features = zip(*features, strict=True)
        after = []
        for sample in samples:
            if not has_ended(sample):
                sample = self._judged(sample, next(each_features))
                if self._final is not None and sample.rejection is None:
                    self._hold(sample)
                    continue
            after.append(sample)
        return after

    def _hold(self, sample: Sample) -> None:
        if self._held is None:
            self._held = HeldSamples()
        self._held.append(sample)

    def _features_of(self, stage: SelectingStage, samples: Sequence[Sample]) -> Sequence[Any]:
        started = time.perf_counter(), time.thread_time()
        features = stage.features_of(samples)
        self._count(stage, 0, *started)
        return features

    def _judged(self, sample: Sample, features: Sequence[Any]) -> Sample:
        for number, stage in enumerate(self.stages):
            started = time.perf_counter(), time.thread_time()
            try:
                verdict = stage.verdict(sample, features[number])
            except StorageError:  # no fault of the sample, and the next one would fare alike
                raise
            except Exception as error:
                return stage.guard.rejected(sample, error)
            finally:
                self._count(stage, 0, *started)
            if not verdict.passed:
                return rejected(sample, stage.kind, stage.name, verdict)
        for number, stage in enumerate(self.stages):
            started = time.perf_counter(), time.thread_time()
            try:
                stage.keep(sample, features[number])
            except StorageError:  # no fault of the sample, and the next one would fare alike
                raise
            except Exception as error:
                return stage.guard.rejected(sample, error)
            finally:
                self._count(stage, 0, *started)
        return sample

    def _count(self, stage: SelectingStage, num_samples: int, wall_s: float, cpu_s: float) -> None:
        account = self._times.setdefault(f"{stage.kind}:{stage.name}", StageTime())
        account.num_samples += num_samples
        account.wall_s += time.perf_counter() - wall_s
        account.cpu_s += time.thread_time() - cpu_s


def _begun(verdicts: Callable[[], Iterable[Verdict]]) -> Iterator[Verdict]:
    """What it returns, with the first of it worked out: for a generator, that is all the work, but
    the evidence of a million verdicts is not there at once.
    """
    each = iter(verdicts())
    return chain(list(islice(each, 1)), each)


async def _left_at_will(work: Callable[[], None]) -> None:
    """Like ``asyncio.to_thread``, but no executor waits for the thread when the process ends."""
    future = Future[None]()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            work()
        except Exception as error:  # it is raised again where the future is awaited
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="preparing a selector", daemon=True).start()
    await asyncio.wrap_future(future)


class HeldSamples:
    """Samples that no stage has ended, in a file without a name: memory stays flat.

    Where the disk refuses, appending and iterating raise ``StorageError``.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="weave-async-")  # noqa: SIM115 - see ``close``
        self._writer = SampleWriter()
        self.num_samples = 0

    def __repr__(self) -> str:
        return f"<HeldSamples {self.num_samples}>"

    def append(self, sample: Sample) -> None:
        with storage_errors(Path(tempfile.gettempdir())):
            self._file.write(self._writer.line(sample) + b"\n")
        self.num_samples += 1

    def __iter__(self) -> Iterator[Sample]:
        """From the first one on, in the order in which they were appended."""
        with storage_errors(Path(tempfile.gettempdir())):  # what is buffered is written now
            self._file.seek(0)
        for line in self._file:
            yield sample_in(line.rstrip(b"\n"), self._writer.schemas)

    def close(self) -> None:
        with suppress(OSError):  # what the disk does not take any more
            self._file.close()
