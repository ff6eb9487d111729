"""What parts of a recipe bring: seen where they bring something, and nowhere else."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("sklearn")

from weave_async.ablation.ablation import Row, scored
from weave_async.errors import InputError

WORDS = {"billing": ["invoice", "charge", "refund", "fee"], "delivery": ["parcel", "late", "van"]}


def rows(num: int, *, wrong: float = 0.0, seed: int = 0) -> list[Row]:
    rng = random.Random(seed)
    made = []
    for number in range(num):
        name = ["billing", "delivery"][number % 2]
        filler = rng.choices(["please", "my", "the", "it", "now", "why"], k=6)
        text = " ".join([*filler, rng.choice(WORDS[name]), str(rng.randrange(10**6))])
        if rng.random() < wrong:
            name = "billing" if name == "delivery" else "delivery"
        made.append((text, name))
    return made


def test_rows_with_wrong_labels_cost_what_they_cost() -> None:
    found = scored(
        {"all of it": rows(120), "without validation": rows(120, wrong=0.45, seed=1)},
        rows(150, seed=2),
        label="topic",
        num_trainings=5,
    )
    whole, without = found.variants
    assert whole.score is not None
    assert whole.score.value > 0.95
    assert without.difference is not None
    assert without.difference.high < 0


def test_the_same_rows_make_no_difference() -> None:
    some = rows(100)
    found = scored(
        {"all of it": some, "without noise": list(some)},
        rows(100, seed=2),
        label="topic",
        num_trainings=8,
    )
    difference = found.variants[1].difference
    assert difference is not None
    assert not difference.excludes_zero


def test_rows_that_were_trained_on_are_not_scored() -> None:
    some, unseen = rows(60), rows(40, seed=2)
    spaced = [(f"  {text.upper()} ", name) for text, name in some[:10]]
    found = scored({"all of it": some}, spaced + unseen, label="topic", num_trainings=2)
    assert (found.num_leaked, found.num_eval_rows) == (10, 40)


def test_a_variant_that_cannot_be_trained_on_says_why() -> None:
    one_class = [row for row in rows(20) if row[1] == "billing"]
    found = scored(
        {"all of it": rows(60), "without validation": one_class, "without noise": rows(60)[:3]},
        rows(40, seed=2),
        label="topic",
        num_trainings=2,
    )
    assert [each.problem for each in found.variants] == [
        None,
        "10 rows of 'billing' (10): nothing to learn",
        "3 rows of 'billing' (2), 'delivery' (1): nothing to learn",
    ]


def test_a_label_that_only_a_part_lets_in_is_left_out_of_that_variant() -> None:
    other = [("nonsense " + text, "other") for text, _ in rows(6)]
    found = scored(
        {"all of it": rows(60), "without validation": [*rows(60), *other]},
        rows(40, seed=2),
        label="topic",
        num_trainings=2,
    )
    assert found.variants[1].difference is not None


def test_texts_without_words_can_be_learned_from() -> None:
    marks = [("!" * (1 + n % 3), "loud") for n in range(10)]
    marks += [("?" * (1 + n % 3), "asking") for n in range(10)]
    found = scored(
        {"all of it": marks},
        [("!!!! !", "loud"), ("???? ?", "asking")],
        label="tone",
        num_trainings=2,
    )
    assert found.variants[0].score is not None


def test_without_the_whole_dataset_nothing_is_compared() -> None:
    found = scored(
        {"all of it": [*rows(4)[:1], ("parcel", "delivery")], "without noise": rows(60)},
        rows(40, seed=2),
        label="topic",
        num_trainings=2,
    )
    assert [each.difference for each in found.variants] == [None, None]


def test_what_cannot_be_scored_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="1 different values of 'topic'"):
        scored({"all of it": [("a", "x"), ("b", "x")]}, rows(4), label="topic")
    with pytest.raises(InputError, match="too few classes are left"):
        scored({"all of it": rows(20)}, [("a", "other")], label="topic")
    with pytest.raises(InputError, match=r"4 are in the dataset"):
        scored({"all of it": rows(20)}, rows(20)[:4], label="topic")
