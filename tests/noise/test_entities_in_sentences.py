"""Names under other names: no two become one, and what follows them still fits."""

from __future__ import annotations

import pytest

from weave_async.noise.edits import Passage, applied
from weave_async.noise.entities import EntitiesNoise
from weave_async.seeding import rng_for


def renamed(text: str, seed: int, locale: str = "en_US") -> str:
    noise = EntitiesNoise(locale=locale)
    rng = rng_for(seed, "p", 0, "noise")
    return applied(Passage(text, sample_seed=seed), noise.edits(Passage(text, (), seed), rng))[0]


def test_a_frequent_name_and_one_that_is_a_word_do_not_become_the_same() -> None:
    for seed in range(50):
        names = renamed("Mr. Smith and Mr. Brown and Mrs. Johnson and Mr. King", seed).split()[1::3]
        assert len(set(names)) == len(names), seed


@pytest.mark.parametrize("apostrophe", "'’")
def test_a_bare_genitive_gets_its_s_with_a_name_that_needs_it(apostrophe: str) -> None:
    for seed in range(30):
        name, rest = renamed(f"I saw James{apostrophe} dog", seed)[6:].split(apostrophe)
        assert rest == (" dog" if name.endswith("s") else "s dog"), name


@pytest.mark.parametrize(
    "text", ["We were in St. Louis", "near St. James's Park", "when Bishop arrived", "King of all"]
)
def test_saints_and_titles_keep_their_names(text: str) -> None:
    assert renamed(text, 1) == text


def test_a_title_in_front_of_a_first_name_is_no_last_name() -> None:
    text = renamed("When did King Charles visit?", 1)
    assert text.startswith("When did King ")
    assert "Charles" not in text


def test_german_nouns_are_no_last_names_unless_a_first_name_says_so() -> None:
    assert renamed("Mein Bruder ist Koch", 1, "de_DE") == "Mein Bruder ist Koch"
    assert "Koch" not in renamed("Das ist Anna Koch", 1, "de_DE")
