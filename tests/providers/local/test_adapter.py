"""The local provider: a child server that starts, tells, serves, and never outlives its parent."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from providers.local.adapter import LocalProvider
from weave_async.errors import ConnectError, EndpointGoneError, RecipeError
from weave_async.records import Endpoint, Message, Request, Response, SamplingParams
from weave_async.testing.conformance import Check, checks, over_http

REQUEST = Request("id", "tiny", (Message("user", "Hello"),), SamplingParams(max_tokens=8, seed=1))
SMALL = {"dtype": "float32", "device": "cpu", "threads": 1, "kv_tokens": 8192}


def local(model: Path | str, **changes: object) -> LocalProvider:
    fields = {"max_concurrency": 4, "options": SMALL, **changes}
    return LocalProvider(Endpoint("local", "local", str(model), **fields))  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + 10
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


@pytest.mark.parametrize("check", checks(), ids=str)
def test_attached_it_conforms(check: Check) -> None:
    with over_http(LocalProvider) as provider_for:
        asyncio.run(check(provider_for))


def test_it_serves_a_folder_under_the_name_it_was_asked_by(
    tiny_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> tuple[Response, str, list[str], int]:
        async with local(tiny_folder) as provider:
            assert provider._server is not None
            assert provider._server._process is not None
            request = Request("id", str(tiny_folder), REQUEST.messages, REQUEST.params)
            response = await provider.complete(request)
            chunks = [chunk.text async for chunk in provider.stream(request)]
            models = list(await provider.models())
            return response, "".join(chunks), models, provider._server._process.pid

    with caplog.at_level(logging.INFO):
        response, streamed, models, pid = asyncio.run(scenario())
    assert response.usage.output_tokens == 8
    assert response.text == streamed
    assert models == [str(tiny_folder)]
    assert "local server: loading" in caplog.text
    assert "local server: ready after" in caplog.text
    assert not is_alive(pid)


def test_it_attaches_to_a_server_that_runs_and_leaves_it_running(tiny_folder: Path) -> None:
    async def scenario() -> None:
        async with local(tiny_folder) as started:
            assert started._server is not None
            url = f"{started._wire!r}".split()[1]
            async with local("tiny", base_url=url, options={}) as attached:
                assert (await attached.complete(REQUEST)).usage.output_tokens == 8
                assert list(await attached.models()) == ["tiny"]
            assert not started._server.has_exited
            again = Request("id2", str(tiny_folder), REQUEST.messages, REQUEST.params)
            await started.complete(again)

    asyncio.run(scenario())


def test_a_server_that_dies_is_named_with_its_last_words(tiny_folder: Path) -> None:
    async def scenario() -> None:
        async with local(tiny_folder) as provider:
            assert provider._server is not None
            assert provider._server._process is not None
            provider._server._process.kill()
            await provider._server._process.wait()
            await provider.complete(REQUEST)

    with pytest.raises(EndpointGoneError, match="exit code -9"):
        asyncio.run(scenario())


@pytest.mark.parametrize(
    ("model", "complaint"),
    [("./nowhere", "no such model folder"), ("/dev/null/x.gguf", "no such GGUF file")],
)
def test_a_model_that_is_not_there_is_a_matter_of_the_recipe(model: str, complaint: str) -> None:
    async def scenario() -> None:
        async with local(model):
            pass

    with pytest.raises(RecipeError, match=complaint):
        asyncio.run(scenario())


def test_an_unknown_option_is_refused_before_anything_starts() -> None:
    with pytest.raises(RecipeError, match=r"unknown option 'gpu'\. Known: device"):
        local("x", options={"gpu": 1})
    with pytest.raises(RecipeError, match="threads"):
        local("x", options={"threads": "many"})


def test_nobody_at_the_address_is_a_connect_error() -> None:
    async def scenario() -> None:
        async with local("tiny", base_url="http://127.0.0.1:9/v1", options={}) as provider:
            await provider.models()

    with pytest.raises(ConnectError, match="refused"):
        asyncio.run(scenario())


def test_cancelling_the_start_leaves_no_process(tiny_folder: Path) -> None:
    pids: list[int] = []

    async def scenario() -> None:
        provider = local(tiny_folder)
        entering = asyncio.create_task(provider.__aenter__())
        while provider._server is None or provider._server._process is None:
            await asyncio.sleep(0.01)
        pids.append(provider._server._process.pid)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    asyncio.run(scenario())
    assert not is_alive(pids[0])


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT])
def test_the_server_dies_with_a_run_that_is_killed_and_the_next_run_goes_on(
    tiny_folder: Path, signal_number: signal.Signals
) -> None:
    Path("q.txt").write_text("".join(f"Question {i}\n" for i in range(300)))
    command = [sys.executable, "-m", "weave_async.cli", "run", "--prompts", "q.txt", "-o", "out"]
    command += ["-p", "local", "-m", str(tiny_folder), "-c", "4", "--json"]
    command += [f"--option={name}={value}" for name, value in SMALL.items()]
    run = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    server = wait_for_server_of(run)
    run.send_signal(signal_number)
    run.communicate(timeout=60)
    wait_until_dead(server)
    again = subprocess.run(
        [*command, "-n", "3"], capture_output=True, text=True, check=False, timeout=60
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["asked"] == 3


def wait_for_server_of(run: subprocess.Popen[str]) -> int:
    """The process id of the server that ``run`` has started."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert run.poll() is None, run.communicate()
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        servers = [int(pid) for pid in children if "local.server" in _command_line(int(pid))]
        if servers:
            return servers[0]
        time.sleep(0.05)
    raise AssertionError("no server was started")


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
