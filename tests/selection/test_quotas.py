"""Caps per value, in every beginning of the output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.selecting import selected_all
from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.records import Prompt, Request, Sample, SamplingParams
from weave_async.selection.quotas import QuotasSelector

MakeSample = Callable[..., Sample]
TOPICS = st.lists(st.sampled_from("abcd"), max_size=120)
BATCH_ROWS = st.sampled_from([1, 7, 128])


def of_topics(topics: Sequence[object], **columns: Sequence[object]) -> list[Sample]:
    """A sample for each topic; ``columns`` has other values, in the same order."""
    samples = []
    for ordinal, topic in enumerate(topics):
        others = {name: values[ordinal] for name, values in columns.items()}
        prompt = Prompt(f"{ordinal:016x}", 0, (), {"topic": topic}, "rows.jsonl:1", others)
        request = Request(f"request-{ordinal}", "tiny", (), SamplingParams())
        samples.append(Sample(ordinal, prompt, request, "here", 0))
    return samples


def kept(select: QuotasSelector, samples: Sequence[Sample], batch_rows: int = 128) -> list[Sample]:
    verdicts = selected_all(select, samples, batch_rows)
    return [sample for sample, verdict in zip(samples, verdicts, strict=True) if verdict.passed]


@given(TOPICS, BATCH_ROWS, st.integers(1, 20))
def test_of_each_value_as_many_rows_are_written_as_come_up_to_its_cap(
    topics: list[str], batch_rows: int, most: int
) -> None:
    written = kept(QuotasSelector("topic", most), of_topics(topics), batch_rows)
    counts = Counter(str(sample.prompt.attributes["topic"]) for sample in written)
    assert counts == {topic: min(count, most) for topic, count in Counter(topics).items()}


@given(TOPICS, BATCH_ROWS, st.floats(0.1, 1), st.floats(0, 0.2), st.integers(10, 40))
def test_no_beginning_of_the_output_has_more_than_its_share_of_a_value(
    topics: list[str], batch_rows: int, share: float, tolerance: float, min_rows: int
) -> None:
    select = QuotasSelector(
        "topic", shares={"a": share, "b": 0.25}, tolerance=tolerance, min_rows=min_rows
    )
    written = kept(select, of_topics(topics), batch_rows)
    for value, its_share in (("a", share), ("b", 0.25)):
        count = 0
        for num_rows, sample in enumerate(written, 1):
            count += sample.prompt.attributes["topic"] == value
            most = min(1, its_share + tolerance) * max(num_rows, min_rows)
            assert count <= floor(most + 1e-9)
    others = Counter(topics)["c"] + Counter(topics)["d"]
    assert sum(sample.prompt.attributes["topic"] in "cd" for sample in written) == others


def test_a_refused_sample_is_told_its_value_and_its_cap() -> None:
    verdicts = selected_all(QuotasSelector("topic", most=1), of_topics(["fees", "fees"]))
    assert verdicts[1].reason == "quota_full"
    assert verdicts[1].evidence == {"by": ["topic"], "value": "fees", "count": 1, "most": 1}


def test_one_share_holds_for_every_value() -> None:
    select = QuotasSelector("topic", shares=0.5, min_rows=4)
    verdicts = selected_all(select, of_topics("aaabbba"))
    assert [verdict.passed for verdict in verdicts] == [True, True, False, True, True, False, False]
    assert verdicts[2].reason == "share_exceeded"
    assert verdicts[2].evidence == {
        "by": ["topic"], "value": "a", "count": 2, "most": 2, "share": 0.5, "rows": 2,
    }  # fmt: skip


def test_combinations_of_two_names_are_counted_together() -> None:
    samples = of_topics("aabb", tone=["calm", "angry", "calm", "calm"])
    verdicts = selected_all(QuotasSelector(["topic", "tone"], most=1), samples)
    assert [verdict.passed for verdict in verdicts] == [True, True, True, False]
    assert verdicts[3].evidence["value"] == "b / calm"


def test_who_has_answered_can_be_capped(make_sample: MakeSample) -> None:
    samples = [make_sample(ordinal=0), make_sample(ordinal=1), make_sample(ordinal=2)]
    samples[2] = replace(
        samples[2], endpoint="there", request=replace(samples[2].request, model="b")
    )
    assert len(kept(QuotasSelector("endpoint", most=1), samples)) == 2
    assert len(kept(QuotasSelector("model", most=1), samples)) == 2
    assert QuotasSelector(["model", "topic", "endpoint"], most=1).columns_read == ["topic"]


def test_a_value_that_is_no_text_is_capped_as_what_it_is() -> None:
    verdicts = selected_all(
        QuotasSelector("topic", most=1), of_topics([True, None, ["a"], 1, True])
    )
    assert [verdict.passed for verdict in verdicts] == [True, True, True, True, False]
    assert verdicts[4].evidence["value"] == "true"


def test_a_share_of_nothing_keeps_a_value_out() -> None:
    select = QuotasSelector("topic", shares={"a": 0})
    assert len(kept(select, of_topics("aabca"))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "topic"}, "say how many rows of each value, with most or shares"),
        ({"by": [], "most": 1}, "at least one"),
        ({"by": ["topic", "topic"], "most": 1}, "each column or attribute once"),
        ({"by": "topic", "most": 0}, "most 0 must be 1 or more"),
        ({"by": "topic", "shares": {"a": 1.2}}, "1.2 of a is no share"),
        ({"by": "topic", "shares": 0.01}, "set min_rows to 101"),
        ({"by": "topic", "shares": {}}, "bounds none"),
        ({"by": "topic", "shares": 0.5, "tolerance": 1}, "from 0 to below 1"),
        ({"by": "topic", "shares": 0.5, "min_rows": 0}, "min_rows 0 must be 1 or more"),
    ],
)
def test_what_could_not_be_meant_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        registry.build("selector", "weave_async.selection.quotas:QuotasSelector", options)
