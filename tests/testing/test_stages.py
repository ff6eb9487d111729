"""Every installed noise and rule keeps its promises, and the checks notice one that does not."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from installed_parts import with_default_options
from weave_async.noise.edits import Edit, Passage
from weave_async.records import Sample, Verdict
from weave_async.testing.stages import check_noise, check_validator


@pytest.mark.parametrize("noise", with_default_options("noise"))
def test_every_installed_noise_keeps_its_promises(noise: Any) -> None:
    check_noise(noise, always_changes=False)


@pytest.mark.parametrize("rule", with_default_options("validator"))
def test_every_installed_rule_keeps_its_promises(rule: Any) -> None:
    check_validator(rule)


class Unseeded:
    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        for start, end in passage.words:
            yield Edit(start, end, random.choice(["ja", "jo"]) * random.randrange(1, 9))


class Idle:
    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        return iter(())


class Surrogate:
    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        return (Edit(start, end, "\ud800") for start, end in passage.words)


class Quadratic:
    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        end_s = time.thread_time() + len(passage.text) ** 2 * 2e-8
        while time.thread_time() < end_s:
            pass
        return (Edit(start, start, "h") for start, _ in passage.words[:1])


class Growing:
    def __call__(self, text: str, rng: Random) -> str:
        return text * 100


@pytest.mark.parametrize(
    ("noise", "error"),
    [
        (Unseeded(), AssertionError),
        (Idle(), AssertionError),
        (Surrogate(), UnicodeEncodeError),
        (Quadratic(), AssertionError),
        (Growing(), ValueError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_noise_that_breaks_a_promise_is_found_out(noise: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_noise(noise)


def returning(value: Any) -> Any:
    return lambda sample: value


def judging_by_chance(sample: Sample) -> Verdict:
    return Verdict(False, "chance", {"draw": random.random()})


def stumbling(sample: Sample) -> Verdict:
    return Verdict(sample.completion[0].isupper())


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (returning(None), AssertionError),
        (returning(True), AssertionError),
        (returning(Verdict(False)), AssertionError),
        (returning(Verdict(False, "two words")), AssertionError),
        (returning(Verdict(False, "odd", {"what": object()})), TypeError),
        (judging_by_chance, AssertionError),
        (stumbling, IndexError),
    ],
)
def test_a_rule_that_breaks_a_promise_is_found_out(rule: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_validator(rule)
