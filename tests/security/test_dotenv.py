"""``.env``: read as text, never run, and not for others to read."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import pytest

from weave_async.errors import RecipeError
from weave_async.settings import Settings

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "WEAVE_ASYNC_MODEL=$(touch executed)",
    "WEAVE_ASYNC_MODEL=`touch executed`",
    "WEAVE_ASYNC_MODEL=$HOME",
    "WEAVE_ASYNC_MODEL=${HOME}",
    "WEAVE_ASYNC_MODEL=${HOME:-x}",
    'WEAVE_ASYNC_MODEL="$(touch executed)"',
    "WEAVE_ASYNC_MODEL=x; touch executed",
    "WEAVE_ASYNC_MODEL=x && touch executed",
    "WEAVE_ASYNC_MODEL=x | touch executed",
    "touch executed",
    "export WEAVE_ASYNC_MODEL=x\ntouch executed",
    "source other.env",
    ". ./other.env",
    "PYTHONSTARTUP=other.py",
    "LD_PRELOAD=./other.so",
    "PATH=.",
    "WEAVE_ASYNC_MODEL='unclosed\ntouch executed",
    "\x00\x01\x02",
    "=\n==\n",
    "WEAVE_ASYNC_MODEL=" + "x" * 100_000,
]


@pytest.mark.parametrize("content", HOSTILE)
def test_nothing_in_it_is_executed_or_expanded(
    content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text(content + "\n")
    Path("other.env").write_text("WEAVE_ASYNC_MODEL=from-another-file\n")
    monkeypatch.setenv("HOME", "/expanded")
    try:
        model = Settings.from_environment({}).default.model or ""
    except RecipeError:
        model = ""
    assert "/expanded" not in model
    assert "from-another-file" not in model
    assert not Path("executed").exists()


def test_what_it_sets_does_not_reach_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    Path(".env").write_text("LD_PRELOAD=./other.so\nWEAVE_ASYNC_MODEL=m\n")
    before = dict(os.environ)
    assert Settings.from_environment({}).default.model == "m"
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("mode", "content", "warns"),
    [
        (0o600, "WEAVE_ASYNC_API_KEY=k\n", False),
        (0o400, "OPENAI_API_KEY=k\n", False),
        (0o644, "WEAVE_ASYNC_API_KEY=k\n", True),
        (0o640, "WEAVE_ASYNC_ENDPOINTS__FAST__API_KEY=k\n", True),
        (0o604, "OPENAI_API_KEY=k\n", True),
        (0o644, "WEAVE_ASYNC_MODEL=m\n", False),
        (0o644, "WEAVE_ASYNC_API_KEY=\n", False),
    ],
)
def test_a_key_that_others_can_read_is_warned_of(
    mode: int, content: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(".env")
    path.write_text(content)
    path.chmod(mode)
    with caplog.at_level(logging.WARNING, "weave_async.settings"):
        Settings.from_environment({})
    assert ("chmod 600 .env" in caplog.text) == warns


def test_git_does_not_take_it() -> None:
    lines = (ROOT / ".gitignore").read_text().splitlines()
    assert ".env" in lines


def test_git_itself_agrees(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    (tmp_path / ".env").write_text("WEAVE_ASYNC_API_KEY=k\n")
    try:
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    except FileNotFoundError:
        pytest.skip("there is no git here")
    done = subprocess.run(["git", "check-ignore", "-q", ".env"], cwd=tmp_path, check=False)
    assert done.returncode == 0
