"""A stack that is an HTTP server: started on a free port, ready when ``/health`` answers."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from local_generation.client import ask_all
from local_generation.load import Answered, Load
from local_generation.process_group import LOOK_EVERY_S, ProcessGroup, StackFailed

PORT = "{port}"  # in a command: where the port belongs
_open = build_opener(ProxyHandler({})).open


class Served:
    """Starting waits for health. ``options`` are what its requests say besides the usual.

    ``precision`` may hold a pattern with one group, to be found in what the server printed.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        timeout_s: float,
        *,
        precision: str | re.Pattern[str],
        options: dict[str, Any],
        is_streamed: bool,
    ) -> None:
        port = _free_port()
        self._base_url = f"http://127.0.0.1:{port}/v1"
        self._is_streamed, self._timeout_s = is_streamed, timeout_s
        self.group = ProcessGroup(
            [word.replace(PORT, str(port)) for word in command], folder, environment
        )
        try:
            self._wait_until_ready(f"http://127.0.0.1:{port}/health")
            self.start_s = time.monotonic() - self.group.started_s
            self.precision = _read_precision(precision, self.group.stdout())
            self._options = options if "model" in options else options | self._first_model()
        except BaseException:
            self.group.end()
            raise

    def answer(self, load: Load) -> Answered:
        try:
            return ask_all(
                self._base_url,
                load,
                self._options,
                is_streamed=self._is_streamed,
                timeout_s=self._timeout_s,
            )
        except StackFailed:
            self.group.require_alive()
            raise

    def _first_model(self) -> dict[str, str]:
        try:
            with _open(f"{self._base_url}/models", timeout=self._timeout_s) as reply:
                return {"model": json.load(reply)["data"][0]["id"]}
        except OSError as error:  # URLError is one
            raise StackFailed(f"it cannot name its model: {error}") from error

    def _wait_until_ready(self, url: str) -> None:
        ends_at_s = time.monotonic() + self._timeout_s
        while time.monotonic() < ends_at_s:
            self.group.require_alive()
            try:
                with _open(url, timeout=LOOK_EVERY_S * 50):
                    return
            except OSError:  # not listening, or 503 while it loads
                time.sleep(LOOK_EVERY_S)
        raise StackFailed(f"not ready within {self._timeout_s:.0f} s: {self.group.last_words()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _read_precision(precision: str | re.Pattern[str], printed: str) -> str:
    if isinstance(precision, str):
        return precision
    found = precision.search(printed)
    return found[1] if found else "not told"
