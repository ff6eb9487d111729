"""A model server whose life is a script: it says what it is told to, and serves nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from providers.local import child

Scripted = Callable[[str], None]

PROLOGUE = """
import json, os, signal, sys, time

def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)

def note(word):
    with open("life.txt", "a") as life:
        life.write(word + "\\n")

options = dict(each.lstrip("-").partition("=")[::2] for each in sys.argv[1:])
READY = {"url": "http://127.0.0.1:9", "model": "m"}
"""


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """Lets this script stand in for the server's program; ``life.txt`` has what it notes."""

    def use(script: str) -> None:
        path = tmp_path / "server.py"
        path.write_text(PROLOGUE + script)
        monkeypatch.setattr(child, "SERVER_COMMAND", (sys.executable, "-S", "-E", str(path)))

    return use
