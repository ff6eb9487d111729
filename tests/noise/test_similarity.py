"""The gate against drift: what it tells apart, with embeddings and without."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from noise.sentences import PARAPHRASES
from weave_async.features import embeddings
from weave_async.noise.similarity import (
    EmbeddingSimilarity,
    LexicalSimilarity,
    Similarity,
    installed_similarity,
)

GATES: list[Similarity] = [LexicalSimilarity()]
if isinstance(installed_similarity(), EmbeddingSimilarity):
    GATES.append(EmbeddingSimilarity())
needs_embeddings = pytest.mark.skipif(len(GATES) == 1, reason="needs the extra `embeddings`")


@needs_embeddings
def test_the_default_floor_lies_between_paraphrases_and_other_sentences() -> None:
    gate = EmbeddingSimilarity()
    floor = gate.default_floor
    assert [pair for pair in PARAPHRASES if gate.of(*pair) < floor] == []
    others = [(one[0], other[1]) for one, other in permutations(PARAPHRASES, 2)]
    assert [pair for pair in others if gate.of(*pair) >= floor] == []


@needs_embeddings
def test_typos_hardly_move_an_embedding_in_a_long_text_and_another_ending_does() -> None:
    gate = EmbeddingSimilarity()
    story = " ".join(one for one, _ in PARAPHRASES) * 4
    assert gate.of(story, story.replace("blue", "bleu")) > 0.98
    half = len(story) // 2
    assert gate.of(story, story[:half] + "Tax law, and nothing but tax law. " * 50) < 0.9


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.gate_name)
@pytest.mark.parametrize("text", ["", " ", "?", "word", "漢字 и ещё", "😀" * 10, "a" * 10_000])
def test_a_text_is_all_similar_to_itself(gate: Similarity, text: str) -> None:
    assert gate.of(text, text) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("gate", GATES, ids=lambda gate: gate.gate_name)
def test_what_is_nearer_is_more_similar(gate: Similarity) -> None:
    clean = "My parcel has not arrived yet, where is it?"
    near, far = "My package has not arrived yet, where is it?", "Bake the cake at a low heat."
    assert 0 <= gate.of(clean, far) < gate.of(clean, near) < 1


def test_without_the_extra_words_and_trigrams_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    assert installed_similarity().gate_name == "trigrams"


def test_the_vocabulary_is_the_one_that_the_model_was_made_with() -> None:
    pieces = Path(embeddings._VOCABULARY).read_text(encoding="utf-8").splitlines()
    assert len(pieces) == 30_522
    assert [pieces.index(piece) for piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]")] == [
        0,
        100,
        101,
        102,
    ]
