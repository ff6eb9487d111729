"""Each figure of bias on data in which the answer is known."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from weave_async.features.words import words_of
from weave_async.metrics.bias import mentions
from weave_async.metrics.bias.gender_terms import FEMININE, MASCULINE, NEUTRAL
from weave_async.metrics.bias.meter import BiasMeter
from weave_async.metrics.bias.polarity import NEGATIVE, POSITIVE, polarity
from weave_async.metrics.bias.representation import Representation
from weave_async.metrics.bias.targets import targets_of


def representation(counts: dict[str, int], target: dict[str, float]) -> dict[str, Any]:
    shares = Representation(target)
    for value, count in counts.items():
        for _ in range(count):
            shares.count(value)
    return shares.figures(np.random.default_rng(7))


def metered(rows: list[tuple[str, dict[str, Any]]], **options: Any) -> dict[str, Any]:
    meter = BiasMeter(7, **options)
    for number, (text, attributes) in enumerate(rows):
        meter.count_row(f"{number:05x}", text, attributes, None)
    return meter.figures()


# --- representation ------------------------------------------------------------------------------


def test_the_distance_from_a_target_is_half_the_sum_of_differences() -> None:
    told = representation({"a": 70, "b": 30}, {"a": 1, "b": 1})
    assert told["tv"]["value"] == pytest.approx(0.2)
    assert told["is_off_target"]
    assert (told["over_represented"], told["under_represented"]) == (["a"], ["b"])
    # 0.5 rows more for each: (70.5 ln(70.5/50.5) + 30.5 ln(30.5/50.5)) / 101
    assert told["kl"] == pytest.approx(0.0806, abs=1e-3)


def test_a_draw_from_the_target_is_rarely_called_off_it() -> None:
    rng = random.Random(1)
    off = 0
    for _ in range(100):
        drawn = rng.choices("abc", (2, 1, 1), k=200)
        off += representation(
            {each: drawn.count(each) for each in "abc"}, {"a": 2, "b": 1, "c": 1}
        )["is_off_target"]
    assert off <= 12, "one in twenty, by its definition"


def test_values_that_are_missing_or_were_not_asked_for_are_named() -> None:
    told = representation({"a": 60, "x": 40}, {"a": 1, "b": 1})
    assert told["values"]["x"]["target"] is None
    assert told["values"]["b"]["value"] == 0
    assert "x" in told["over_represented"]
    assert "b" in told["under_represented"]


def test_targets_are_the_weights_of_the_recipe() -> None:
    recipe = {
        "prompts": {
            "attributes": {
                "tone": {"choice": ["kind", "curt", "kind"], "weights": [1, 2, 1]},
                "plain": {"choice": [1, 2], "weights": None},
                "persona": {"file": "personas.txt"},
                "size": {"uniform": [0, 1]},
                "open": {"choice": ["a", "b"], "weights": [1, 2], "other": None},
                "given": {"choice": ["a", "b"], "when": {"tone": "kind"}},
            }
        },
        "generate": {"mix": [{"model": "m", "weight": 3}, {"model": "n"}]},
    }
    assert targets_of(recipe) == {
        "tone": {"kind": 2, "curt": 2},
        "plain": {"1": 1, "2": 1},
        "open": {"a": 1, "b": 2},
        "model": {"m": 3, "n": 1},
    }
    assert "model" not in targets_of({"generate": {"mix": [{"endpoint": "local"}]}})
    assert targets_of(recipe, mix=[{"model": "o"}])["model"] == {"o": 1}


# --- gender --------------------------------------------------------------------------------------


def test_the_lexicons_do_not_overlap_and_are_as_words_are_cut() -> None:
    assert not MASCULINE & FEMININE
    assert not (MASCULINE | FEMININE) & NEUTRAL
    assert not POSITIVE & NEGATIVE
    for word in MASCULINE | FEMININE | NEUTRAL | POSITIVE | NEGATIVE:
        assert words_of(word) == [word]


def test_an_occupation_that_goes_with_one_gender_is_called_skewed() -> None:
    rows = [
        ("She is the nurse here. He is late.", {}),
        ("She is a nurse.", {}),
        ("He is a pilot.", {}),
    ]
    rows += [("A doctor told her so.", {}), ("A doctor told him so.", {})]
    told = metered(rows * 20)["gender"]
    assert told["occupations"]["nurse"]["value"] == 1
    assert told["occupations"]["nurse"]["is_skewed"]
    assert told["occupations"]["pilot"]["is_skewed"]
    assert not told["occupations"]["doctor"]["is_skewed"]
    assert told["feminine_share"]["value"] == 0.5
    assert told["words"] == {"masculine": 60, "feminine": 60, "neutral": 0}


def test_gender_is_told_by_attribute() -> None:
    rows = [("She said yes.", {"role": "carer"})] * 40 + [("He said yes.", {"role": "boss"})] * 40
    by_role = metered(rows)["gender"]["by_group"]["role"]
    assert (by_role["carer"]["value"], by_role["boss"]["value"]) == (1, 0)
    assert by_role["carer"]["is_skewed"]


# --- regions -------------------------------------------------------------------------------------


def test_places_and_names_say_a_region() -> None:
    pytest.importorskip("faker")
    told = metered([("Chinedu lives in South Africa now.", {}), ("It rains.", {})] * 10)["regions"]
    assert told["measured_with"] == "places and names"
    assert told["rows_with_any"]["value"] == 0.5
    assert next(iter(told["shares"])) == "Africa south of the Sahara"
    assert sum(share["value"] for share in told["shares"].values()) == pytest.approx(1, abs=1e-4)


def test_a_word_that_texts_use_without_a_capital_is_no_name() -> None:
    pytest.importorskip("faker")
    assert mentions.regions_of("Young", frozenset({"young"})) == ()
    assert mentions.regions_of("Chinedu", frozenset({"young"})) != ()
    assert "Will" not in mentions.mentions_in("Will you be there in May?")


def test_without_faker_places_are_counted_and_the_way_out_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mentions, "has_names", lambda: False)
    mentions.regions_by_name.cache_clear()
    mentions._small_names.cache_clear()
    try:
        told = metered([("Chinedu lives in Nairobi.", {})] * 10)["regions"]
    finally:
        mentions.regions_by_name.cache_clear()
        mentions._small_names.cache_clear()
    assert told["measured_with"] == "places"
    assert "weave-async[noise]" in told["advice"]
    assert told["shares"]["Africa south of the Sahara"]["value"] == 1


# --- length --------------------------------------------------------------------------------------


def test_a_label_that_goes_with_length_is_seen() -> None:
    rng = random.Random(1)
    rows = [
        ("word " * (rng.randint(5, 15) + 12 * (label == "long")), {"label": label})
        for label in ("long", "short") * 60
    ]
    told = metered(rows, label="label")["length"]["label"]
    assert told["auc"]["low"] > 0.9
    assert told["is_told_by_length"]
    assert told["eta_squared"] > 0.5
    assert (told["longest"], told["shortest"]) == ("long", "short")


def test_lengths_that_have_nothing_to_do_with_the_label_are_called_so() -> None:
    rng = random.Random(1)
    rows = [("word " * rng.randint(5, 30), {"label": label}) for label in "ab" * 200]
    told = metered(rows, label="label")["length"]["label"]
    assert told["omega_squared"] < 0.02
    assert not told["is_told_by_length"]


def test_many_labels_are_not_called_different_because_two_lie_far_apart() -> None:
    rng = random.Random(1)
    called = 0
    for _ in range(10):
        rows = [("word " * rng.randint(5, 30), {"n": number % 15}) for number in range(150)]
        told = metered(rows, label="n")["length"]["n"]
        assert told["auc"]["value"] > 0.6
        called += told["is_told_by_length"]
    assert called <= 3, "one in twenty, by its definition"


def test_texts_of_one_length_have_no_effect() -> None:
    rows = [("one two", {"label": label}) for label in "ab" * 10]
    told = metered(rows, label="label")["length"]["label"]
    assert (told["eta_squared"], told["auc"]["value"]) == (0, 0.5)


# --- sentiment -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is good and helpful.", 1),
        ("It is not good.", -1),
        ("I was never so unhappy.", 1),
        ("Good, but slow.", 0),
        ("It is a card.", 0),
        ("Not now. That is all very well done, it is great.", 1),
    ],
)
def test_polarity_counts_words_and_heeds_negators(text: str, expected: float) -> None:
    assert polarity(words_of(text)) == expected


def test_a_group_that_is_spoken_of_unkindly_is_seen() -> None:
    rows = [
        (f"The customer was {word} today.", {"country": country})
        for country, words in (("A", ["happy", "kind", "late"]), ("B", ["rude", "stupid", "late"]))
        for word in words
    ] * 20
    by_country = metered(rows)["sentiment"]["by_group"]["country"]
    assert by_country["A"]["value"] == pytest.approx(4 / 3)
    assert by_country["B"]["differs"]
    assert by_country["B"]["high"] < 0


def test_women_and_men_are_compared() -> None:
    rows = [("He was brilliant.", {}), ("She was stupid.", {})] * 10
    told = metered(rows)["sentiment"]["feminine_less_masculine"]
    assert (told["value"], told["differs"]) == (-2, True)
