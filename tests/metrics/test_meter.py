"""The meter of a run: what it tells of any dataset, however odd, and in whatever order it comes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from weave_async.metrics.catalogue import CATALOGUE
from weave_async.metrics.meter import DiversityMeter
from weave_async.records import Sample

MakeSample = Callable[..., Sample]


@pytest.fixture
def samples(make_sample: MakeSample) -> list[Sample]:
    rng = random.Random(2)
    verbs, things = ["send", "lose", "find", "block"], ["card", "money", "transfer", "account"]
    made = []
    for ordinal in range(300):
        words = [rng.choice(verbs), "my", rng.choice(things), str(rng.randint(1, 50)), "times"]
        sample = make_sample(" ".join(words), ordinal=ordinal)
        attributes = {"tone": rng.choice(["kind", "curt"]), "topic": words[2]}
        made.append(replace(sample, prompt=replace(sample.prompt, attributes=attributes)))
    return made


def counted(samples: list[Sample], batch: int = 50, **options: Any) -> DiversityMeter:
    meter = DiversityMeter(7, **options)
    for start in range(0, len(samples), batch):
        meter.count(samples[start : start + batch])
    return meter


def strict_json(figures: dict[str, Any]) -> str:
    return json.dumps(figures, allow_nan=False, sort_keys=True)


def test_all_metrics_are_told_with_intervals_of_as_many_rows_as_are_kept(
    samples: list[Sample],
) -> None:
    values = {"tone": ["kind", "curt", "dry"], "topic": ["card", "money", "transfer", "account"]}
    meter = counted(
        samples, max_rows=200, attribute_values=values, seeds_texts=["lose my card 3 times"]
    )
    figures = meter.figures()
    assert figures["metrics"].keys() == CATALOGUE.keys()
    assert figures["absent"] == {}
    assert (figures["num_rows"], figures["num_words"]) == (300, 1500)
    assert figures["embedder"] == "ngrams"
    for name, estimate in figures["metrics"].items():
        assert estimate["num_rows"] == 200
        assert estimate["low"] <= estimate["value"] <= estimate["high"], name
    assert figures["metrics"]["attribute_coverage"]["value"] == pytest.approx((2 / 3 + 1) / 2)
    strict_json(figures)


def test_figures_do_not_depend_on_the_order_or_batches_of_the_rows(samples: list[Sample]) -> None:
    figures = counted(samples, max_rows=100).figures()
    random.Random(1).shuffle(samples)
    assert strict_json(counted(samples, batch=7, max_rows=100).figures()) == strict_json(figures)


def test_another_seed_keeps_other_rows(samples: list[Sample]) -> None:
    one, other = DiversityMeter(1, max_rows=50), DiversityMeter(2, max_rows=50)
    one.count(samples)
    other.count(samples)
    assert one.figures()["metrics"]["distinct_2"] != other.figures()["metrics"]["distinct_2"]


def test_the_snapshot_is_of_all_rows_so_far(samples: list[Sample]) -> None:
    meter = counted(samples, max_rows=20)
    snapshot = meter.snapshot()
    assert snapshot["num_rows"] == 300
    assert {"distinct_1", "distinct_2", "top_opening_share", "vendi_words"} <= snapshot.keys()
    meter.count(samples[:1])
    assert meter.snapshot()["num_rows"] == 301


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        ["?!", "…"],
        ["One row only."],
        ["the same"] * 40,
        ["日本語のテキスト", "Привет, как дела?", "Hello there", "مرحبا", "🙂🙂"] * 5,
        ["word " * 30_000],
        ["\ud800 lone surrogate \x00 and nul"] * 12,
    ],
    ids=["none", "empty", "marks", "one", "equal", "languages", "long", "surrogates"],
)
def test_no_dataset_is_too_odd(texts: list[str], make_sample: MakeSample) -> None:
    meter = counted([make_sample(text, ordinal=place) for place, text in enumerate(texts)])
    snapshot, figures = meter.snapshot(), meter.figures()
    strict_json(snapshot)
    strict_json(figures)
    assert snapshot["num_rows"] == figures["num_rows"] == len(texts)
    told, absent = figures["metrics"].keys(), figures["absent"]
    assert told | absent.keys() == CATALOGUE.keys()
    assert not told & absent.keys()
    assert all(absent.values())


def test_what_cannot_be_told_says_why(make_sample: MakeSample) -> None:
    absent = counted([make_sample("One row only.")]).figures()["absent"]
    assert absent["self_bleu"] == "it takes two texts with words"
    assert absent["mtld"] == "MTLD needs 50 words; there are 3"
    assert absent["novelty_2"] == "there are no seed texts to compare with"
    assert absent["attribute_entropy"] == "the rows have no attributes"
