"""Labels: what a recipe or a server calls things, fit for other people's systems."""

from __future__ import annotations

import pytest

from weave_async.observability.labels import LONGEST_CHARS, MOST_VALUES, OTHER, bounded, label_of


@pytest.mark.parametrize("hostile", ["\x1b[31m", "a\nb", "\x9b", "\u202e", "\u2028", "\ud800"])
def test_what_drives_a_terminal_or_cannot_be_encoded_is_replaced(hostile: str) -> None:
    shown = label_of(f"model {hostile}")
    assert shown.encode().decode().isprintable()
    assert shown.startswith("model ")


def test_words_of_any_script_stay_as_they_are() -> None:
    assert label_of("größe/模型-7b:q4") == "größe/模型-7b:q4"


def test_a_label_is_short() -> None:
    assert len(label_of("x" * 10_000)) == LONGEST_CHARS


def test_beyond_a_number_of_values_the_rarest_count_as_other() -> None:
    counts = [(f"rule {number}", number + 1) for number in range(MOST_VALUES + 10)]
    kept = bounded(counts)
    assert len(kept) == MOST_VALUES + 1
    assert kept[OTHER] == sum(range(1, 11))
    assert sum(kept.values()) == sum(count for _, count in counts)


def test_names_that_are_the_same_as_labels_are_added_up() -> None:
    assert bounded([("a\x00", 1), ("a\x01", 2), ("b", 1)]) == {"a�": 3, "b": 1}
