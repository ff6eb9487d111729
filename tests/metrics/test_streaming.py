"""Streaming estimates beside the exact figures of the same rows."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.features.ngrams import mixed
from weave_async.features.words import words_of
from weave_async.metrics import lexical
from weave_async.metrics.corpus import Corpus
from weave_async.metrics.hyperloglog import RELATIVE_ERROR, HyperLogLog
from weave_async.metrics.space_saving import SpaceSaving
from weave_async.metrics.streaming import StreamingDiversity
from weave_async.metrics.word_ngrams import SeedNgrams


def hashes(start: int, num: int) -> np.ndarray:
    return mixed(np.arange(start, start + num, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


@pytest.mark.parametrize("num", [1, 100, 10_000, 40_000, 60_000, 500_000])
def test_hyperloglog_errs_as_the_paper_says_and_is_not_biased(num: int) -> None:
    errors = []
    for trial in range(12):
        sketch = HyperLogLog()
        sketch.add(hashes(1 + trial * 10_000_000, num))
        errors.append(sketch.count() / num - 1)
    assert max(map(abs, errors)) < 4 * RELATIVE_ERROR
    assert abs(np.mean(errors)) < 4 * RELATIVE_ERROR / len(errors) ** 0.5


def test_hyperloglog_counts_repeated_hashes_once_and_nothing_as_0() -> None:
    once, often = HyperLogLog(), HyperLogLog()
    assert once.count() == 0
    once.add(hashes(1, 5_000))
    for _ in range(3):
        often.add(hashes(1, 5_000)[::-1])
    assert often.count() == once.count()


def test_merged_hyperloglogs_are_that_of_all_hashes() -> None:
    whole, one, other = HyperLogLog(), HyperLogLog(), HyperLogLog()
    whole.add(hashes(1, 9_000))
    one.add(hashes(1, 5_000))
    other.add(hashes(4_000, 5_001))
    one.merge(other)
    assert one.count() == whole.count()


@given(st.lists(st.integers(0, 30).map(str), min_size=1, max_size=300), st.integers(1, 12))
def test_space_saving_keeps_its_bounds(names: list[str], capacity: int) -> None:
    sketch = SpaceSaving(capacity)
    for name in names:
        sketch.add(name)
    true = Counter(names)
    kept = {name: (count, excess) for name, count, excess in sketch.top(capacity)}
    assert len(kept) <= capacity
    assert sum(count for count, _ in kept.values()) == len(names)
    for name, (count, excess) in kept.items():
        assert true[name] <= count <= true[name] + excess
        assert excess <= len(names) / capacity
    assert all(name in kept for name, count in true.items() if count > len(names) / capacity)


def test_space_saving_is_exact_while_names_are_few() -> None:
    sketch = SpaceSaving(3)
    sketch.add_all({"a": 2, "b": 5, "c": 5})
    assert sketch.is_exact
    assert sketch.top(2) == [("b", 5, 0), ("c", 5, 0)]


def rows_of_words(num_rows: int) -> list[str]:
    rng = random.Random(4)
    words = [f"w{int(rng.paretovariate(0.7))}" for _ in range(3_000)]
    return [" ".join(rng.choices(words, k=rng.randint(0, 15))) for _ in range(num_rows)]


def test_streaming_estimates_are_within_what_they_state_of_the_exact_ones() -> None:
    texts = rows_of_words(3_000)
    seeds = SeedNgrams(texts[:20])
    stream = StreamingDiversity(seeds)
    for start in range(0, len(texts), 250):
        stream.add([words_of(text) for text in texts[start : start + 250]])
    corpus, values, errors = Corpus(texts, seeds=seeds), stream.values(), stream.errors()
    for n in (1, 2, 3):
        exact = lexical.distinct(corpus, n)
        assert values[f"distinct_{n}"] == pytest.approx(exact, rel=3 * errors[f"distinct_{n}"])
    for n in (2, 3):
        assert errors[f"novelty_{n}"] == 0
        assert values[f"novelty_{n}"] == pytest.approx(lexical.novelty(corpus, n))
    top = lexical.top_opening_share(corpus)
    assert top <= values["top_opening_share"] <= top + errors["top_opening_share"] + 1e-9
    assert 1 < values["vendi_words"] < 128


def test_novelty_against_a_sample_of_the_seeds_states_an_error() -> None:
    stream = StreamingDiversity(SeedNgrams((f"a{i} b{i} c{i}" for i in range(400)), max_kept=99))
    stream.add([f"a{i} b{i} x{i}".split() for i in range(400)])
    assert 0 < stream.errors()["novelty_2"] < 0.2
    assert stream.values()["novelty_2"] == pytest.approx(0.5, abs=stream.errors()["novelty_2"])


def test_streaming_estimates_do_not_depend_on_order_or_batches() -> None:
    words = [words_of(text) for text in rows_of_words(500)]
    one, other = StreamingDiversity(), StreamingDiversity()
    one.add(words)
    random.Random(1).shuffle(words)
    for start in range(0, 500, 77):
        other.add(words[start : start + 77])
    assert one.values() == other.values()
    assert one.top_openings(5) == other.top_openings(5)
    assert one.lengths() == other.lengths()


def test_lengths_are_told_by_quantiles_and_a_histogram_of_all_rows() -> None:
    stream = StreamingDiversity()
    stream.add([["w"] * length for length in (1, 2, 3, 4, 40)])
    lengths = stream.lengths()
    assert lengths["mean"] == 10
    assert lengths["quantiles"]["0.50"] == 3
    assert lengths["quantiles"]["0.95"] == 40
    assert sum(bin_["num_rows"] for bin_ in lengths["histogram"]) == 5
    assert {"from": 2, "below": 4, "num_rows": 2} in lengths["histogram"]
