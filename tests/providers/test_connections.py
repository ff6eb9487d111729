"""Connections that hang, break, lead elsewhere or are left early."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from one_request import BOTH, KEY, REQUEST, error_of, use
from providers import endpoint
from providers.openai_compatible import OpenAICompatibleProvider
from weave_async.errors import (
    BadResponseError,
    ConnectError,
    DeadlineError,
    ModelNotFoundError,
    ProviderError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
)
from weave_async.records import Response
from weave_async.testing.scripted_endpoint import (
    Reply,
    ScriptedEndpoint,
    chat_reply,
    error_reply,
)

pytestmark = pytest.mark.usefixtures("transport")

# --- hanging


@pytest.mark.parametrize(
    "hanging",
    [
        Reply(head_delay_s=60),
        Reply(body=[60.0]),
        Reply(body=[b'{"choices": [', 60.0]),
        Reply(body=b"x" * 9, content_length=99, body_delay_s=60),
    ],
    ids=["before the head", "after the head", "between bytes", "after the head, length known"],
)
def test_hanging_server_costs_its_timeout_and_nothing_more(hanging: Reply) -> None:
    async def act(provider: OpenAICompatibleProvider) -> str:
        with pytest.raises(DeadlineError, match=r"timeout_s=0\.2"):
            await provider.complete(REQUEST)
        return (await provider.complete(REQUEST)).text

    started = time.perf_counter()
    with ScriptedEndpoint([hanging, chat_reply("still here")]) as server:
        assert use(server.base_url, act, timeout_s=0.2, max_concurrency=1) == "still here"
    assert time.perf_counter() - started < 10


def test_frozen_server_costs_its_timeout_and_answers_again_once_thawed() -> None:
    async def act(provider: OpenAICompatibleProvider) -> None:
        await provider.complete(REQUEST)
        os.kill(process.pid, signal.SIGSTOP)
        while ") T " not in Path(f"/proc/{process.pid}/stat").read_text():
            await asyncio.sleep(0.01)
        started = time.perf_counter()
        with pytest.raises(DeadlineError) as caught:
            await provider.complete(REQUEST)
        assert 0.25 < time.perf_counter() - started < 10
        assert caught.value.may_be_billed
        os.kill(process.pid, signal.SIGCONT)
        assert (await provider.complete(REQUEST)).text.startswith("You said")

    with scripted_process() as (process, base_url):
        use(base_url, act, timeout_s=0.3)


def test_dead_peer_is_noticed_within_a_minute_of_silence() -> None:
    """Probes of TCP, for a peer whose machine is gone; the transport has them on by itself."""

    async def act(provider: OpenAICompatibleProvider) -> list[int]:
        await provider.complete(REQUEST)
        return [idle + interval * count for idle, interval, count in keep_alives(server.base_url)]

    with ScriptedEndpoint() as server:
        noticed_after_s = use(server.base_url, act)
    assert noticed_after_s
    assert max(noticed_after_s) <= 60


def test_host_that_never_accepts_is_a_connect_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "CONNECT_TIMEOUT_S", 0.2)
    with full_backlog() as base_url:
        error = error_of(lambda: use(base_url, lambda p: p.complete(REQUEST), timeout_s=60))
    assert type(error) is ConnectError
    assert "no connection to http://127.0.0.1" in str(error)
    assert not error.may_be_billed


# --- breaking


@BOTH
@pytest.mark.parametrize(
    ("reply", "kind", "may_be_billed"),
    [
        (Reply(raw=b""), ConnectError, True),
        (Reply(raw=b"HTTP/1.1 200 O"), ConnectError, True),
        (Reply(body=b'{"choices"', content_length=500), BadResponseError, True),
        (Reply(body=[b"data: {}\n\n", b"x" * 50], cut_after=30), BadResponseError, True),
        (Reply(body=[b"{", 0.05, b"x" * 50], cut_after=9, reset=True), BadResponseError, True),
        (Reply(head_delay_s=60), DeadlineError, True),
        (Reply(body=[b"data:", 60.0]), DeadlineError, True),
        (error_reply(500), ServerError, True),
        (error_reply(409), ServerError, False),
        (error_reply(429), RateLimitError, False),
        (error_reply(400), RequestRefusedError, False),
        (Reply(body=b"{}"), BadResponseError, True),
    ],
)
def test_failure_says_whether_it_may_be_billed(
    ask: Callable[..., Any], reply: Reply, kind: type[ProviderError], may_be_billed: bool
) -> None:
    error = error_of(lambda: ask([reply], timeout_s=0.2, deadline_s=5))
    assert type(error) is kind
    assert error.may_be_billed is may_be_billed
    assert error.retryable is (kind is not RequestRefusedError)


def test_server_that_is_not_there_bills_nothing() -> None:
    for base_url in ("http://127.0.0.1:9/v1", "http://nosuch.invalid/v1"):
        error = error_of(lambda: use(base_url, lambda p: p.complete(REQUEST)))  # noqa: B023
        assert type(error) is ConnectError
        assert not error.may_be_billed


def test_connection_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def act(provider: OpenAICompatibleProvider) -> None:
        for _ in range(5):
            assert (await provider.complete(REQUEST)).text == "bye"
            await asyncio.sleep(0.03)

    with ScriptedEndpoint(lambda request: chat_reply("bye", close_after=True)) as server:
        use(server.base_url, act)
    assert server.num_connections == 5


def test_race_with_a_closing_server_is_retryable(transport: str) -> None:
    """Ours does not even lose it; the others do not tell a used connection from a new one."""

    async def act(provider: OpenAICompatibleProvider) -> list[ProviderError]:
        errors = []
        for _ in range(200):
            try:
                await provider.complete(REQUEST)
            except ProviderError as error:
                errors.append(error)
        return errors

    with ScriptedEndpoint(lambda request: chat_reply("bye", close_after=True)) as server:
        errors = use(server.base_url, act)
    assert {type(error) for error in errors} <= {ConnectError}
    assert all(error.retryable for error in errors)
    assert not errors or transport != "http1"


# --- leading elsewhere


@BOTH
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed_with_the_key(ask: Callable[..., Any], status: int) -> None:
    with ScriptedEndpoint() as elsewhere:
        headers = {"location": f"{elsewhere.base_url}/chat/completions"}
        with pytest.raises(ModelNotFoundError, match="redirects to"):
            ask([Reply(status=status, headers=headers)], api_key=SecretStr(KEY))
    assert elsewhere.num_connections == 0


# --- leaving early


def _num_waves() -> list[Any]:
    """Of 50 early ends each. All 5,000 for our own transport, which is the one we can mend."""
    return [
        pytest.param("http1", 100),
        *(pytest.param(name, 20) for name in ("reqwest", "httpx")),
        *(pytest.param(name, 100, marks=pytest.mark.torture) for name in ("reqwest", "httpx")),
    ]


@pytest.mark.parametrize(("transport", "num_waves"), _num_waves(), indirect=["transport"])
def test_thousands_of_early_ends_leave_a_whole_pool(transport: str, num_waves: int) -> None:
    """Cancelled before, during and after the answer, as requests and as streams."""

    async def leave_early(provider: OpenAICompatibleProvider, wave: int) -> None:
        ends = [provider.complete(REQUEST) for _ in range(40)]
        ends += [first_chunk(provider) for _ in range(10)]  # type: ignore[list-item]
        tasks = [asyncio.create_task(end) for end in ends]
        await asyncio.sleep(0.001 * (wave % 10))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def act(provider: OpenAICompatibleProvider) -> list[Response]:
        for wave in range(num_waves):
            await leave_early(provider, wave)
        async with asyncio.timeout(30):
            fresh = await asyncio.gather(*(provider.complete(REQUEST) for _ in range(20)))
        async with asyncio.timeout(30):  # the rest is hung up on, and the server comes to see it
            while len(keep_alives(server.base_url)) > 20 or server.num_open_connections > 20:
                await asyncio.sleep(0.02)
        return fresh

    with ScriptedEndpoint() as server:
        fresh = use(server.base_url, act, max_concurrency=20)
    assert len(fresh) == 20


def test_cancelled_request_hangs_up_on_a_server_that_has_not_answered(
    request: pytest.FixtureRequest, transport: str
) -> None:
    if transport == "reqwest":
        reason = "pyreqwest 0.15.1 lets a cancelled request run on until its answer or its timeout"
        request.applymarker(pytest.mark.xfail(reason=reason))

    async def act(provider: OpenAICompatibleProvider) -> int:
        task = asyncio.create_task(provider.complete(REQUEST))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0.3)
        return server.num_open_connections

    with ScriptedEndpoint([Reply(head_delay_s=60)]) as server:
        assert use(server.base_url, act) == 0


def test_cancelled_request_that_runs_on_ends_at_its_timeout() -> None:
    async def act(provider: OpenAICompatibleProvider) -> int:
        tasks = [asyncio.create_task(provider.complete(REQUEST)) for _ in range(20)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.5)
        return server.num_open_connections

    with ScriptedEndpoint(lambda request: Reply(head_delay_s=60)) as server:
        assert use(server.base_url, act, timeout_s=0.3) == 0


# --- parts


async def first_chunk(provider: OpenAICompatibleProvider) -> None:
    async for _ in provider.stream(REQUEST):
        return


@contextmanager
def scripted_process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scripted endpoint in a process of its own, which can be frozen."""
    code = (
        "from weave_async.testing.scripted_endpoint import ScriptedEndpoint\n"
        "with ScriptedEndpoint() as server:\n"
        "    print(server.base_url, flush=True)\n"
        "    input()\n"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def full_backlog() -> Iterator[str]:
    """An address that takes no more connections and refuses none."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def keep_alives(base_url: str) -> list[tuple[int, int, int]]:
    """Idle time, interval and count of TCP's probes, for each socket we have to ``base_url``."""
    port = int(base_url.rpartition(":")[2].partition("/")[0])
    found = []
    for ours in open_sockets():
        with ours, suppress(OSError, IndexError):  # it may have no peer
            if ours.getpeername()[1] == port and ours.getsockopt(
                socket.SOL_SOCKET, socket.SO_KEEPALIVE
            ):
                options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                values = [ours.getsockopt(socket.IPPROTO_TCP, option) for option in options]
                found.append((values[0], values[1], values[2]))
    return found


def open_sockets() -> Iterator[socket.socket]:
    """A duplicate of each socket of this process, for the caller to close."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            if os.readlink(link).startswith("socket:"):
                yield socket.socket(fileno=os.dup(int(link.name)))
