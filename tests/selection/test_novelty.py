"""Samples that say again what is in the dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from selection.selecting import selected, selected_all
from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.features.embeddings import has_minilm
from weave_async.records import Sample, Verdict
from weave_async.selection import embedded
from weave_async.selection.novelty import NoveltySelector

MakeSample = Callable[..., Sample]
NAME = "weave_async.selection.novelty:NoveltySelector"


def random_texts(num_texts: int, seed: int = 0) -> list[str]:
    """Some near to each other, some equal, some empty, in several scripts."""
    rng = np.random.default_rng(seed)
    words = ["card", "lost", "fee", "please", "not", "where", "карта", "счёт", "口座", "手数料"]
    texts = [
        " ".join(rng.choice(words, size=rng.integers(0, 7))) for _ in range(num_texts * 2 // 3)
    ]
    return texts + [str(rng.choice(texts)) + "!" for _ in range(num_texts - len(texts))]


@pytest.fixture
def samples(make_sample: MakeSample) -> Callable[[Sequence[str]], list[Sample]]:
    return lambda texts: [make_sample(text, ordinal=n) for n, text in enumerate(texts)]


def reasons(verdicts: Sequence[Verdict]) -> list[str]:
    return [verdict.reason for verdict in verdicts]


def test_a_near_text_is_redundant_and_names_its_neighbour(
    samples: Callable[..., list[Sample]],
) -> None:
    came = samples(
        ["My card was lost yesterday.", "What are the fees?", "My card was lost yesterday"]
    )
    verdicts = selected_all(NoveltySelector(embedder="ngrams"), came)
    assert reasons(verdicts) == ["", "", "redundant"]
    assert verdicts[2].evidence["of"] == came[0].sample_id
    assert verdicts[2].evidence["embedder"] == "ngrams"
    assert 0.9 <= verdicts[2].evidence["similarity"] < 1


@pytest.mark.skipif(not has_minilm(), reason="needs the extra 'embeddings'")
def test_by_meaning_other_words_are_redundant(samples: Callable[..., list[Sample]]) -> None:
    texts = ["How much does it cost?", "What is the price of it?", "Where is the nearest beach?"]
    assert reasons(selected_all(NoveltySelector(0.6), samples(texts))) == ["", "redundant", ""]
    assert (
        reasons(selected_all(NoveltySelector(0.6, embedder="ngrams"), samples(texts))) == [""] * 3
    )


@pytest.mark.parametrize("max_rows", [5, 100_000])
@pytest.mark.parametrize("threshold", [0.6, 0.9, 1.0])
def test_verdicts_do_not_depend_on_batches(
    samples: Callable[..., list[Sample]], max_rows: int, threshold: float
) -> None:
    came = samples(random_texts(300))
    one_by_one, by_seven, at_once = (
        selected_all(NoveltySelector(threshold, embedder="ngrams", max_rows=max_rows), came, size)
        for size in (1, 7, 300)
    )
    assert one_by_one == by_seven == at_once
    assert {verdict.passed for verdict in at_once} == {True, False}


def test_no_two_rows_that_stay_are_as_similar_as_the_threshold(
    samples: Callable[..., list[Sample]],
) -> None:
    came = samples(random_texts(200))
    select = NoveltySelector(0.8, embedder="ngrams")
    kept = [s for s, v in zip(came, selected_all(select, came), strict=True) if v.passed]
    rows = embedded.embedder_named("ngrams").embed([sample.completion for sample in kept])
    cosines = rows @ rows.T - 2 * np.eye(len(rows))
    assert cosines.max() < 0.8 + 0.01  # codes of a byte move cosines by some thousandths
    assert len(kept) > 20


def test_equal_texts_leave_one_row_at_any_threshold(samples: Callable[..., list[Sample]]) -> None:
    for text in ("Yes.", ""):
        for threshold in (0.1, 1.0):
            verdicts = selected_all(
                NoveltySelector(threshold, embedder="ngrams"), samples([text] * 5)
            )
            assert reasons(verdicts) == ["", *["redundant"] * 4]
            assert verdicts[4].evidence["similarity"] == 1.0


def test_copies_of_one_answer_are_not_redundant_beside_each_other(make_sample: MakeSample) -> None:
    select = NoveltySelector(embedder="ngrams")
    first, other = make_sample("A lost card.", ordinal=0), make_sample("A lost card.", ordinal=1)
    copies = [replace(first, copy=copy) for copy in range(3)]
    assert reasons(selected_all(select, [*copies, other], batch_rows=2)) == [
        "",
        "",
        "",
        "redundant",
    ]


def test_the_whole_conversation_can_be_compared(make_sample: MakeSample) -> None:
    select = NoveltySelector(embedder="ngrams", on="messages")
    asked = ("Where is the station, please?", "How old are you then, my friend?")
    first, second = (make_sample("I know.", user=user, ordinal=n) for n, user in enumerate(asked))
    assert selected(select, first).passed
    assert selected(select, second).passed
    assert not selected(select, make_sample("I know.", user=asked[0], ordinal=2)).passed


def test_what_is_near_to_a_row_of_another_run_is_redundant(
    tmp_path: Path, make_sample: MakeSample
) -> None:
    run, file = tmp_path / "run", tmp_path / "seeds.txt"
    run.mkdir()
    row = {"sample_id": "3f-0", "messages": [{"role": "assistant", "content": "My card is lost!"}]}
    (run / "samples.jsonl").write_bytes(orjson.dumps(row))
    file.write_text("Where is the beach?\n", encoding="utf-8")
    select = NoveltySelector(0.85, embedder="ngrams", against=[str(run), str(file)])
    select.prepare()
    texts = ["My card is lost.", "where is the beach", "How much is it?"]
    came = [make_sample(text, ordinal=n) for n, text in enumerate(texts)]
    verdicts = selected_all(select, came)
    assert reasons(verdicts) == ["redundant", "redundant", ""]
    assert verdicts[0].evidence["of"] == "3f-0"
    assert verdicts[0].evidence["in"] == f"{run / 'samples.jsonl'}:1"
    assert verdicts[1].evidence["of"] == f"{file}:1"


def test_a_run_without_samples_ends_well() -> None:
    assert selected_all(NoveltySelector(embedder="ngrams"), []) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"": 0}, "threshold 0 must be above 0"),
        ({"threshold": 90}, "threshold 90 must be above 0, and 1 at most"),
        ({"max_rows": 0}, "max_rows 0 must be 1 or more"),
        ({"embedder": "bert"}, "embedder: .*'minilm' or 'ngrams'"),
    ],
)
def test_what_could_not_be_meant_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        registry.build("selector", NAME, options)


def test_without_the_extra_texts_are_compared_by_spelling(
    monkeypatch: pytest.MonkeyPatch, make_sample: MakeSample
) -> None:
    monkeypatch.setattr("weave_async.features.embeddings.has_minilm", lambda: False)
    monkeypatch.setattr(embedded, "has_minilm", lambda: False)
    select = registry.build("selector", NAME, {"": 0.9})
    selected(select, make_sample("One, two.", ordinal=0))
    verdict = selected(select, make_sample("one,  two.", ordinal=1))
    assert verdict.evidence["embedder"] == "ngrams"
    with pytest.raises(RecipeError, match=r"pip install 'weave-async\[embeddings\]'"):
        registry.build("selector", NAME, {"embedder": "minilm"})
