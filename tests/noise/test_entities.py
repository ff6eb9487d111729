"""Names replaced by others, the same throughout a sample."""

from __future__ import annotations

from random import Random

import pytest

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.noise.entities import EntitiesNoise
from weave_async.noise.entity_names import names_of
from weave_async.noise.lock import MeaningLock
from weave_async.noise.spans import ProtectedSpans

NAMES = names_of("en_US").by_kind


def renamed(text: str, sample_seed: int = 1, seed: int = 0, **options: object) -> str:
    lock = MeaningLock(ProtectedSpans(["Boston Tea"]))
    noise = EntitiesNoise(**options)  # type: ignore[arg-type]
    return lock.vary(noise, text, Random(seed), sample_seed).text


@pytest.mark.parametrize("sample_seed", range(20))
def test_a_name_becomes_the_same_one_in_all_texts_of_a_sample(sample_seed: int) -> None:
    question = renamed("Is Anna the sister of Thomas?", sample_seed, seed=1).rstrip("?").split()
    answer = renamed("Yes, Thomas's sister is Anna.", sample_seed, seed=2).rstrip(".").split()
    assert question[1] == answer[-1] != "Anna"
    assert answer[1] == f"{question[-1]}'s" != "Thomas's"


@pytest.mark.parametrize("sample_seed", range(20))
def test_women_become_women_and_men_men_and_cities_cities(sample_seed: int) -> None:
    words = renamed("so Anna met Thomas in Boston, ok", sample_seed).split()
    assert words[1] in NAMES["female"]
    assert words[3] in NAMES["male"]
    assert words[5] in {city.split()[0] + "," * (" " not in city) for city in NAMES["city"]}


def test_other_samples_have_other_names() -> None:
    assert len({renamed("so Anna came", seed) for seed in range(30)}) > 20


def test_two_people_never_become_one() -> None:
    everyone = [*NAMES["female"], *NAMES["male"]]
    for seed in range(5):
        text = "so " + " and ".join(everyone) + " came"
        became = renamed(text, seed).removeprefix("so ").removesuffix(" came").split(" and ")
        assert len(set(became)) == len(everyone)
        assert not any(a == b for a, b in zip(became, everyone, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "May I ask Grace?",
        "Will you read the Rose on Brown paper",
        "Smith and Wesson",
        "Justice O'Connor and D'Agostino",
        "we had Boston Tea and boston cream",
        "see anna.miller@a.com or https://a.example/Anna",
        "in `Anna = Thomas` it says",
        "he said 'Anna came' to us",
    ],
)
def test_what_may_be_a_word_or_is_protected_stays(text: str) -> None:
    assert renamed(text) == text


def test_a_word_beside_a_name_or_a_title_is_a_name() -> None:
    for text, kept in (("so Grace Miller came", "so"), ("ask Mr. Brown now", "ask Mr.")):
        noisy = renamed(text)
        assert noisy.startswith(kept)
        assert noisy != text
        assert "Grace" not in noisy
        assert "Brown" not in noisy


def test_long_cities_and_companies_are_replaced_whole() -> None:
    assert "New York" not in renamed("I live in New York's centre")
    assert renamed("at Zoltrax Inc. there").endswith(" Inc. there")
    assert "Zoltrax" not in renamed("at Zoltrax Inc. there")


def test_the_rate_is_the_share_of_names_replaced() -> None:
    kept = sum(renamed("so Anna came", seed, rate=0.3) == "so Anna came" for seed in range(1000))
    assert kept == pytest.approx(700, abs=60)


def test_a_locale_has_its_own_names() -> None:
    noisy = renamed("das ist Heinrich aus Dresden", locale="de_DE").split()
    german = names_of("de_DE").by_kind
    assert noisy[2] in german["male"]
    assert noisy[2] != "Heinrich"


@pytest.mark.parametrize("locale", ["xx_XX", "en", "../os", "ja_JP", ""])
def test_a_locale_without_names_is_refused(locale: str) -> None:
    with pytest.raises(RecipeError, match=r"locale must be one of Faker's|has none"):
        registry.build("noise", "weave_async.noise.entities:EntitiesNoise", {"locale": locale})
