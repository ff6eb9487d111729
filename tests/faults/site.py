"""A place to break things in: one recipe, one run folder, one endpoint, and real processes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch
from urllib.parse import urlsplit

import yaml

from invariants import Ended, answers, check_run, completions, prompt_in
from weave_async.cli.main import main
from weave_async.testing.scripted_endpoint import RecordedRequest, Reply, ScriptedEndpoint, echo

CANARY = "sk-canary-8c1f0d5e"
PATIENCE_S = 40.0
Answering = Callable[[RecordedRequest], Reply]


class Site:
    """Everything one test needs, made anew for each; ``check`` it at the end.

    ``answer`` decides what the endpoint says to a request for a completion; change it at any time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.recipe: dict[str, Any] = {
            "name": "faults",
            "seed": 7,
            "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
            "generate": {
                "mix": [{"endpoint": "openai_compatible", "model": "scripted-model"}],
                "params": {"max_tokens": 64},
            },
        }
        self.environment: dict[str, str] = {"WEAVE_ASYNC_API_KEY": CANARY}
        self.answer: Answering = echo
        self.endpoint = ScriptedEndpoint(self._answer)
        self.ended: list[Ended] = []
        self.started: list[Started] = []
        self.budget_tokens: int | None = None
        self.asks_alike = True
        """Whether all runs here ask the same: else what is bought again is the test's business."""
        self.is_replayed = True
        self._owns_calls = True

    def __enter__(self) -> Self:
        self.endpoint.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        for process in self.started:
            process.kill()
        self.endpoint.__exit__(*exc_info)

    def write_rows(self, texts: Iterable[str] | int) -> None:
        """The source: these texts, or so many different ones."""
        if isinstance(texts, int):
            texts = [f"row {i}" for i in range(texts)]
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        (self.folder / "seeds.jsonl").write_text("".join(lines))

    def run(self, *flags: str, timeout_s: float = PATIENCE_S, **options: Any) -> Ended:
        """``weave-async run`` in a process of its own, to its end."""
        return self.start(*flags, **options).end(timeout_s)

    def start(self, *flags: str, python: tuple[str, ...] = (), **options: Any) -> Started:
        """The same, still running. ``python`` are options of the interpreter."""
        command = [sys.executable, *python, "-m", "weave_async.cli", *self.arguments(*flags)]
        return self.start_command(command, **options)

    def start_command(self, command: list[str], **options: Any) -> Started:
        """Any command that works on this run: a shell, or a script that breaks something."""
        process = Started(self, command, **options)
        self.started.append(process)
        return process

    def call(self, *flags: str) -> Ended:
        """The same in this process: a tenth of the time, where no signal or limit is involved."""
        out, err, begun_s = io.StringIO(), io.StringIO(), time.monotonic()
        first, known = len(self.asked()), self.answered_ids()
        code: object = 0
        with (
            patch.dict(os.environ, self.variables()),
            patch.object(sys, "argv", ["weave-async", *self.arguments(*flags)]),
            patch.object(sys, "path", list(sys.path)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as exited:
                code = exited.code or 0
        assert isinstance(code, int), code
        elapsed_s = time.monotonic() - begun_s
        asked = tuple(self.asked()[first:])
        ended = Ended(os.getpid(), code, out.getvalue(), err.getvalue(), elapsed_s, asked, known)
        self.ended.append(ended)
        return ended

    @contextlib.contextmanager
    def endpoint_gone(self) -> Iterator[int]:
        """While this lasts, nobody listens at the endpoint's port, which is given."""
        port = urlsplit(self.endpoint.base_url).port or 0
        self.endpoint.__exit__(None, None, None)
        yield port
        requests = self.endpoint.requests
        self.endpoint = ScriptedEndpoint(self._answer, port=port)
        self.endpoint.requests = requests
        self.endpoint.__enter__()

    def move_to(self, folder: Path) -> None:
        """Go on in another run folder, in which others have asked the same endpoint before."""
        self.out, self.ended, self.started, self._owns_calls = folder, [], [], False

    def arguments(self, *flags: str) -> list[str]:
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump(self.recipe))
        return ["run", "recipe.yaml", "-o", str(self.out), "--json", *flags]

    def variables(self) -> dict[str, str]:
        return {"WEAVE_ASYNC_BASE_URL": self.endpoint.base_url, **self.environment}

    def asked(self) -> list[str]:
        """Prompts, in the order in which the endpoint got them."""
        return [prompt_in(request) for request in completions(self.endpoint.requests)]

    def answered_ids(self) -> frozenset[str]:
        return frozenset(answer["request_id"] for answer in answers(self.out))

    def outputs(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.out.glob("*.jsonl")}

    def check(self) -> None:
        """All invariants; and for a run that is complete, that a replay asks and changes nothing.

        (I11: the outputs are made again from the journal alone.)
        """
        for process in self.started:
            process.end()
        assert self.ended, "nothing was run"
        self._check_files()
        manifest = self.out / "manifest.json"
        if not (self.is_replayed and self.ended[-1].exit_code == 0 and manifest.exists()):
            return
        before, num_asked = self.outputs(), len(self.asked())
        replay = self.call()
        assert replay.exit_code == 0, replay.err
        assert len(self.asked()) == num_asked, "I11: a replay asked"
        assert self.outputs() == before, "I11: a replay changed the outputs"
        self._check_files()

    def _check_files(self) -> None:
        requests = self.endpoint.requests
        key = f"Bearer {self.environment.get('WEAVE_ASYNC_API_KEY')}"
        assert all(r.headers.get("authorization") == key for r in requests), "no canary was sent"
        check_run(
            self.out,
            self.ended,
            canary=CANARY,
            num_received=len(completions(requests)) if self._owns_calls else None,
            budget_tokens=self.budget_tokens,
            asks_alike=self.asks_alike,
        )

    def _answer(self, request: RecordedRequest) -> Reply:
        return self.answer(request) if request.path.endswith("/completions") else echo(request)


class Started:
    """A process on a site. It has a session of its own, so that what it leaves behind is found."""

    def __init__(self, site: Site, command: list[str], **options: Any) -> None:
        self._site = site
        self._first = len(site.asked())
        self._known = site.answered_ids()
        self._begun_s = time.monotonic()
        self._ended: Ended | None = None
        before: Callable[[], None] | None = options.pop("in_child", None)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen(
            command,
            cwd=site.folder,
            env={**os.environ, **site.variables(), **options.pop("env", {})},
            text=True,
            start_new_session=True,
            preexec_fn=lambda: _prepare(before),
            **{**streams, **options},
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def num_asked(self) -> int:
        return len(completions(self._site.endpoint.requests)) - self._first

    def wait_until_asked(self, at_least: int) -> None:
        """Until the endpoint has got so many requests from this process."""
        self.wait_until(lambda: self.num_asked() >= at_least)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        give_up_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, f"it has ended: {self.end()}"
            assert time.monotonic() < give_up_s
            time.sleep(0.003)

    def signal(self, number: signal.Signals) -> float:
        """Send a signal; returns when that was, monotonic."""
        self.process.send_signal(number)
        return time.monotonic()

    def kill(self) -> Ended:
        self.process.kill()
        return self.end()

    def end(self, timeout_s: float = PATIENCE_S) -> Ended:
        """Wait for the end."""
        if self._ended is None:
            out, err = self.process.communicate(timeout=timeout_s)
            self._ended = Ended(
                pid=self.pid,
                exit_code=self.process.returncode,
                out=out or "",
                err=err or "",
                elapsed_s=time.monotonic() - self._begun_s,
                asked=tuple(self._site.asked()[self._first :]),
                known_before=self._known,
            )
            self._site.ended.append(self._ended)
        return self._ended


def _prepare(before: Callable[[], None] | None) -> None:
    """Whoever runs the tests in the background may have had signals ignored for all of us."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if before is not None:
        before()
