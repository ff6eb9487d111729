"""Which kind of progress goes where."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pty
import sys
from pathlib import Path

import pytest

from weave_async import Recipe, Run
from weave_async.cli.progress import Progress, progress_for


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


@pytest.mark.parametrize("quiet", [False, True])
def test_off_a_terminal_a_quiet_run_tells_warnings_alone(
    quiet: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(Recipe.parse("prompts: {source: seeds.jsonl}"), output_dir=tmp_path)

    async def look(progress: Progress) -> None:
        showing = asyncio.create_task(progress.show())
        await asyncio.sleep(0)
        showing.cancel()

    with progress_for(run, quiet=quiet) as progress:
        asyncio.run(look(progress))
        logging.getLogger("weave_async.x").info("by the way")
        logging.getLogger("providers.x").warning("look here")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [line.get("message", line["event"]) for line in lines]
    assert told == (["look here"] if quiet else ["progress", "by the way", "look here"])


def test_colours_that_are_forced_make_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.setenv(name, "1")
    run = Run(Recipe.parse("prompts: {source: seeds.jsonl}"), output_dir=tmp_path)
    with progress_for(run) as progress:
        progress.say("stopping")
    assert capsys.readouterr().err == '{"event":"message","message":"stopping"}\n'


def test_a_standard_error_that_is_closed_hurts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Recipe.parse("prompts: {source: seeds.jsonl}"), output_dir=tmp_path)
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(sys, "stderr", closed)
    for quiet in (False, True):
        with progress_for(run, quiet=quiet) as progress:
            progress.say("nobody is there")
            logging.getLogger("weave_async.x").warning("nor here")


def test_without_lines_there_is_progress_on_a_terminal_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(Recipe.parse("prompts: {source: seeds.jsonl}"), output_dir=tmp_path)
    with progress_for(run, with_lines=False) as progress:
        asyncio.run(progress.show())
        progress.say("stopping")
    assert capsys.readouterr().err == '{"event":"message","message":"stopping"}\n'
