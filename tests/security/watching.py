"""A process whose every trace is looked through for a secret."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, quote_plus

PATIENCE_S = 60.0
LOOK_EVERY_S = 0.01

CANARY = "Zq7/b+9=x'&~%41\\cAnArY5d1e8b\"<$HOME>"
"""A key as no service makes them, and as any may: JSON, URLs, shells and HTML each write it in
another way."""
CORE = "cAnArY5d1e8b"
"""Found however the characters around it are written."""

# For each scene in turn, in its folder, with its variables: as `weave-async …` for each list of
# arguments, with all loggers of the process at DEBUG.
DRIVER = """
import json, logging, os, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
from weave_async.cli.main import main
for folder, variables, commands in json.loads(sys.argv[1]):
    os.chdir(folder)
    os.environ.update(variables)
    for arguments in commands:
        sys.argv = ["weave-async", *arguments]
        try:
            main()
            code = 0
        except SystemExit as exited:
            code = exited.code
        print(json.dumps({"command": arguments[0], "exit_code": code}), flush=True)
    for stream in (sys.stdout, sys.stderr):
        print(END_OF_SCENE, file=stream, flush=True)
"""
END_OF_SCENE = "--- end of scene ---"


@dataclass(frozen=True, slots=True)
class Watched:
    """What a process and its children left to be seen."""

    exit_code: int
    out: str
    err: str
    command_lines: frozenset[bytes]
    """Its own and its children's, as any user of the machine could read them."""

    @property
    def exit_codes(self) -> dict[str, int | None]:
        """By command, of a process that ran several."""
        lines = (json.loads(line) for line in self.out.splitlines() if '"exit_code": ' in line)
        return {line["command"]: line["exit_code"] for line in lines if "command" in line}


def watch_commands(
    *commands: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    meanwhile: Callable[[subprocess.Popen[str]], None] | None = None,
) -> Watched:
    """Run these in turn, in one process in development mode, with every logger at DEBUG."""
    return watch(
        _driven([Scene(folder, {}, commands)]), folder=folder, env=env, meanwhile=meanwhile
    )


@dataclass(frozen=True, slots=True)
class Scene:
    """Commands that are run in a folder of their own, with variables of their own."""

    folder: Path
    variables: Mapping[str, str]
    """Nothing secret: they are in the command line."""
    commands: Sequence[Sequence[str]]


def watch_scenes(scenes: Sequence[Scene], *, folder: Path, env: Mapping[str, str]) -> list[Watched]:
    """Play these in turn, as ``watch_commands``, all in one process; gives what each left.

    What the process says after the last scene, and how it ends, is told with the last one.
    """
    watched = watch(_driven(scenes), folder=folder, env=env)
    assert watched.exit_code == 0, watched.err
    outs, errs = (text.split(f"{END_OF_SCENE}\n") for text in (watched.out, watched.err))
    assert len(outs) == len(errs) == len(scenes) + 1
    for texts in (outs, errs):
        rest = texts.pop()
        texts[-1] += rest
    return [replace(watched, out=out, err=err) for out, err in zip(outs, errs, strict=True)]


def _driven(scenes: Sequence[Scene]) -> list[str]:
    told = [(str(each.folder), dict(each.variables), each.commands) for each in scenes]
    code = DRIVER.replace("END_OF_SCENE", repr(END_OF_SCENE))
    arguments = [sys.executable, "-X", "dev", "-W", "ignore::ResourceWarning", "-c", code]
    return [*arguments, json.dumps(told)]


def watch(
    command: Sequence[str],
    *,
    folder: Path,
    env: Mapping[str, str],
    meanwhile: Callable[[subprocess.Popen[str]], None] | None = None,
) -> Watched:
    """Run to the end; ``meanwhile`` may signal the process."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        seen: set[bytes] = set()
        ended = threading.Event()
        looking = threading.Thread(target=_look, args=(process.pid, seen, ended))
        looking.start()
        try:
            if meanwhile is not None:
                meanwhile(process)
            out, err = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
            ended.set()
            looking.join()
    return Watched(process.returncode, out, err, frozenset(seen))


def descendants(pid: int) -> list[int]:
    """``pid`` and all that it has started, children of children too."""
    found = [pid]
    for each in found:
        for task in Path("/proc").glob(f"{each}/task/*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def traces_of(secret_core: str, secret: str = "") -> tuple[bytes, ...]:
    """The ways in which a secret may be written down."""
    plain = [secret_core]
    if secret:
        bearer = f"Bearer {secret}"
        plain += [quote(secret), quote_plus(secret), secret.encode().hex()]
        for text in (secret, bearer, f":{secret}"):
            # Without its ends, which depend on what stands beside it.
            plain.append(base64.b64encode(text.encode()).decode()[4:-4])
    return tuple(text.encode() for text in plain)


def places_of(watched: Watched, folder: Path, traces: Sequence[bytes]) -> list[str]:
    """Where any of ``traces`` can be found."""
    return [
        f"{place}: …{_around(content, trace)}…"
        for place, content in _everything(watched, folder)
        for trace in traces
        if trace in content
    ]


def _everything(watched: Watched, folder: Path) -> Iterator[tuple[str, bytes]]:
    yield "stdout", watched.out.encode()
    yield "stderr", watched.err.encode()
    for line in watched.command_lines:
        yield "a command line", line
    for path in folder.rglob("*"):
        yield f"the name of {path}", str(path).encode()
        if path.is_file() and path.name != ".env":
            yield str(path), path.read_bytes()


def _around(content: bytes, trace: bytes) -> str:
    at = content.index(trace)
    return content[max(0, at - 120) : at + len(trace) + 40].decode(errors="replace")


def _look(pid: int, seen: set[bytes], ended: threading.Event) -> None:
    while True:
        for each in descendants(pid):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                seen.add(Path(f"/proc/{each}/cmdline").read_bytes())
        if ended.wait(LOOK_EVERY_S):
            return
