"""Each format, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from export.made_runs import make_run, row
from weave_async.export.making import Export, Wanted, lines

CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
]
ASKED = [{"role": "user", "content": "Why?"}]
ANSWERED = [{"role": "assistant", "content": "So."}]


def exported(run: Path, format: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines(Export(run, Wanted(format)))]


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("messages", {"messages": [*ASKED, *ANSWERED], "sample_id": "a-0"}),
        ("openai", {"messages": [*ASKED, *ANSWERED]}),
        ("prompt-completion", {"prompt": ASKED, "completion": ANSWERED, "sample_id": "a-0"}),
        (
            "alpaca",
            {"instruction": "Why?", "input": "", "output": "So.", "system": "", "history": []},
        ),
        (
            "sharegpt",
            {
                "conversations": [
                    {"from": "human", "value": "Why?"},
                    {"from": "gpt", "value": "So."},
                ]
            },
        ),
        ("text", {"text": "Why?\n\nSo."}),
    ],
)
def test_a_row_has_the_shape_that_its_trainer_reads(
    tmp_path: Path, format: str, expected: dict[str, Any]
) -> None:
    assert exported(make_run(tmp_path / "run", [row("a-0", "So.")]), format) == [expected]


def test_earlier_turns_and_the_system_turn_have_columns_of_their_own_in_alpaca(
    tmp_path: Path,
) -> None:
    run = make_run(tmp_path / "run", [row("a-0", "2", ask=CONVERSATION)])
    [told] = exported(run, "alpaca")
    assert (told["instruction"], told["output"]) == ("Two?", "2")
    assert (told["system"], told["history"]) == ("Be brief.", [["One?", "1"]])


def test_turns_that_do_not_alternate_are_left_out_of_alpaca_and_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [row("a-0", "So.", ask=[*ASKED, *ASKED]), row("b-0", "So.")])
    export = Export(run, Wanted("alpaca"))
    assert len(list(export.records())) == 1
    assert export.left_out == {"without turns of user and assistant that alternate": 1}


def test_kto_labels_what_a_rule_has_rejected_and_nothing_that_none_has_judged(
    tmp_path: Path,
) -> None:
    rows = [
        row("a-0", "Good."),
        row("a-1", "Bad.", rejected=("validation", "too_short")),
        row("a-2", "Again.", rejected=("selection", "duplicate")),
        row("a-3", "Odd.", rejected=("validation", "no_verdict")),
    ]
    run = make_run(tmp_path / "run", rows)
    export = Export(run, Wanted("kto"))
    told = [record for _, record in export.records()]
    assert [(each["completion"][0]["content"], each["label"]) for each in told] == [
        ("Good.", True),
        ("Bad.", False),
    ]
    assert export.left_out.total() == 2
