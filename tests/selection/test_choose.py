"""k good samples that are unlike each other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selection.selecting import decided
from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.features.embeddings import NgramEmbedder
from weave_async.metrics.semantic import vendi_of
from weave_async.records import (
    Message,
    Prompt,
    Request,
    RuleVerdict,
    Sample,
    SamplingParams,
    Verdict,
)
from weave_async.selection import choosing
from weave_async.selection.candidates import Candidates
from weave_async.selection.choose import ChooseSelector
from weave_async.selection.codes import codes_of

MakeSample = Callable[..., Sample]
NAME = "weave_async.selection.choose:ChooseSelector"
STRATEGIES = ("dpp", "mmr", "ssd")
REAL_TEXTS = Path(__file__).parents[2] / "benchmarks" / "noise_texts.txt"
TEXTS = st.lists(st.text(alphabet="ab карт口座. ", max_size=12), max_size=40)


@pytest.fixture(scope="module")
def real_texts() -> list[str]:
    return REAL_TEXTS.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def samples(make_sample: MakeSample) -> Callable[..., list[Sample]]:
    def make(texts: Sequence[str], scores: Sequence[float] = ()) -> list[Sample]:
        made = [make_sample(text, ordinal=n) for n, text in enumerate(texts)]
        return [
            replace(each, verdicts=(RuleVerdict("judge", True, "", {"score": scores[n]}),))
            if scores
            else each
            for n, each in enumerate(made)
        ]

    return make


def with_completions(texts: Sequence[str]) -> list[Sample]:
    request = Request("request", "tiny", (), SamplingParams())
    return [
        Sample(
            n, Prompt(f"{n:016x}", 0, (), {}, ""), request, "here", n, (Message("assistant", text),)
        )
        for n, text in enumerate(texts)
    ]


def choose(k: int, strategy: str = "dpp", **options: object) -> ChooseSelector:
    selector = registry.build(
        "selector", NAME, {"k": k, "strategy": strategy, "embedder": "ngrams", **options}
    )
    assert isinstance(selector, ChooseSelector)
    return selector


def passed(verdicts: Sequence[Verdict]) -> list[int]:
    return [number for number, verdict in enumerate(verdicts) if verdict.passed]


def vendi_score(texts: Sequence[str]) -> float:
    return vendi_of(NgramEmbedder().embed(texts))


@settings(max_examples=40)
@given(TEXTS, st.integers(1, 50), st.sampled_from(STRATEGIES), st.sampled_from([0.0, 0.5, 1.0]))
def test_as_many_as_asked_for_are_written_or_all_there_are(
    texts: list[str], k: int, strategy: str, diversity: float
) -> None:
    verdicts = decided(choose(k, strategy, diversity=diversity), with_completions(texts))
    assert len(verdicts) == len(texts)
    assert len(passed(verdicts)) == min(k, len(texts))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_choice_does_not_depend_on_batches(
    samples: Callable[..., list[Sample]], real_texts: list[str], strategy: str
) -> None:
    came = samples(real_texts, [n % 5 for n in range(len(real_texts))])
    one_by_one, by_seven, at_once = (
        decided(choose(20, strategy, quality={"rule": "judge"}), came, size) for size in (1, 7, 128)
    )
    assert one_by_one == by_seven == at_once


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_chosen_is_more_diverse_than_what_came_first(
    samples: Callable[..., list[Sample]], real_texts: list[str], strategy: str
) -> None:
    chosen = passed(decided(choose(15, strategy), samples(real_texts)))
    rng = np.random.default_rng(0)
    drawn = [rng.choice(len(real_texts), 15, replace=False) for _ in range(20)]
    by_chance = max(vendi_score([real_texts[number] for number in each]) for each in drawn)
    assert vendi_score([real_texts[number] for number in chosen]) > by_chance


def test_a_sample_that_is_not_chosen_names_the_nearest_that_is(
    samples: Callable[..., list[Sample]],
) -> None:
    came = samples(["My card is lost.", "My card is lost!", "Where is the beach?"])
    verdicts = decided(choose(2), came)
    assert passed(verdicts) == [0, 2]
    assert verdicts[1].reason == "not_chosen"
    evidence = dict(verdicts[1].evidence)
    assert evidence.pop("similarity") == pytest.approx(0.9, abs=0.1)
    assert evidence == {
        "of": came[0].sample_id, "embedder": "ngrams", "k": 2, "candidates": 3, "strategy": "dpp",
    }  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_of_near_texts_the_better_one_is_chosen(
    samples: Callable[..., list[Sample]], strategy: str
) -> None:
    came = samples(["My card is lost.", "My card is lost!", "Where is the beach?"], [2, 4, 3])
    verdicts = decided(choose(2, strategy, quality={"rule": "judge"}), came)
    assert passed(verdicts) == [1, 2]
    assert verdicts[0].evidence["quality"] == 2


def test_without_diversity_the_best_are_chosen_and_the_first_of_equals(
    samples: Callable[..., list[Sample]], real_texts: list[str]
) -> None:
    scores = [float(number % 10) for number in range(50)]
    came = samples(real_texts[:50], scores)
    verdicts = decided(choose(8, diversity=0, quality={"rule": "judge"}), came)
    assert passed(verdicts) == sorted([*range(9, 50, 10), 8, 18, 28])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equal_texts_come_last_and_in_order(
    samples: Callable[..., list[Sample]], strategy: str
) -> None:
    texts = ["yes", "yes", "no", "yes", "no", "perhaps"]
    assert passed(decided(choose(3, strategy), samples(texts))) == [0, 2, 5]
    assert passed(decided(choose(4, strategy), samples(texts))) == [0, 1, 2, 5]
    assert passed(decided(choose(2, strategy), samples(["yes"] * 5))) == [0, 1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_score_far_from_all_others_breaks_nothing(
    samples: Callable[..., list[Sample]], real_texts: list[str], strategy: str
) -> None:
    scores = [0.0] * len(real_texts)
    scores[7] = 1e9
    verdicts = decided(
        choose(30, strategy, diversity=0.1, quality={"rule": "judge"}), samples(real_texts, scores)
    )
    assert len(passed(verdicts)) == 30
    assert verdicts[7].passed


def test_more_than_fit_at_once_are_chosen_in_parts(
    samples: Callable[..., list[Sample]], real_texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "MOST_PICKS", 16)
    monkeypatch.setattr(choosing, "MOST_ROWS", 40)
    texts = [text + end for end in (".", "!", " ?") for text in real_texts]
    verdicts = decided(choose(50), samples(texts))
    chosen = passed(verdicts)
    assert len(chosen) == 50
    by_chance = np.random.default_rng(0).choice(len(texts), 50, replace=False)
    few = vendi_score([texts[number] for number in by_chance])
    assert vendi_score([texts[number] for number in chosen]) > few
    names = {f"{number:016x}-0" for number in chosen}
    assert all(verdict.evidence["of"] in names for verdict in verdicts if not verdict.passed)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_more_can_be_chosen_than_there_are_directions(strategy: choosing.Strategy) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((300, 3), np.float32) @ rng.standard_normal((3, 64), np.float32)
    candidates = Candidates(64)
    for number, code in enumerate(codes_of(rows)):
        candidates.add(str(number), code, 0.0)
    first = choosing.first_of_equals(candidates)
    parts = list(choosing.Chooser(strategy, 1.0).chosen(candidates, first, 200))
    chosen = np.concatenate([chosen for _, chosen in parts])
    assert len(np.unique(chosen)) == 200


def test_a_column_can_be_the_quality(samples: Callable[..., list[Sample]]) -> None:
    came = [
        replace(each, prompt=replace(each.prompt, columns={"stars": stars}))
        for each, stars in zip(samples(["a b c", "d e f", "g h i"]), (1, "3", 2.5), strict=True)
    ]
    selector = choose(1, quality={"column": "stars"})
    assert selector.columns_read == ["stars"]
    assert passed(decided(selector, came)) == [1]


@pytest.mark.parametrize("score", ["good", None, float("nan"), [4]])
def test_a_sample_without_a_score_cannot_be_compared(
    samples: Callable[..., list[Sample]], score: object
) -> None:
    [sample] = samples(["a"], [score])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="is no number"):
        choose(1, quality={"rule": "judge"}).features_of([sample])
    with pytest.raises(ValueError, match="rule 'other' has told no score"):
        choose(1, quality={"rule": "other"}).features_of([sample])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"": 0}, "k 0 must be 1 or more"),
        ({"k": 5, "strategy": "best"}, "strategy: .*'dpp', 'mmr' or 'ssd'"),
        ({"k": 5, "diversity": 2}, "diversity 2 must be from 0 to 1"),
        ({"k": 5, "quality": {}}, "name one rule or one column"),
        ({"k": 5, "quality": {"rule": "a", "column": "b"}}, "name one rule or one column"),
        ({"k": 5, "quality": {"judge": "a"}}, "'rule' or 'column'"),
    ],
)
def test_what_could_not_be_meant_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        registry.build("selector", NAME, options)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weave_async.selection.choose.find_spec", lambda name: None)
    with pytest.raises(RecipeError, match=re.escape("pip install 'weave-async[diversity]'")):
        registry.build("selector", NAME, {"k": 5})
