"""What is held out shares nothing with what is not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from export.made_runs import changed, make_run, row
from weave_async.errors import InputError, UsageError
from weave_async.export.making import Export, Wanted


def parts_of(
    rows: list[dict[str, object]], folder: Path, *, share: float = 0.5, seed: int = 0
) -> dict[str, str]:
    """The part of each sample, by its id."""
    export = Export(make_run(folder, rows), Wanted("messages", validation=share, seed=seed))
    export.divide()
    return {record["sample_id"]: name for name, record in export.records()}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "related",
    [
        [row("a-0", "1", ask="A?"), row("a-1", "2", ask="As a child: A?")],
        [row("a-0", "1", ask="A?"), row("a-0~1", "1", ask="AA?", noise=[changed(0, 0, "", "A")])],
        [row("a-0", "1", ask="A?"), row("a.1-0", "2", ask="In short: A?")],
        [row("a-0", "1", ask="A  thing?"), row("b-0", "2", ask="a thing?")],
        [row("a-0", "1", ask="B?", noise=[changed(0, 0, "A", "B")]), row("b-0", "2", ask="A?")],
        [row("a-0", "1", ask="1", parent="p-0"), row("b-0", "2", ask="2", parent="p.2-1~3")],
    ],
    ids=["draws", "noisy copies", "equal rows", "same words", "noisy words", "one parent"],
)
def test_what_belongs_together_is_in_one_part(
    tmp_path: Path, related: list[dict[str, object]], seed: int
) -> None:
    others = [row(f"o{number}-0", "x", ask=f"Other {number}?") for number in range(6)]
    parts = parts_of([*related, *others], tmp_path / "run", seed=seed)
    assert len({parts[str(each["sample_id"])] for each in related}) == 1
    assert set(parts.values()) == {"train", "validation"}


def test_rows_that_others_join_go_together(tmp_path: Path) -> None:
    chain = [row("a-0", "1", ask="A?"), row("a-1", "1", ask="B?"), row("b-0", "1", ask="B?")]
    chain += [row("b-1", "1", ask="C?"), row("c-0", "1", ask="C?")]
    other = [row("d-0", "1", ask="D?")]
    parts = parts_of([*chain, *other], tmp_path / "run")
    assert len({parts[str(each["sample_id"])] for each in chain}) == 1


def test_the_share_is_kept_and_the_order_of_the_rows_changes_nothing(tmp_path: Path) -> None:
    rows = [
        row(f"p{prompt}-{draw}", "x", ask=f"{prompt}?") for prompt in range(100) for draw in (0, 1)
    ]
    parts = parts_of(rows, tmp_path / "run", share=0.1)
    assert list(parts.values()).count("validation") == 20
    random.Random(0).shuffle(rows)
    assert parts_of(rows, tmp_path / "again", share=0.1) == parts
    assert parts_of(rows, tmp_path / "else", share=0.1, seed=1) != parts


def test_a_run_of_one_prompt_cannot_be_divided(tmp_path: Path) -> None:
    rows = [row("a-0", "1"), row("a-1", "2"), row("b-0", "3")]
    with pytest.raises(InputError, match="one prompt"):
        parts_of(rows, tmp_path / "run")


def test_a_share_of_all_is_refused() -> None:
    with pytest.raises(UsageError, match="below 1"):
        Wanted("messages", validation=1)
