"""What a kill cannot show, as the kernel keeps what was written: that it is synced, in order."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .site import Site

WATCHING = Path(__file__).with_name("watching.py")
OUTPUTS = ("samples.jsonl", "rejected.jsonl", "failed.jsonl")
Step = list[Any]


@pytest.fixture
def steps(site: Site) -> list[Step]:
    """The syncs and renames of a run."""
    site.write_rows(100)
    log = site.folder / "log.jsonl"
    command = [sys.executable, str(WATCHING), str(log), *site.arguments("-c", "4")]
    assert site.start_command(command).end().exit_code == 0
    return [json.loads(line) for line in log.read_text().splitlines()]


def place(steps: list[Step], fits: Callable[[Step], bool], after: int = 0) -> int:
    found = next((n for n, step in enumerate(steps) if n >= after and fits(step)), None)
    assert found is not None, f"no such step after {after} in {steps}"
    return found


def test_answers_are_on_disk_before_an_output_shows_them(site: Site, steps: list[Step]) -> None:
    shown = place(steps, lambda step: step[0] == "replace" and step[2].endswith(OUTPUTS))
    synced: dict[str, int] = {}
    for kind, path, size in steps[:shown]:
        if kind == "fsync":
            synced[Path(path).stem] = size
    [segment] = site.out.glob("journal/*.log")
    assert synced.get(segment.stem, 0) >= end_of_last_answer(segment)


def end_of_last_answer(segment: Path) -> int:
    blob = segment.read_bytes()
    last = blob.rindex(b'{"kind":"answer"')
    return blob.index(b"\n", last) + 1


def test_the_journal_is_in_its_folder_before_anything_is_asked(
    site: Site, steps: list[Step]
) -> None:
    first_answers = place(steps, lambda step: step[1].endswith((".log", ".new")) and step[2] > 2000)
    assert place(steps, lambda step: step[1] == str(site.out / "journal")) < first_answers


@pytest.mark.parametrize("name", [*OUTPUTS, "manifest.json"])
def test_a_file_is_synced_then_renamed_and_then_its_folder_is_synced(
    site: Site, steps: list[Step], name: str
) -> None:
    path = str(site.out / name)
    renamed = place(steps, lambda step: step[0] == "replace" and step[2] == path)
    part, size = steps[renamed][1], (site.out / name).stat().st_size
    assert place(steps, lambda step: step == ["fsync", part, size]) < renamed
    assert place(steps, lambda step: step[1] == str(site.out), after=renamed)


def test_the_manifest_comes_last(site: Site, steps: list[Step]) -> None:
    renamed = [Path(step[2]).name for step in steps if step[0] == "replace"]
    assert renamed.index("manifest.json") > max(renamed.index(name) for name in OUTPUTS)
