"""The audit: a sound run passes, and each broken promise is found from the files alone."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from weave_async.audit import audit
from weave_async.errors import RunFolderError
from weave_async.journal.writer import Writer
from weave_async.recipe import Recipe
from weave_async.run import Run
from weave_async.rundir import RunFolder

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
SAID = "every written or rejected row says what was answered"
MANIFEST = "the manifest is readable"


class KilledError(Exception):
    """Stands for the end of the process."""


def killed(*_: object) -> None:
    raise KilledError


def leave_segment(writer: Writer, *, discard: bool = False) -> None:
    """What a killed process does for its files."""
    writer.free_reserve()


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


def change_row(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the first sample, and let the manifest agree with the bytes."""

    def first(lines: list[str]) -> list[str]:
        row = json.loads(lines[0])
        change(row)
        return [json.dumps(row) + "\n", *lines[1:]]

    publish_anew(folder, "samples.jsonl", first)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sound_run_passes_and_nothing_is_written(run_folder: Path) -> None:
    before = contents(run_folder)
    found = audit(run_folder)
    assert found.passed
    assert found.notes == []
    assert len(found.checks) == 8
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


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row["messages"][-1].update(content="Made up."),
        lambda row: row["messages"].pop(),
        lambda row: row["lineage"]["noise"].append(
            noise_edit(0, "Made up.", row["messages"][-1]["content"])
        ),
    ],
    ids=["another text", "no text", "another clean text"],
)
def test_a_row_that_says_what_nobody_answered_is_found(
    run_folder: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    change_row(run_folder, change)
    assert broken(run_folder) == [SAID]


def noise_edit(start: int, before: str, after: str) -> dict[str, Any]:
    change = {"start": start, "before": before, "after": after}
    return {"noise": "typos", "message_index": 1, "changes": [change]}


def test_noise_on_the_answer_is_no_damage_while_the_clean_text_is_there(run_folder: Path) -> None:
    def make_noisy(row: dict[str, Any]) -> None:
        clean = row["messages"][-1]["content"]
        row["messages"][-1]["content"] = "twice noisy"
        row["lineage"]["noise"] += [
            noise_edit(0, clean, "once noisy"),
            noise_edit(0, "once", "twice"),
        ]

    change_row(run_folder, make_noisy)
    assert broken(run_folder) == []


def test_noise_of_a_real_run_on_its_answers_is_no_damage() -> None:
    noise = [{"typos": {"rate": 0.2, "field": "completion"}}] * 2
    Path("seeds.jsonl").write_text(json.dumps({"text": "Question"}) + "\n")

    async def scenario() -> None:
        async with Run(
            Recipe.model_validate({**RECIPE, "noise": noise, "validation": []}), output_dir="out"
        ) as run:
            await run.finish()

    asyncio.run(scenario())
    rows = [
        json.loads(line)
        for file in Path("out").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert rows[0]["lineage"]["noise"]
    assert broken(Path("out")) == []


def test_swapped_answers_are_found(run_folder: Path) -> None:
    def swap(lines: list[str]) -> list[str]:
        one, two = map(json.loads, lines[:2])
        one["messages"][-1], two["messages"][-1] = two["messages"][-1], one["messages"][-1]
        return [json.dumps(one) + "\n", json.dumps(two) + "\n", *lines[2:]]

    publish_anew(run_folder, "samples.jsonl", swap)
    assert broken(run_folder) == [SAID]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"files": {}}, FILES),
        ({"files": {"samples.jsonl": "x"}}, FILES),
        ({"files": [1]}, MANIFEST),
        ({"written": "50"}, MANIFEST),
    ],
)
def test_an_odd_manifest_is_damage(run_folder: Path, change: dict[str, Any], check: str) -> None:
    change_manifest(run_folder, lambda manifest: manifest.update(change))
    assert check in broken(run_folder)


def test_an_entry_without_its_rows_is_damage(run_folder: Path) -> None:
    change_manifest(run_folder, lambda manifest: manifest["files"]["failed.jsonl"].pop("rows"))
    assert broken(run_folder) == [FILES]


def test_a_newer_manifest_is_refused(run_folder: Path) -> None:
    change_manifest(run_folder, lambda manifest: manifest.update(format_version=99))
    with pytest.raises(RunFolderError, match=r"manifest\.json is of a newer weave-async"):
        audit(run_folder)


def test_a_missing_segment_is_found(run_folder: Path) -> None:
    (run_folder / "journal/000001.log").rename(run_folder / "journal/000002.log")
    assert JOURNAL in broken(run_folder)


def test_without_a_manifest_an_output_before_one_that_is_there_is_missed(run_folder: Path) -> None:
    (run_folder / "manifest.json").unlink()
    assert broken(run_folder) == []
    (run_folder / "samples.jsonl").unlink()
    assert broken(run_folder) == [FILES]


def test_a_fifo_among_the_outputs_holds_nobody_up(run_folder: Path) -> None:
    (run_folder / "failed.jsonl").unlink()
    os.mkfifo(run_folder / "failed.jsonl")
    assert broken(run_folder) == [FILES]


@pytest.mark.parametrize("num_replays", [0, 1])
def test_a_kill_before_the_manifest_reads_as_an_interruption_and_not_as_damage(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, num_replays: int
) -> None:
    """A replay that ends well leaves no segment: its number must not hide the killed one's."""
    looser = {**RECIPE, "validation": [{"length": {"min_words": 1}}]}

    async def scenario(recipe: dict[str, Any]) -> None:
        async with Run(Recipe.model_validate(recipe), output_dir="out") as run:
            await run.finish()

    for _ in range(num_replays):
        asyncio.run(scenario(RECIPE))
    segments = contents(run_folder / "journal")
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_metrics", killed)
        patch.setattr(Writer, "close", leave_segment)
        with pytest.raises(KilledError):
            asyncio.run(scenario(looser))
    assert len(contents(run_folder / "journal")) > len(segments)
    found = audit(run_folder)
    assert (found.passed, found.is_interrupted) == (True, True)
    assert "publishing was interrupted: run the same command again" in found.notes
    asyncio.run(scenario(looser))
    found = audit(run_folder)
    assert (found.passed, found.is_interrupted) == (True, False)


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
