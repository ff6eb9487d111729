"""The exact server as a process, for as long as a test needs it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, Self

SERVER = Path(__file__).with_name("exact_server.py")


class ExactEndpoint:
    """``options`` are those of ``exact_server.Options``."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER), json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.base_url: str = json.loads(self._process.stdout.readline())["base_url"]
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def log(self) -> dict[str, Any]:
        """``connections``, and of each of ``requests`` when it arrived and its chunks left."""
        with urllib.request.urlopen(f"{self.base_url.removesuffix('/v1')}/log") as reply:
            told: dict[str, Any] = json.load(reply)
        return told
