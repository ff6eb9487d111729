"""Bias as a run reports it: every figure finite, every gap told in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.metrics.bias.meter import BiasMeter
from weave_async.records import Failure, Rejection, Sample

MakeSample = Callable[..., Sample]


def with_attributes(sample: Sample, **attributes: Any) -> Sample:
    return replace(sample, prompt=replace(sample.prompt, attributes=attributes))


def numbers_in(figures: Any) -> Iterator[float]:
    if isinstance(figures, dict):
        for value in figures.values():
            yield from numbers_in(value)
    elif isinstance(figures, list):
        for value in figures:
            yield from numbers_in(value)
    elif isinstance(figures, float):
        yield figures


def metered(texts: list[str], **options: Any) -> dict[str, Any]:
    meter = BiasMeter(7, **options)
    for number, text in enumerate(texts):
        meter.count_row(f"{number:04x}-0", text, {}, "tiny")
    return meter.figures()


def test_no_rows_are_told_in_words() -> None:
    assert BiasMeter(7, targets={"tone": {"kind": 1.0}}).figures() == {
        "rows": 0,
        "note": "no rows yet",
    }


def test_a_single_row_has_figures_and_a_warning() -> None:
    figures = metered(["She is a nurse in Nairobi."])
    assert "single row" in figures["note"]
    assert figures["gender"]["feminine_share"]["value"] == 1.0
    assert figures["gender"]["feminine_share"]["low"] < 0.3, "one row proves little"


def test_rejected_and_failed_samples_are_left_out(make_sample: MakeSample) -> None:
    meter = BiasMeter(7)
    meter.count(
        [
            make_sample("She is here."),
            make_sample(ordinal=1, rejection=Rejection("validation", "length", "too_short", {})),
            make_sample(ordinal=2, failure=Failure("server", "HTTP 500", 6)),
        ]
    )
    assert meter.figures()["rows"] == 1


def test_attributes_columns_and_json_keys_may_be_the_label(make_sample: MakeSample) -> None:
    by_attribute = BiasMeter(7, label="topic")
    by_attribute.count([with_attributes(make_sample(), topic="fees")])
    by_column = BiasMeter(7, label="topic")
    sample = make_sample()
    by_column.count([replace(sample, prompt=replace(sample.prompt, columns={"topic": "fees"}))])
    by_key = BiasMeter(7, label="topic")
    by_key.count([make_sample('{"topic": "fees", "text": "What does it cost?"}')])
    for meter in (by_attribute, by_column, by_key):
        assert list(meter.figures()["representation"]["topic"]["values"]) == ["fees"]


def test_the_label_of_a_json_answer_is_no_word_of_its_text() -> None:
    figures = metered(
        [f'{{"label": "{label}", "text": "a b c"}}' for label in ["woman", "a long one"] * 10],
        label="label",
    )
    assert figures["gender"]["words"]["feminine"] == 0
    assert figures["length"]["label"]["eta_squared"] == 0


def test_texts_in_other_languages_are_counted_and_left_out_of_english_figures() -> None:
    german = "Die Kundin fragt heute noch einmal nach ihrer neuen Karte"
    figures = metered(["She asked about the card and he did not know what it is."] * 30 + [german])
    assert (figures["rows"], figures["english_rows"]) == (31, 30)
    assert "1 of 31 rows do not look English" in figures["note"]
    none = metered([german] * 5)
    assert none["gender"] == {"rows": 0, "note": "no English text to look at"}
    assert none["sentiment"]["note"] == none["regions"]["note"] == "no English text to look at"


def test_one_label_is_nothing_to_compare() -> None:
    meter = BiasMeter(7, label="topic")
    for number in range(20):
        meter.count_row(f"{number}", "How do I pay?", {"topic": "fees"}, "tiny")
    figures = meter.figures()
    assert figures["representation"]["topic"]["note"] == "one value only"
    assert "nothing to compare" in figures["length"]["topic"]["note"]


def test_a_label_that_no_row_has_is_told() -> None:
    assert (
        "no row has it" in metered(["Hello there."] * 6, label="topic")["length"]["topic"]["note"]
    )


def test_figures_do_not_depend_on_the_order_of_rows() -> None:
    rows = [
        (f"{number:04x}-0", f"She paid {number} times. " * (number % 5)) for number in range(300)
    ]
    figures = []
    for ordered in (rows, rows[::-1]):
        meter = BiasMeter(7, label="n", max_rows=100)
        for sample_id, text in ordered:
            meter.count_row(sample_id, text, {"n": len(text) % 3}, "tiny")
        figures.append(orjson.dumps(meter.figures(), option=orjson.OPT_SORT_KEYS))
    assert figures[0] == figures[1]
    assert b'"rows_looked_at":100' in figures[0]


def test_another_seed_looks_at_other_rows() -> None:
    def words_seen(seed: int) -> Any:
        meter = BiasMeter(seed, max_rows=50)
        for number in range(500):
            meter.count_row(f"{number}", "She pays. " * (number % 7), {}, "tiny")
        return meter.figures()["gender"]["words"]["feminine"]

    assert len({words_seen(seed) for seed in range(5)}) > 1


def test_memory_is_bounded_where_every_row_has_another_value() -> None:
    meter = BiasMeter(7, max_rows=10)
    for number in range(3000):
        meter.count_row(f"{number}", "Hello.", {"customer": f"c{number}"}, "tiny")
    shares = meter.figures()["representation"]["customer"]
    assert shares["rows"] == 3000
    assert shares["num_values"] == 501
    assert shares["values"]["(others)"]["value"] == pytest.approx(2500 / 3000, abs=1e-5)


@given(
    st.lists(
        st.tuples(
            st.text(max_size=60)
            | st.sampled_from(["", "{}", "[]", "{bad", "He said so.", "\ud800"]),
            st.dictionaries(
                st.sampled_from(["tone", "label", "x"]),
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
            ),
        ),
        max_size=25,
    )
)
def test_whatever_the_rows_figures_are_finite_json(rows: list[tuple[str, dict[str, Any]]]) -> None:
    meter = BiasMeter(7, targets={"tone": {"a": 1, "b": 3}}, label="label")
    for number, (text, attributes) in enumerate(rows):
        meter.count_row(f"{number}", text, attributes, "tiny")
    figures = meter.figures()
    assert all(map(math.isfinite, numbers_in(figures)))
    orjson.dumps(figures)
