"""``weave-async verify``: damage has an exit code, a name and a way out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest

from weave_async.journal import frames

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


def test_an_interrupted_publishing_exits_with_75(weave_async: Program, run_folder: Path) -> None:
    """As a kill leaves it: the segment of a later run, new outputs, and the earlier manifest."""
    opening = {"kind": "open", "format_version": 2, "epoch": 2, "asks": {}}
    (run_folder / "journal/000002.log").write_bytes(frames.encode(opening))
    path = run_folder / "samples.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    outcome = weave_async("verify", str(run_folder))
    assert outcome.exit_code == 75
    assert "run the same command again" in outcome.out
    assert weave_async("verify", str(run_folder), "--json").json["interrupted"] is True


@pytest.mark.parametrize("lost", ["segment", "folder"])
def test_a_lost_journal_is_not_bought_again_unless_that_is_wanted(
    weave_async: Program, recipe_file: Path, run_folder: Path, lost: str
) -> None:
    if lost == "folder":
        shutil.rmtree(run_folder / "journal")
    else:
        (run_folder / "journal/000001.log").unlink()
    refused = weave_async("run", str(recipe_file), "-o", "out")
    assert refused.exit_code == 73
    assert "has published 40 answers, and its journal holds 0" in refused.err
    again = weave_async("run", str(recipe_file), "-o", "out", "--accept-changes", "--json")
    assert (again.exit_code, again.json["recalled"]) == (0, 0)
    assert weave_async("verify", str(run_folder)).exit_code == 0


OPEN: dict[str, Any] = {"kind": "open", "format_version": 2, "epoch": 1, "asks": {}}
ANSWER = {"kind": "answer", "sample_id": "s-0", "attempt_id": "a", "request_id": "r"}
ODD_BODIES = [
    [b"{nope"],
    [b"[1]"],
    [{**OPEN, "epoch": "x"}],
    [{**OPEN, "epoch": []}],
    [{**OPEN, "format_version": "9"}],
    [{**OPEN, "cut": {"x": "y"}}],
    [{**OPEN, "cut": [1]}],
    [{**OPEN, "started_at": "x"}],
    [OPEN, ANSWER],
    [OPEN, {"kind": ["answer"]}],
    [OPEN, {"kind": "sent", "at_s": 0.1, "calls": [["a"]]}],
    [OPEN, {"kind": "sent", "at_s": 0.1, "calls": [5]}],
    [OPEN, {"kind": "sent", "at_s": 0.1, "calls": [["a", "r", "many"]]}],
    [OPEN, b'{"kind":"sent","at_s":0.1,"calls":[["\xff","r",1]]}'],
    [OPEN, {"kind": "synced", "bytes": "x"}],
    [OPEN, {"kind": "missed", "attempt_id": "a", "request_id": "r", "at_s": 1, "failure": "no"}],
]


@pytest.mark.parametrize("bodies", ODD_BODIES, ids=str)
def test_an_odd_journal_with_right_checksums_is_told_by_file_and_offset(
    weave_async: Program, recipe_file: Path, bodies: list[Any]
) -> None:
    journal = Path("odd/journal")
    journal.mkdir(parents=True)
    blobs = [each if isinstance(each, bytes) else orjson.dumps(each) for each in bodies]
    content = b"".join(map(frames.wrap, blobs))
    (journal / "000001.log").write_bytes(content)
    offset = content.rindex(b"\n", 0, -1) + 1 if len(bodies) > 1 else 0
    place = f"odd/journal/000001.log holds at byte {offset} "
    verified = weave_async("verify", "odd")
    assert verified.exit_code in (65, 73)
    if bodies[-1] is not ANSWER:  # whole enough to be counted; told by who needs the rest of it
        assert place in " ".join((verified.out + verified.err).split())
        assert place in weave_async("run", str(recipe_file), "-o", "odd").err
    explained = weave_async("explain", "odd", "s" if bodies[-1] is ANSWER else "")
    assert explained.exit_code == 73
    assert place in explained.err


@pytest.mark.parametrize("what", ["fifo", "folder", "link"])
@pytest.mark.parametrize("command", ["verify", "run", "explain"])
def test_a_segment_that_is_no_regular_file_is_refused(
    weave_async: Program, recipe_file: Path, run_folder: Path, what: str, command: str
) -> None:
    path = run_folder / "journal/000002.log"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to("000001.log")
    options = {"verify": ["out"], "run": [str(recipe_file), "-o", "out"], "explain": ["out", "x"]}
    outcome = weave_async(command, *options[command])
    assert outcome.exit_code == 73
    assert "000002.log is not a regular file" in outcome.err


def test_a_name_that_is_no_text_names_no_row(weave_async: Program, run_folder: Path) -> None:
    outcome = weave_async("explain", str(run_folder), "\udcff")
    assert outcome.exit_code == 2
    assert "no row is" in outcome.err
