"""Near-duplicates: which texts are, by how much, and what they are compared with."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selection.known_pairs import pair
from selection.selecting import selected
from weave_async import registry
from weave_async.errors import InputError, RecipeError
from weave_async.features.ngrams import normalized
from weave_async.records import Sample, Verdict
from weave_async.selection.near_duplicates import NearDuplicatesSelector

MakeSample = Callable[..., Sample]
NAME = "weave_async.selection.near_duplicates:NearDuplicatesSelector"
LONG = "Please tell me how I can block my card, as I have lost it on the way home today."
NEARLY = LONG.replace("today", "tonight")


def built(**options: Any) -> NearDuplicatesSelector:
    selector: NearDuplicatesSelector = registry.build("selector", NAME, options)
    return selector


def jaccard(one: str, other: str, n: int = 5) -> float:
    """As the definition has it, without hashes."""
    sets = [
        {text[at : at + n] for at in range(max(1, len(text) - n + 1))}
        for text in (normalized(one), normalized(other))
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def verdicts_on(
    select: NearDuplicatesSelector, samples: Sequence[Sample], batch: int
) -> list[Verdict]:
    verdicts = []
    for first in range(0, len(samples), batch):
        some = samples[first : first + batch]
        for sample, features in zip(some, select.features_of(some), strict=True):
            verdicts.append(select.verdict(sample, features))
            if verdicts[-1].passed:
                select.keep(sample, features)
    return verdicts


# --- what is alike -------------------------------------------------------------------------------


def test_the_first_of_texts_that_are_nearly_equal_is_kept(make_sample: MakeSample) -> None:
    select = built()
    first = make_sample(LONG, ordinal=0)
    assert selected(select, first).passed
    verdict = selected(select, make_sample(NEARLY, ordinal=1))
    assert (verdict.passed, verdict.reason) == (False, "near_duplicate")
    assert verdict.evidence == {"of": first.sample_id, "similarity": jaccard(LONG, NEARLY)}
    assert selected(select, make_sample("What does it cost?", ordinal=2)).passed


def test_the_nearest_is_named(make_sample: MakeSample) -> None:
    select = built(threshold=0.6)
    farther = make_sample("Dear sirs! " + LONG.replace("my card", "the one"), ordinal=0)
    nearer = make_sample(LONG, ordinal=1)
    for sample in (farther, nearer):
        select.keep(sample, select.features_of([sample])[0])
    assert selected(select, make_sample(NEARLY, ordinal=2)).evidence["of"] == nearer.sample_id


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_pairs_of_a_known_similarity_are_told_apart_at_the_threshold(
    make_sample: MakeSample, threshold: float
) -> None:
    """All pairs in one index: those at the threshold or above are found, and none below it."""
    rng, bound = Random(1), Fraction(str(threshold))
    select = built(threshold=threshold)
    firsts, seconds, similarities = [], [], []
    for _ in range(60):
        for above in (-2, -1, 0, 1, 2):
            shared = rng.randrange(40, 120)
            # The least of each that is below, and those next to it: as near as sets can be.
            of_each = int(shared * (1 - bound) / bound / 2) - above
            one, other, similarity = pair(shared, max(0, of_each), 5, rng)
            firsts.append(make_sample(one, ordinal=len(firsts)))
            seconds.append(make_sample(other, ordinal=10_000 + len(seconds)))
            similarities.append(similarity)
    assert all(verdict.passed for verdict in verdicts_on(select, firsts, 128))
    verdicts = [
        select.verdict(sample, features)
        for sample, features in zip(seconds, select.features_of(seconds), strict=True)
    ]
    found = [not verdict.passed for verdict in verdicts]
    alike = [similarity >= bound for similarity in similarities]
    assert 60 <= sum(alike) <= 240
    assert not any(f and not a for f, a in zip(found, alike, strict=True))  # precision 1
    assert sum(found) >= 0.98 * sum(alike)
    for first, verdict, similarity in zip(firsts, verdicts, similarities, strict=True):
        if not verdict.passed:
            assert verdict.evidence == {"of": first.sample_id, "similarity": float(similarity)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ab é中.", max_size=12), min_size=2, max_size=8), st.integers(1, 6))
def test_whatever_is_refused_is_as_alike_as_is_said(
    make_sample: MakeSample, texts: list[str], ngram_chars: int
) -> None:
    select = built(threshold=0.5, ngram_chars=ngram_chars)
    samples = [make_sample(text, ordinal=ordinal) for ordinal, text in enumerate(texts)]
    by_id = {sample.sample_id: sample for sample in samples}
    for sample, verdict in zip(samples, verdicts_on(select, samples, 3), strict=True):
        if not verdict.passed:
            similarity = jaccard(
                sample.completion, by_id[verdict.evidence["of"]].completion, ngram_chars
            )
            assert verdict.evidence["similarity"] == similarity >= 0.5


@pytest.mark.parametrize(
    ("one", "other"), [("", " "), ("No.", "no."), ("A b", " a  B "), ("aaaaaaaa", "a" * 4000)]
)
def test_texts_of_few_ngrams_are_compared_too(
    make_sample: MakeSample, one: str, other: str
) -> None:
    select = built()
    assert selected(select, make_sample(one, ordinal=0)).passed
    assert selected(select, make_sample(other, ordinal=1)).evidence["similarity"] == 1
    assert selected(select, make_sample("yes", ordinal=2)).passed


def test_what_is_found_depends_neither_on_batches_nor_on_what_is_beside_it(
    make_sample: MakeSample,
) -> None:
    rng = Random(3)
    words = LONG.split()
    texts = [" ".join(rng.choices(words, k=rng.randint(0, 9))) for _ in range(600)]
    samples = [make_sample(text, ordinal=ordinal) for ordinal, text in enumerate(texts)]
    alone, in_sevens, in_batches = (verdicts_on(built(), samples, batch) for batch in (1, 7, 128))
    assert alone == in_sevens == in_batches
    assert 0 < sum(verdict.passed for verdict in alone) < len(samples)


# --- what is compared ----------------------------------------------------------------------------


def test_the_prompt_can_be_compared(make_sample: MakeSample) -> None:
    select = built(on="prompt")
    assert selected(select, make_sample("Yes.", user=LONG, ordinal=0)).passed
    assert selected(select, make_sample("Yes.", user="What does it cost?", ordinal=1)).passed
    assert not selected(select, make_sample("No!", user=NEARLY, ordinal=2)).passed


def test_the_whole_conversation_can_be_compared(make_sample: MakeSample) -> None:
    select = built(on="messages")
    assert selected(select, make_sample(LONG, user="Tea?", ordinal=0)).passed
    assert selected(select, make_sample(LONG, user=LONG[::-1], ordinal=1)).passed
    assert not selected(select, make_sample(NEARLY, user="Tea!", ordinal=2)).passed


def test_copies_of_one_answer_are_no_duplicates_of_each_other(make_sample: MakeSample) -> None:
    select = built()
    for copy in range(20):
        assert selected(select, make_sample(LONG, user=f"Tea {copy}?", copy=copy)).passed
    assert len(select._index) == 1
    assert not selected(select, make_sample(LONG, ordinal=1)).passed


def test_copies_whose_prompts_are_compared_are_duplicates(make_sample: MakeSample) -> None:
    select = built(on="prompt")
    assert selected(select, make_sample(user=LONG)).passed
    assert selected(select, make_sample(user=LONG)).passed  # this one comes again
    assert not selected(select, make_sample(user=NEARLY, copy=1)).passed


# --- other runs and files ------------------------------------------------------------------------


def test_what_another_run_holds_is_refused(make_sample: MakeSample, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": LONG}]
    rows = [{"messages": messages, "sample_id": "ab-0", "lineage": {}}] * 2
    (run / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    select = built(against=str(run))
    select.prepare()
    evidence = selected(select, make_sample(NEARLY)).evidence
    assert evidence == {
        "of": "ab-0",
        "in": f"{run / 'samples.jsonl'}:1",
        "similarity": jaccard(LONG, NEARLY),
    }


def test_a_sample_of_the_same_id_in_another_run_is_another(
    make_sample: MakeSample, tmp_path: Path
) -> None:
    sample = make_sample(LONG)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"completion": LONG, "sample_id": sample.sample_id}))
    select = built(against=[str(file)])
    select.prepare()
    assert not selected(select, sample).passed


def test_a_file_that_is_not_there_is_a_mistake_in_the_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"against: there is no .*earlier: name a run folder"):
        built(against=[str(tmp_path / "earlier")])


def test_a_row_that_cannot_be_compared_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": LONG}) + "\n{")
    with pytest.raises(InputError, match=r"rows\.jsonl:2: not JSON"):
        built(against=str(tmp_path / "rows.jsonl")).prepare()


def test_relative_paths_start_at_the_recipe(tmp_path: Path) -> None:
    options = registry.located("selector", NAME, {"against": ["a.jsonl", "runs/one"]}, tmp_path)
    assert options["against"] == [str(tmp_path / "a.jsonl"), str(tmp_path / "runs/one")]


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"": 0.3}, r"threshold 0\.3 must lie between 0\.5 and 1"),
        ({"": 1.1}, r"threshold 1\.1 must lie"),
        ({"threshold": float("nan")}, "threshold nan must lie"),
        ({"ngram_chars": 0}, "ngram_chars 0 must be from 1"),
        ({"on": "answer"}, "on: .*'completion', 'prompt' or 'messages'"),
        ({"_index": None}, "unknown option '_index'"),
    ],
)
def test_a_wrong_option_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        registry.build("selector", NAME, options)


# --- what would be a bomb ------------------------------------------------------------------------


def test_a_long_text_costs_in_proportion(make_sample: MakeSample) -> None:
    """A megabyte takes a few tenths of a second; the bound is for a busy machine."""
    rng = Random(2)
    text = " ".join("".join(rng.choices("etaoinshrdlu", k=5)) for _ in range(170_000))
    select = built()
    begun_s = time.process_time()
    assert selected(select, make_sample(text, ordinal=0)).passed
    assert not selected(select, make_sample(text + " end", ordinal=1)).passed
    assert time.process_time() - begun_s < 10


def test_texts_that_all_share_their_most_are_compared_with_a_few(make_sample: MakeSample) -> None:
    """Each is a little less than 0.8 like each other, so that all are kept."""
    rng = Random(4)
    start = "".join(chr(0x4E00 + each) for each in range(80))
    select = built()
    samples = [
        make_sample(
            start + "".join(chr(0x7000 + rng.randrange(9000)) for _ in range(11)), ordinal=n
        )
        for n in range(1500)
    ]
    begun_s = time.process_time()
    assert all(verdict.passed for verdict in verdicts_on(select, samples, 128))
    assert time.process_time() - begun_s < 15  # 1 s where nothing else goes on
