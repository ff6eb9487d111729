"""A power cut at any moment: all that was handed on is there, and nothing that was not written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from weave_async.errors import RunFolderError
from weave_async.journal import commit, writer
from weave_async.journal.journal import Journal
from weave_async.records import Response, Sample

from .crashing_disk import CrashingDisk, Image
from .outcomes import outcome

MakeSample = Callable[..., Sample]
NUM_SAMPLES, NUM_RUNS = 60, 3


@pytest.fixture(autouse=True)
def small_and_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 6000)
    monkeypatch.setattr(commit, "SYNC_APART_S", 0.0)


def sample_of(make_sample: MakeSample, run: int, number: int) -> Sample:
    return make_sample(f"{run}/{number} " * (1 + number * 37 % 150), ordinal=1000 * run + number)


class Crashes:
    """Runs with power cuts: after each, what the disk kept is looked at, and one is gone on from.

    ``num_states`` counts the power cuts that were survived.
    """

    def __init__(self, folder: Path, make_sample: MakeSample, seed: int) -> None:
        self._folder = folder
        self._make_sample = make_sample
        self._rng = Random(seed)
        self._handed_on: set[int] = set()
        self._states: list[tuple[Image, set[int]]] = []
        self.num_states = 0

    def search(self) -> None:
        for run in range(NUM_RUNS):
            before = {path.name: path.read_bytes() for path in self._folder.iterdir()}
            self._states = [(before, set(self._handed_on))]
            asyncio.run(self._run(run))
            for image, handed_on in self._states:
                self._look(image, handed_on)
            image, self._handed_on = self._rng.choice(self._states)
            self._restore(image)
            self.num_states += len(self._states)

    async def _run(self, run: int) -> None:
        disk = CrashingDisk(
            self._rng,
            lambda image: self._states.append((image, set(self._handed_on))),
            images=0.15,
        )
        journal = Journal(self._folder, asks={"run": run}, disk=disk)
        journal.begin()
        disk.sync_fails = 0.05
        committing = asyncio.create_task(self._commit(journal))
        for number in range(NUM_SAMPLES):
            sample = sample_of(self._make_sample, run, number)
            journal.sent(sample.request, tokens=10)
            journal.record(sample)
            if self._rng.random() < 0.4:
                await asyncio.sleep(0.001 if self._rng.random() < 0.3 else 0)
        journal.finish()
        await committing
        journal.close()
        assert disk.num_syncs_after_failure == 0

    async def _commit(self, journal: Journal) -> None:
        async for group in journal.commits():
            self._handed_on |= {sample.ordinal for sample in group}

    def _restore(self, image: Image) -> None:
        for path in self._folder.iterdir():
            path.unlink()
        for name, content in image.items():
            (self._folder / name).write_bytes(content)

    def _look(self, image: Image, handed_on: set[int]) -> None:
        self._restore(image)
        journal = Journal(self._folder, asks={})
        for run in range(NUM_RUNS):
            for number in range(NUM_SAMPLES):
                sample = sample_of(self._make_sample, run, number)
                found = outcome(journal, sample)
                if found is not None:
                    assert isinstance(found, Response)
                    assert found.text == sample.completion
                assert found is not None or sample.ordinal not in handed_on
        journal.close()


def survive(tmp_path: Path, make_sample: MakeSample, *, num_states: int, first_seed: int) -> None:
    seen, seed = 0, first_seed
    while seen < num_states:
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        crashes = Crashes(folder, make_sample, seed)
        try:
            crashes.search()
        except (AssertionError, RunFolderError) as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        seen += crashes.num_states
        seed += 1


def test_two_hundred_power_cuts_cost_nothing_that_was_handed_on(
    tmp_path: Path, make_sample: MakeSample
) -> None:
    survive(tmp_path, make_sample, num_states=200, first_seed=1)


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_thousands_of_power_cuts_cost_nothing_that_was_handed_on(
    tmp_path: Path, make_sample: MakeSample
) -> None:
    survive(tmp_path, make_sample, num_states=4000, first_seed=1000)
