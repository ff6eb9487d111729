"""The audit: a sound run passes, and each broken promise is found from the files alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from weave_async.audit import audit
from weave_async.errors import RunFolderError
from weave_async.recipe import Recipe
from weave_async.run import Run

RECIPE = {
    "name": "t",
    "seed": 7,
    "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
    "generate": {"mix": [{"endpoint": "simulated"}], "params": {"max_tokens": 100}},
    "validation": [{"length": {"min_words": 40}}],
}
JOURNAL = "every frame of the journal is whole"
CALLS = "sent = answered + missed + unknown"
FILES = "every file is the one that was published"
SUM = "written + rejected + failed + pending = asked"
ROWS = "rows are as many as the manifest says"
ONCE = "every sample ends once"
ANSWERED = "every written or rejected row has its answer in the journal"


@pytest.fixture
def run_folder() -> Path:
    """A finished run of thirty rows."""
    rows = [json.dumps({"text": f"Question {n} about my account"}) for n in range(30)]
    Path("seeds.jsonl").write_text("\n".join(rows) + "\n")

    async def scenario() -> None:
        async with Run(Recipe.model_validate(RECIPE), output_dir="out") as run:
            summary = await run.finish()
        assert summary.written
        assert summary.rejected

    asyncio.run(scenario())
    return Path("out")


def broken(folder: Path) -> list[str]:
    return [check.name for check in audit(folder).checks if not check.passed]


def publish_anew(folder: Path, name: str, change: Callable[[list[str]], list[str]]) -> None:
    """Change an output's lines, and let the manifest agree with the bytes."""
    path = folder / name
    lines = change(path.read_text().splitlines(keepends=True))
    path.write_text("".join(lines))
    entry = {"rows": len(lines), "sha256": sha256(path.read_bytes()).hexdigest()}
    change_manifest(folder, lambda manifest: manifest["files"][name].update(entry))


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sound_run_passes_and_nothing_is_written(run_folder: Path) -> None:
    before = contents(run_folder)
    found = audit(run_folder)
    assert found.passed
    assert found.notes == []
    assert len(found.checks) == 7
    assert contents(run_folder) == before


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(RunFolderError, match="holds no run"):
            audit(path)


def test_a_flipped_byte_in_the_journal_is_found_with_its_place(run_folder: Path) -> None:
    segment = run_folder / "journal/000001.log"
    content = bytearray(segment.read_bytes())
    content[1000] ^= 4
    segment.write_bytes(bytes(content))
    found = {check.name: check for check in audit(run_folder).checks}
    assert not found[JOURNAL].passed
    assert f"{segment} is damaged at byte " in found[JOURNAL].problems[0]
    assert not found[ANSWERED].passed


def test_a_torn_tail_is_a_note_and_no_damage(run_folder: Path) -> None:
    with (run_folder / "journal/000001.log").open("ab") as file:
        file.write(b"0000")
    found = audit(run_folder)
    assert found.passed
    assert "ends in 4 torn bytes, as after a crash" in found.notes[0]


def test_a_changed_output_is_found(run_folder: Path) -> None:
    path = run_folder / "samples.jsonl"
    path.write_bytes(path.read_bytes().replace(b"account", b"acc0unt", 1))
    assert broken(run_folder) == [FILES]


def test_a_missing_output_is_found(run_folder: Path) -> None:
    (run_folder / "rejected.jsonl").unlink()
    assert broken(run_folder) == [FILES]


def test_a_row_that_stands_twice_is_found(run_folder: Path) -> None:
    publish_anew(run_folder, "samples.jsonl", lambda lines: [*lines, lines[0]])
    assert broken(run_folder) == [ROWS, ONCE]


def test_a_sample_with_two_ends_is_found(run_folder: Path) -> None:
    [line, *_] = (run_folder / "samples.jsonl").read_text().splitlines(keepends=True)
    publish_anew(run_folder, "rejected.jsonl", lambda lines: [*lines[:-1], line])
    assert broken(run_folder) == [ONCE]


def test_a_missing_row_is_found(run_folder: Path) -> None:
    publish_anew(run_folder, "rejected.jsonl", lambda lines: lines[1:])
    assert broken(run_folder) == [ROWS]


def test_counts_that_do_not_add_up_are_found(run_folder: Path) -> None:
    change_manifest(run_folder, lambda manifest: manifest.update(asked=31))
    assert broken(run_folder) == [SUM]


@pytest.mark.parametrize("key", ["sample_id", "request_id"])
def test_a_row_that_nobody_answered_is_found(run_folder: Path, key: str) -> None:
    def forge(lines: list[str]) -> list[str]:
        row = json.loads(lines[0])
        (row if key == "sample_id" else row["lineage"])[key] = "made up"
        return [json.dumps(row) + "\n", *lines[1:]]

    publish_anew(run_folder, "samples.jsonl", forge)
    assert broken(run_folder) == [ANSWERED]


def test_a_manifest_cannot_name_files_elsewhere(run_folder: Path) -> None:
    def add(manifest: dict[str, Any]) -> None:
        manifest["files"]["../secret"] = {"rows": 0, "sha256": ""}

    change_manifest(run_folder, add)
    assert broken(run_folder) == [FILES]


def test_an_interrupted_run_is_sound_and_said_to_be_unfinished(run_folder: Path) -> None:
    (run_folder / "manifest.json").unlink()
    (run_folder / "samples.jsonl").rename(run_folder / "samples.jsonl.part")
    found = audit(run_folder)
    assert found.passed
    assert "unfinished: samples.jsonl.part" in found.notes[0]
    assert "there is no manifest" in found.notes[1]


def test_many_problems_are_counted_and_a_few_named(run_folder: Path) -> None:
    publish_anew(run_folder, "rejected.jsonl", lambda lines: lines * 3)
    once = next(check for check in audit(run_folder).checks if check.name == ONCE)
    assert once.num_problems > len(once.problems) == 5
