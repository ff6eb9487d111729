"""What the progress line says."""

from __future__ import annotations

import json
import os
import pty
import sys
from pathlib import Path

import pytest

from weave_async import Recipe, Run
from weave_async.cli.progress import figures, progress_for


def test_the_line_tells_diversity_and_then_that_it_is_measured(tmp_path: Path) -> None:
    recipe = Recipe.parse("prompts: {source: seeds.jsonl}")
    run = Run(recipe, output_dir=tmp_path)
    run.metrics.start()
    assert "vendi" not in figures(run, 200)
    run.metrics.diversity = {"vendi_words": 12.74}
    assert "vendi of words 12.7" in figures(run, 200)
    run.metrics.stop()
    assert figures(run, 200) == "measuring what was written"


def test_json_lines_on_a_terminal_hold_no_control_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Recipe.parse("prompts: {source: seeds.jsonl}"), output_dir=tmp_path)
    leader, follower = pty.openpty()
    with open(follower, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress_for(run, as_json=True) as progress:
            progress.say("\x1b]52;c;eA==\x07 \x9b2J \x7f \u202e")
        shown = os.read(leader, 4096).decode()
        monkeypatch.undo()
    os.close(leader)
    line = shown.removesuffix("\r\n")
    assert json.loads(line)["event"] == "message"
    assert not set(line) & {"\x1b", "\x07", "\x9b", "\x7f", "\u202e"}
