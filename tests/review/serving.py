"""A review server as a user starts it, and a browser without a screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

COMMAND = [sys.executable, "-m", "weave_async.cli", "review"]
_DATA = re.compile(r'data-sample-id="([^"]+)" data-text-sha256="([^"]+)"')


@dataclass(slots=True)
class Server:
    process: subprocess.Popen[str]
    links: list[str]

    @property
    def host(self) -> str:
        return self.links[0].removeprefix("http://").partition("/")[0]

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def next_link(self) -> str:
        """The next line on standard output: a new one comes when one was used."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, (line, self.process.stderr and self.process.stderr.read())
        self.links.append(line.rpartition(" ")[2].strip())
        return self.links[-1]


@contextmanager
def serving(run: Path, *arguments: str, num_reviewers: int = 1) -> Iterator[Server]:
    process = subprocess.Popen(
        [*COMMAND, str(run), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    with process:
        server = Server(process, [])
        try:
            for _ in range(num_reviewers):
                server.next_link()
            yield server
        finally:
            process.kill()


class Browser:
    """Opens a link, and decides as the page's script does."""

    def __init__(self, link: str) -> None:
        self.origin = link.partition("/?")[0]
        self.client = httpx.Client(base_url=self.origin, timeout=30)
        self.opened = self.client.get(link)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.client.close()

    @property
    def cookie(self) -> str:
        [(name, value)] = self.client.cookies.items()
        return f"{name}={value}"

    def row(self) -> tuple[str, str] | None:
        """The id and the digest of the row that is shown."""
        found = _DATA.search(self.client.get("/").text)
        return (found[1], found[2]) if found else None

    def decide(self, decision: str, **more: Any) -> httpx.Response:
        shown = self.row()
        assert shown is not None
        sample_id, text_sha256 = shown
        told = {"sample_id": sample_id, "text_sha256": text_sha256, "decision": decision, **more}
        return self.post("/verdict", told)

    def post(self, path: str, told: Any) -> httpx.Response:
        return self.client.post(path, json=told, headers={"Origin": self.origin})
