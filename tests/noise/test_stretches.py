"""A noisy text is shown against the clean one: nothing of either is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.stretches import Stretch, stretches_of

Edit = dict[str, Any]


def edit(*changes: tuple[int, str, str]) -> Edit:
    return {"changes": [{"start": s, "before": b, "after": a} for s, b, a in changes]}


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, str, list[Edit]]:
    """A clean text, what several noises have made of it in turn, and their edits."""
    clean = text = draw(st.text("abc ", max_size=12))
    edits = []
    for _ in range(draw(st.integers(1, 4))):
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
        changes, made, place = [], "", 0
        for start, end in zip(cuts[::2], cuts[1::2], strict=False):
            after = draw(st.text("xyz", max_size=3))
            if after == text[start:end]:
                continue
            changes.append((start, text[start:end], after))
            made += text[place:start] + after
            place = end
        text = made + text[place:]
        edits.append(edit(*changes))
    return clean, text, edits


@given(edited())
def test_the_stretches_are_both_texts(case: tuple[str, str, list[Edit]]) -> None:
    clean, noisy, edits = case
    stretches = stretches_of(noisy, edits)
    assert "".join(stretch.before for stretch in stretches) == clean
    assert "".join(stretch.after for stretch in stretches) == noisy


def test_what_is_as_it_was_is_one_stretch() -> None:
    assert stretches_of("as it was", []) == [Stretch("as it was", "as it was")]


def test_each_change_stands_at_its_place() -> None:
    stretches = stretches_of("Teh card dos not work", [edit((0, "The", "Teh"), (9, "does", "dos"))])
    assert [each for each in stretches if each.is_changed] == [("The", "Teh"), ("does", "dos")]
    assert "".join(each.before for each in stretches) == "The card does not work"


def test_a_change_of_a_change_is_told_against_the_clean_text() -> None:
    first, second = edit((0, "card", "crad")), edit((1, "r", "R"))
    assert stretches_of("cRad works", [first, second])[0] == ("card", "cRad")


def test_edits_of_another_text_are_refused() -> None:
    with pytest.raises(ValueError, match="is not what stands"):
        stretches_of("something else", [edit((0, "The", "Teh"))])
