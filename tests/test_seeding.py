"""Seeds: the same for the same choice, on any machine and in any order."""

from __future__ import annotations

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from weave_async.seeding import rng_for, seed_for

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_seeds_are_the_same_for_ever() -> None:
    """A run that is resumed with a later version must ask the same questions again."""
    assert seed_for(0, "", 0, "") == 3291348127839265789
    assert seed_for(1, "00000000cafe0000", 2, "noise:typos:prompt") == 2530852464062856173


def test_seeds_do_not_depend_on_the_process() -> None:
    program = "from weave_async.seeding import seed_for; print(seed_for(5, 'é', 1, 'mix'))"
    shown = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert shown == {f"{seed_for(5, 'é', 1, 'mix')}\n".encode()}


@given(st.integers(), names, st.integers(0, 10**6), names)
def test_a_seed_has_64_bits(run_seed: int, prompt_id: str, sample_index: int, stage: str) -> None:
    assert 0 <= seed_for(run_seed, prompt_id, sample_index, stage) < 2**64


def test_each_part_of_the_name_counts() -> None:
    seeds = {
        seed_for(run_seed, prompt_id, sample_index, stage)
        for run_seed in range(5)
        for prompt_id in ("a", "b", "a.1", "")
        for sample_index in range(5)
        for stage in ("mix", "noise:typos:prompt", "noise:typos:completion")
    }
    assert len(seeds) == 5 * 4 * 5 * 3


def test_parts_do_not_run_into_one_another() -> None:
    assert seed_for(1, "1", 1, "x") != seed_for(11, "", 1, "x")
    assert seed_for(1, "a", 11, "x") != seed_for(1, "a1", 1, "x")


def test_generators_of_one_choice_give_the_same_draws() -> None:
    one, two = rng_for(1, "a", 0, "mix"), rng_for(1, "a", 0, "mix")
    assert [one.random() for _ in range(5)] == [two.random() for _ in range(5)]
    assert rng_for(1, "a", 1, "mix").random() != rng_for(1, "a", 0, "mix").random()


def test_seeds_are_spread_evenly() -> None:
    draws = [rng_for(0, f"{n:016x}", 0, "mix").random() for n in range(4_000)]
    assert abs(sum(draws) / len(draws) - 0.5) < 0.02
    assert all(350 < sum(tenth <= 10 * d < tenth + 1 for d in draws) < 450 for tenth in range(10))
