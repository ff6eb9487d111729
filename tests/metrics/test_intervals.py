"""The intervals hold what they say, and where the bootstrap's would not."""

from __future__ import annotations

import random

import numpy as np
import pytest

from weave_async.features.embeddings import NgramEmbedder
from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import (
    CannotTellError,
    jackknifed,
    rows_without_groups,
    seeded_order,
    share_estimate,
)
from weave_async.metrics.measuring import MEASURES, measured
from weave_async.metrics.word_ngrams import SeedNgrams

NUM_ROWS = 60
WORDS = [f"w{rank}" for rank in range(1_500)]
SHARES = [1 / (rank + 1) for rank in range(len(WORDS))]


def zipf_corpus(rng: random.Random, num_rows: int = NUM_ROWS) -> Corpus:
    texts = [" ".join(rng.choices(WORDS, SHARES, k=rng.randint(5, 15))) for _ in range(num_rows)]
    seeds = SeedNgrams([" ".join(random.Random(5).choices(WORDS, SHARES, k=500))])
    return Corpus(texts, embedder=NgramEmbedder(), seeds=seeds)


@pytest.mark.parametrize(
    "name", ["distinct_1", "distinct_2", "self_bleu", "mtld", "novelty_2", "cluster_entropy"]
)
def test_intervals_cover_what_other_such_sets_give(name: str) -> None:
    rng = random.Random(11)
    expected = np.mean([MEASURES[name](zipf_corpus(rng)) for _ in range(100)])
    num_covering = 0
    for seed in range(50):
        estimate = measured(zipf_corpus(rng), [name], seed=seed)[0][name]
        assert estimate.low is not None
        assert estimate.high is not None
        num_covering += estimate.low <= expected <= estimate.high
    assert num_covering >= 43  # of 50, where 47 or 48 are to be expected


def test_vendis_interval_covers_where_the_bootstraps_lies_beside_the_value() -> None:
    rng = random.Random(3)
    expected = np.mean([MEASURES["vendi"](zipf_corpus(rng)) for _ in range(40)])
    corpora = [zipf_corpus(rng) for _ in range(12)]
    estimates = [measured(corpus, ["vendi"], seed=2)[0]["vendi"] for corpus in corpora]
    covering = [(e.low or 0) <= expected <= (e.high or 0) for e in estimates]
    assert sum(covering) >= 9

    resampled = [
        MEASURES["vendi"](corpora[0].take(np.array(rng.choices(range(NUM_ROWS), k=NUM_ROWS))))
        for _ in range(40)
    ]
    assert max(resampled) < estimates[0].value


def test_of_a_mean_the_interval_is_students() -> None:
    rows = np.random.default_rng(1).normal(size=20)
    parts = [rows[left] for left in rows_without_groups(20, seed=1)]
    estimate = jackknifed(lambda part: float(part.mean()), rows, parts, num_rows=20, num_words=0)
    half = 2.093 * rows.std(ddof=1) / np.sqrt(20)
    assert estimate.low == pytest.approx(rows.mean() - half)
    assert estimate.high == pytest.approx(rows.mean() + half)


@pytest.mark.parametrize("num_rows", [10, 19, 20, 57])
def test_every_group_that_is_left_out_is_as_large_and_no_row_is_left_out_twice(
    num_rows: int,
) -> None:
    left = rows_without_groups(num_rows, seed=4)
    gone = [sorted(set(range(num_rows)) - set(part.tolist())) for part in left]
    assert len({len(group) for group in gone}) == 1
    rows = [row for group in gone for row in group]
    assert len(rows) == len(set(rows))


def test_the_order_is_the_seeds() -> None:
    assert sorted(seeded_order(50, 1).tolist()) == list(range(50))
    assert seeded_order(50, 1).tolist() == seeded_order(50, 1).tolist()
    assert seeded_order(50, 1).tolist() != seeded_order(50, 2).tolist()
    assert sorted(seeded_order(5, -3).tolist()) == list(range(5))


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe, 1998, "Two-sided confidence intervals for the single proportion", table I.
    for count, total, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)]:
        estimate = share_estimate(count, total, num_words=0)
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)
    assert share_estimate(0, 20, num_words=0).high == pytest.approx(0.1611, abs=5e-5)


def test_few_rows_have_a_value_and_no_interval() -> None:
    estimate = measured(Corpus(["a b", "b c"]), ["distinct_1"], seed=1)[0]["distinct_1"]
    assert (estimate.value, estimate.low, estimate.high) == (0.75, None, None)
    assert "fewer than 10 rows" in estimate.method


def test_a_metric_that_some_part_does_not_have_keeps_its_value() -> None:
    texts = ["same same", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]
    estimate = measured(Corpus(texts), ["distinct_2"], seed=1)[0]["distinct_2"]
    assert estimate.value == 1
    assert estimate.low is None
    assert estimate.method == "no interval: no text has 2 words"


def test_a_figure_that_is_not_finite_is_refused() -> None:
    with pytest.raises(CannotTellError):
        jackknifed(lambda _: float("nan"), None, [], num_rows=3, num_words=3)
