"""Duplicates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from selection.selecting import selected
from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.records import Sample
from weave_async.selection.exact import ExactSelector

MakeSample = Callable[..., Sample]


def test_the_first_of_equal_texts_is_kept(make_sample: MakeSample) -> None:
    select = ExactSelector()
    first, second = make_sample("Yes.", ordinal=0), make_sample("Yes.", ordinal=1)
    assert selected(select, first).passed
    verdict = selected(select, second)
    assert (verdict.passed, verdict.reason) == (False, "duplicate")
    assert verdict.evidence == {"of": first.sample_id}
    assert selected(select, make_sample("No.", ordinal=2)).passed


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        ("Yes, sir.", "  yes,\n SIR. ", True),
        ("STRASSE", "straße", True),
        ("Yes.", "Yes", False),
        ("a b", "ab", False),
    ],
)
def test_case_and_spacing_do_not_count(
    make_sample: MakeSample, one: str, other: str, are_equal: bool
) -> None:
    select = ExactSelector()
    selected(select, make_sample(one, ordinal=0))
    assert selected(select, make_sample(other, ordinal=1)).passed is not are_equal


def test_only_the_completion_is_compared_by_default(make_sample: MakeSample) -> None:
    select = ExactSelector()
    assert selected(select, make_sample("Yes.", user="Tea?", ordinal=0)).passed
    assert not selected(select, make_sample("Yes.", user="Coffee?", ordinal=1)).passed


def test_the_whole_conversation_can_be_compared(make_sample: MakeSample) -> None:
    select = ExactSelector(on="messages")
    assert selected(select, make_sample("Yes.", user="Tea?", ordinal=0)).passed
    assert selected(select, make_sample("Yes.", user="Coffee?", ordinal=1)).passed
    assert not selected(select, make_sample("yes.", user="TEA?", ordinal=2)).passed


def test_text_does_not_move_from_one_turn_to_the_next(make_sample: MakeSample) -> None:
    select = ExactSelector(on="messages")
    assert selected(select, make_sample("b c", user="a", ordinal=0)).passed
    assert selected(select, make_sample("c", user="a b", ordinal=1)).passed


def test_a_sample_that_comes_again_is_no_duplicate_of_itself(make_sample: MakeSample) -> None:
    select = ExactSelector()
    assert selected(select, make_sample("Yes.")).passed
    assert selected(select, make_sample("Yes.")).passed


def test_each_run_has_a_memory_of_its_own(make_sample: MakeSample) -> None:
    for _ in range(2):
        select = registry.build("selector", "exact", {"on": "messages"})
        assert selected(select, make_sample("Yes.", ordinal=0)).passed
        assert not selected(
            select, make_sample("Yes.", ordinal=1, user="Which colours are there?")
        ).passed


def test_another_thing_to_compare_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"selector 'exact': on: .*'prompt' or 'messages'"):
        registry.build("selector", "exact", {"on": "prompts"})


def test_the_memory_is_no_option() -> None:
    with pytest.raises(RecipeError, match=r"unknown option '_first'\. Known: on, against"):
        registry.build("selector", "exact", {"_first": {}})


def test_what_another_file_holds_is_refused(make_sample: MakeSample, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"completion": "No."}\n{"completion": "yes. "}\n{"completion": "YES."}\n')
    select = registry.build("selector", "exact", {"against": [str(file)]})
    select.prepare()
    verdict = selected(select, make_sample("Yes."))
    assert (verdict.reason, verdict.evidence) == ("duplicate", {"of": f"{file}:2"})
    assert selected(select, make_sample("Maybe.")).passed


def test_the_prompt_can_be_compared(make_sample: MakeSample) -> None:
    select = ExactSelector(on="prompt")
    assert selected(select, make_sample("Yes.", user="Tea?", ordinal=0)).passed
    assert selected(select, make_sample("Yes.", user="Coffee?", ordinal=1)).passed
    assert not selected(select, make_sample("No.", user="tea?", ordinal=2)).passed


def test_half_of_an_emoji_is_compared_as_any_text(make_sample: MakeSample) -> None:
    select = ExactSelector()
    assert selected(select, make_sample("Yes \ud83d", ordinal=0)).passed
    assert not selected(select, make_sample("yes \ud83d", ordinal=1)).passed
