"""A dataset's folder and its card."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from export.made_runs import make_run, row
from weave_async.errors import InputError, RunFolderError
from weave_async.export import folder
from weave_async.export.folder import to_folder
from weave_async.export.making import Export, Wanted, to_file
from weave_async.export.preference import Pairing

HOSTILE = "`</code><script>alert(1)</script>|\n# heading\n---\nlicense: mit"


def run_of(path: Path, num_rows: int = 6, **options: Any) -> Path:
    rows = [row(f"p{n}-0", f"So {n}.", ask=f"{n}?", **options) for n in range(num_rows)]
    return make_run(path, rows)


def exported(run: Path, path: Path, **wanted: Any) -> Export:
    export = Export(run, Wanted(**{"format": "messages", **wanted}))
    to_folder(export, path, "jsonl")
    return export


def header_of(path: Path) -> dict[str, Any]:
    _, header, _ = (path / "README.md").read_text().split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(header)
    return loaded


def test_shards_are_named_by_split_and_hold_all_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "SHARD_ROWS", 2)
    exported(run_of(tmp_path / "run"), tmp_path / "d", validation=0.2)
    assert sorted(os.listdir(tmp_path / "d/data")) == [
        "train-00000-of-00003.jsonl",
        "train-00001-of-00003.jsonl",
        "train-00002-of-00003.jsonl",
        "validation-00000-of-00001.jsonl",
    ]
    told = "".join(path.read_text() for path in (tmp_path / "d/data").iterdir())
    ids = [json.loads(line)["sample_id"] for line in told.splitlines()]
    assert sorted(ids) == [f"p{n}-0" for n in range(6)]


def test_the_card_has_a_header_counts_and_no_place_of_the_machine(tmp_path: Path) -> None:
    exported(run_of(tmp_path / "run"), tmp_path / "d", validation=0.5, license="cc-by-4.0")
    header = header_of(tmp_path / "d")
    assert header["license"] == "cc-by-4.0"
    assert header["size_categories"] == ["n<1K"]
    assert header["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*.jsonl"},
        {"split": "validation", "path": "data/validation-*.jsonl"},
    ]
    card = (tmp_path / "d/README.md").read_text()
    assert "| train | 3 |" in card
    assert "| `m` | 6 |" in card
    assert "source: seeds.jsonl" in card
    assert "/home/" not in card


def test_no_licence_is_made_up(tmp_path: Path) -> None:
    exported(run_of(tmp_path / "run"), tmp_path / "d")
    assert "license" not in header_of(tmp_path / "d")
    assert "named no licence" in (tmp_path / "d/README.md").read_text()


def test_names_and_reasons_of_others_stay_code_in_the_card(tmp_path: Path) -> None:
    rows = [row("a-0", "So.", model=HOSTILE)]
    run = make_run(tmp_path / "run", rows, rejected_by_reason={HOSTILE: 1}, cautions=[HOSTILE])
    exported(run, tmp_path / "d")
    card = (tmp_path / "d/README.md").read_text()
    outside_code = re.sub(r"`[^`\n]*`", "", card)
    assert "<script>" in card
    assert "<script>" not in outside_code
    assert "\n# heading" not in card
    assert "license" not in header_of(tmp_path / "d")


def test_an_unfinished_run_is_told_as_such_in_the_card(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [row("a-0", "So.")], pending=7)
    exported(run, tmp_path / "d")
    assert "7 samples are pending" in (tmp_path / "d/README.md").read_text()


def test_pairs_are_held_out_by_their_own_number(tmp_path: Path) -> None:
    """Prompts without a pair must not use up what is to be held out."""
    alone = [row(f"o{n}-0", "x", ask=f"other {n}") for n in range(40)]
    pairs = [
        row(f"p{n}-{draw}", f"{draw}", ask=f"{n}?", rejected=rejected)
        for n in range(10)
        for draw, rejected in enumerate((None, ("validation", "short")))
    ]
    run = make_run(tmp_path / "run", [*alone, *pairs])
    export = exported(run, tmp_path / "d", format="preference", pairing=Pairing(), validation=0.2)
    assert export.num_rows == {"train": 8, "validation": 2}


def test_force_replaces_an_export_and_nothing_else(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    exported(run, tmp_path / "d")
    with pytest.raises(RunFolderError, match="--force"):
        exported(run, tmp_path / "d")
    exported(run, tmp_path / "d", format="text", force=True)
    assert json.loads((tmp_path / "d/export.json").read_text())["format"] == "text"
    for name in ("notes.txt", "data/mine.jsonl"):
        (tmp_path / "d" / name).write_text("mine")
        with pytest.raises(RunFolderError, match="no export of ours"):
            exported(run, tmp_path / "d", force=True)
        (tmp_path / "d" / name).unlink()
    assert sorted(os.listdir(tmp_path)) == ["d", "run"]


def test_a_failed_export_leaves_what_was_there(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    exported(run, tmp_path / "d")
    before = (tmp_path / "d/README.md").read_text()
    with (run / "samples.jsonl").open("a") as file:
        file.write("torn")
    with pytest.raises(Exception, match="no row of ours"):
        exported(run, tmp_path / "d", format="text", force=True)
    assert (tmp_path / "d/README.md").read_text() == before
    assert sorted(os.listdir(tmp_path)) == ["d", "run"]


def test_a_template_that_begins_with_a_slash_stays_whole_in_the_card(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    recipe = "name: d\nprompts: {source: seeds.jsonl, template: '/no_think {{ a }}/{{ b }}'}\n"
    (run / "recipe.yaml").write_text(recipe)
    exported(run, tmp_path / "d")
    assert "/no_think {{ a }}/{{ b }}" in (tmp_path / "d/README.md").read_text()


@pytest.mark.parametrize(
    "odd",
    [
        {"diversity": 3},
        {"diversity": {"vendi": 3}},
        {"cautions": 3},
        {"required": ["x"]},
        {"rejected_by_reason": [1]},
    ],
    ids=str,
)
def test_a_manifest_that_no_run_writes_is_told_as_such(tmp_path: Path, odd: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run", [row("a-0", "So.")], **odd)
    with pytest.raises(InputError, match=r"manifest\.json is not a manifest"):
        exported(run, tmp_path / "d")
    assert os.listdir(tmp_path) == ["run"]


class Overtaken(Export):
    """While this one is written, somebody else writes ``mine`` where it is to go."""

    mine: Path

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield from super().records()
        self.mine.parent.mkdir(exist_ok=True)
        self.mine.write_text("mine")


@pytest.mark.parametrize("as_file", [True, False])
def test_what_came_meanwhile_is_not_replaced(tmp_path: Path, as_file: bool) -> None:
    export = Overtaken(run_of(tmp_path / "run"), Wanted("messages"))
    place = tmp_path / "d"
    export.mine = place if as_file else place / "notes.txt"
    with pytest.raises(RunFolderError, match="--force"):
        (to_file if as_file else to_folder)(export, place, "jsonl")
    assert export.mine.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["d", "run"]
