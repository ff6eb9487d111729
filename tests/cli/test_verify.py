"""``weave-async verify``: damage has an exit code, a name and a way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Program


@pytest.fixture
def run_folder(weave_async: Program, recipe_file: Path) -> Path:
    assert weave_async("run", str(recipe_file), "-o", "out").exit_code == 0
    return Path("out")


def damage(run_folder: Path) -> None:
    segment = run_folder / "journal/000001.log"
    content = bytearray(segment.read_bytes())
    content[content.index(b'"response"')] ^= 1
    segment.write_bytes(bytes(content))


def test_a_sound_run_is_told_check_by_check(weave_async: Program, run_folder: Path) -> None:
    outcome = weave_async("verify", str(run_folder))
    assert outcome.exit_code == 0
    assert "NOT OK" not in outcome.out
    assert "every frame of the journal is whole" in outcome.out
    assert "40 answers" in outcome.out


def test_json_tells_the_same(weave_async: Program, run_folder: Path) -> None:
    outcome = weave_async("verify", str(run_folder), "--json")
    assert outcome.json["passed"] is True
    assert all(check["passed"] for check in outcome.json["checks"])


def test_damage_exits_with_65_and_names_the_place(weave_async: Program, run_folder: Path) -> None:
    damage(run_folder)
    outcome = weave_async("verify", str(run_folder))
    assert outcome.exit_code == 65
    assert "NOT OK" in outcome.out
    assert "000001.log is damaged at byte" in "".join(outcome.out.split("\n"))


def test_no_run_exits_with_73(weave_async: Program) -> None:
    outcome = weave_async("verify", "nowhere")
    assert outcome.exit_code == 73
    assert "nowhere holds no run" in outcome.err


def test_repair_lets_the_run_go_on_and_buys_only_what_was_lost(
    weave_async: Program, recipe_file: Path, run_folder: Path
) -> None:
    damage(run_folder)
    refused = weave_async("run", str(recipe_file), "-o", "out")
    assert refused.exit_code == 73
    assert "weave-async verify RUN --repair" in refused.err
    outcome = weave_async("verify", str(run_folder), "--repair")
    assert "the original is 000001.log.damaged" in outcome.err
    assert outcome.exit_code == 65, "the row of the lost answer has none"
    again = weave_async("run", str(recipe_file), "-o", "out", "--json")
    assert (again.exit_code, again.json["recalled"]) == (0, 39)
    assert weave_async("verify", str(run_folder)).exit_code == 0
