"""The Vendi score's identities, and cells; attributes too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from weave_async.features.embeddings import NgramEmbedder
from weave_async.metrics.attribute_coverage import (
    attribute_coverage,
    attribute_entropy,
    attribute_pair_coverage,
)
from weave_async.metrics.corpus import Corpus
from weave_async.metrics.estimate import CannotTellError
from weave_async.metrics.semantic import (
    StreamingVendi,
    cluster_entropy,
    vendi,
    vendi_of,
    vendi_of_kernel,
)


def unit_rows(num_rows: int, num_dimensions: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num_rows, num_dimensions)) + 0.3
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class FewDimensions:
    """So few that there are more rows than dimensions."""

    name: ClassVar[str] = "few"
    num_dimensions: ClassVar[int] = 8

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [unit_rows(1, self.num_dimensions, seed=int(text)) for text in texts]
        return np.concatenate(rows).astype(np.float32)


@pytest.mark.parametrize("num", [1, 2, 7])
def test_vendi_of_orthogonal_rows_is_their_number_and_of_equal_ones_1(num: int) -> None:
    assert vendi_of(np.eye(num, 9)) == pytest.approx(num)
    assert vendi_of(np.tile(np.eye(1, 9), (num, 1))) == pytest.approx(1)


def test_vendi_of_two_groups_counts_both_by_their_shares() -> None:
    rows = np.eye(2, 5)[[0, 0, 0, 1]]
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert vendi_of(rows) == pytest.approx(math.exp(entropy))


def test_vendi_is_that_of_the_reference_library() -> None:
    rows = np.array(
        [[(i * j * 7 + i * i * 3 + j * 5) % 11 - 5 for j in range(6)] for i in range(12)], float
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert vendi_of(rows) == pytest.approx(4.922140714907734)  # vendi-score 0.0.3, score_dual


@pytest.mark.parametrize(("num_rows", "num_dimensions"), [(40, 8), (8, 40)])
def test_covariance_and_kernel_give_the_same(num_rows: int, num_dimensions: int) -> None:
    rows = unit_rows(num_rows, num_dimensions)
    assert vendi_of(rows) == pytest.approx(vendi_of_kernel(rows @ rows.T))


def test_a_part_of_a_corpus_has_the_score_of_its_own_rows() -> None:
    texts = [str(seed) for seed in range(90)]
    embedder = FewDimensions()
    part = Corpus(texts, embedder=embedder).take(np.arange(20, 90))
    assert vendi(part) == pytest.approx(vendi_of(embedder.embed(texts[20:])))


def test_the_streaming_score_is_the_kernels() -> None:
    rows = unit_rows(300, 16)
    stream = StreamingVendi(16)
    stream.add(rows[:100])
    stream.add(rows[100:])
    assert stream.score() == pytest.approx(vendi_of(rows), rel=1e-3)


@given(st.permutations(range(12)), st.integers(0, 12))
def test_the_streaming_score_does_not_depend_on_order_or_batches(
    order: list[int], cut: int
) -> None:
    rows = unit_rows(12, 4)
    whole, first, second = StreamingVendi(4), StreamingVendi(4), StreamingVendi(4)
    whole.add(rows)
    first.add(rows[order[:cut]])
    second.add(rows[order[cut:]])
    first.merge(second)
    assert first.score() == whole.score()


def test_cluster_entropy_is_0_for_equal_texts_and_grows_with_their_variety() -> None:
    alike = [f"How do I send {i} pounds to my sister?" for i in range(200)]
    mixed = [f"{i * i} {chr(97 + i % 26) * 5} {chr(97 + i // 8 % 26) * 7}" for i in range(200)]
    embedder = NgramEmbedder()
    assert cluster_entropy(Corpus(["the same"] * 30, embedder=embedder)) == 0
    low = cluster_entropy(Corpus(alike, embedder=embedder))
    high = cluster_entropy(Corpus(mixed, embedder=embedder))
    assert 0 < low < high - 0.1 < 1


def attributed(*rows: tuple[str, int], **values: list[object]) -> Corpus:
    attributes = [{"tone": tone, "turns": turns} for tone, turns in rows]
    return Corpus([""] * len(rows), attributes=attributes, attribute_values=values)


def test_coverage_is_of_the_values_that_an_attribute_can_have() -> None:
    corpus = attributed(("kind", 1), ("curt", 1), tone=["kind", "curt", "dry", "sad"], turns=[1, 2])
    assert attribute_coverage(corpus) == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert attribute_pair_coverage(corpus) == pytest.approx(2 / 8)


def test_evenness_of_attributes_is_1_where_all_are_equally_common() -> None:
    assert attribute_entropy(attributed(("kind", 1), ("curt", 1))) == pytest.approx(1)
    assert attribute_entropy(attributed(("kind", 1), ("kind", 1), tone=["kind", "curt"])) == 0


def test_attributes_of_one_value_or_of_none_have_no_figures() -> None:
    with pytest.raises(CannotTellError, match="no attribute has two values"):
        attribute_entropy(attributed(("kind", 1), ("kind", 1)))
    with pytest.raises(CannotTellError, match="values the attributes can have is not known"):
        attribute_coverage(attributed(("kind", 1)))
    with pytest.raises(CannotTellError, match="no attributes"):
        attribute_pair_coverage(Corpus(["text"]))


def test_an_attribute_of_free_text_is_left_out() -> None:
    rows = [("kind" if i % 2 else "curt", i) for i in range(300)]
    assert attribute_entropy(attributed(*rows)) == pytest.approx(1)
