"""The server as a process: what is heard of it, and how it ends, whatever it does."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from providers.local import child
from providers.local.child import ServerProcess
from weave_async.errors import ConnectError, EndpointGoneError, RecipeError

from .conftest import Scripted


def start(name: str = "") -> ServerProcess:
    """Started and ended again."""

    async def scenario() -> ServerProcess:
        async with ServerProcess([], name) as server:
            await server.wait_until_ready()
        return server

    return asyncio.run(scenario())


def test_what_it_says_while_it_loads_is_told_in_words_known_or_not(
    scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    scripted("""
say("loading", model="m")
say("converting_weights", percent=40, file="x.gguf")
say("warning", message="this happens once")
say("loaded", device="cpu")          # of another version: it lacks what we know of
print("a library prints this")
print("[1, 2]", flush=True)
say("ready", **READY)
time.sleep(60)
""")
    with caplog.at_level(logging.INFO):
        server = start("m")
    assert [message.partition(": ")[2] for message in caplog.messages[:6]] == [
        "loading m",
        "converting weights: percent 40, file x.gguf",
        "this happens once",
        "loaded: device cpu",
        "a library prints this",
        "[1, 2]",
    ]
    assert [each.levelname for each in caplog.records[:3]] == ["INFO", "INFO", "WARNING"]
    assert caplog.messages[0].startswith("local server (m): ")
    assert "ready after" in caplog.messages[-1]
    assert server.base_url == "http://127.0.0.1:9/v1"
    assert server.has_exited


def test_one_that_is_never_ready_is_given_up_after_signs_of_life(
    scripted: Scripted, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LONGEST_START_S", 0.3)
    monkeypatch.setattr(child, "STILL_LOADING_EVERY_S", 0.05)
    scripted("time.sleep(60)")
    with (
        caplog.at_level(logging.INFO),
        pytest.raises(ConnectError, match=r"local server \(m\) was not ready within"),
    ):
        start("m")
    assert "still loading" in caplog.text


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        ('say("error", message="too little memory", exit_code=69)', ConnectError, "too little mem"),
        ('say("error", message="no such model", exit_code=78)', RecipeError, "no such model"),
        ('print("no module named x", file=sys.stderr); sys.exit(3)', ConnectError, "named x"),
        ("os.kill(os.getpid(), signal.SIGKILL)", ConnectError, "SIGKILL.*memory ran out"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", ConnectError, "by SIGSEGV .exit code -11"),
    ],
)
def test_a_start_that_fails_says_why(
    scripted: Scripted, script: str, error: type[Exception], says: str
) -> None:
    scripted(script)
    with pytest.raises(error, match=says):
        start()


def test_one_that_has_ended_is_noticed_before_anything_is_sent_to_its_port(
    scripted: Scripted,
) -> None:
    scripted('say("ready", **READY); sys.stdin.readline(); sys.exit(7)')

    async def scenario() -> None:
        async with ServerProcess([]) as server:
            await server.wait_until_ready()
            server.require_alive()
            assert server._process is not None
            assert server._process.stdin is not None
            server._process.stdin.write(b"\n")
            await server._process.wait()
            server.require_alive()

    with pytest.raises(EndpointGoneError, match="exit code 7"):
        asyncio.run(scenario())


def test_one_that_goes_on_talking_is_not_stopped_by_a_full_pipe(scripted: Scripted) -> None:
    scripted("""
say("ready", **READY)
for _ in range(20_000):
    say("step", message="x" * 50)
note("said it all")
time.sleep(60)
""")

    async def scenario() -> None:
        async with ServerProcess([]) as server, asyncio.timeout(30):
            await server.wait_until_ready()
            while not Path("life.txt").exists():
                await asyncio.sleep(0.02)

    asyncio.run(scenario())


def test_one_that_ignores_the_signal_to_end_is_killed(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "LONGEST_STOP_S", 0.2)
    scripted("""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say("ready", **READY)
time.sleep(60)
""")
    assert "exited -9" in repr(start())


def test_cancelling_its_end_does_not_leave_it_running(scripted: Scripted) -> None:
    scripted("""
signal.signal(signal.SIGTERM, lambda *_: note("asked to end"))
say("ready", **READY)
while True:
    time.sleep(60)
""")

    async def scenario() -> ServerProcess:
        server = ServerProcess([])
        await server.__aenter__()
        await server.wait_until_ready()
        ending = asyncio.create_task(server.__aexit__())
        while not Path("life.txt").exists():
            await asyncio.sleep(0.01)
        ending.cancel()
        await asyncio.wait([ending])
        return server

    assert asyncio.run(scenario()).has_exited
