"""The local provider: a child server that starts, tells, serves, and never outlives its parent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from providers.local.adapter import LocalProvider
from tiny_models import MAX_CONTEXT
from weave_async.errors import ConnectError, EndpointGoneError, RecipeError
from weave_async.records import (
    Endpoint,
    EndpointFacts,
    Message,
    Request,
    Response,
    SamplingParams,
)
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
    async def scenario() -> tuple[Response, str, EndpointFacts, int]:
        async with local(tiny_folder) as provider:
            [pid] = servers_of(os.getpid())
            request = Request("id", str(tiny_folder), REQUEST.messages, REQUEST.params)
            response = await provider.complete(request)
            chunks = [chunk.text async for chunk in provider.stream(request)]
            assert list(await provider.models()) == [str(tiny_folder)]
            return response, "".join(chunks), await provider.inspect(), pid

    with caplog.at_level(logging.INFO):
        response, streamed, facts, pid = asyncio.run(scenario())
    assert response.usage.output_tokens == 8
    assert response.text == streamed
    assert facts.models == {str(tiny_folder): MAX_CONTEXT}
    assert re.fullmatch(r"cpu, float32, 1 threads, \d\.\d GB of memory", facts.runs_on)
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
            [pid] = servers_of(os.getpid())
            os.kill(pid, signal.SIGKILL)
            for _ in range(100):  # until it is noticed; a few requests are cut off before
                with contextlib.suppress(ConnectError):
                    await provider.complete(REQUEST)
                await asyncio.sleep(0.1)

    with pytest.raises(EndpointGoneError, match=r"SIGKILL \(exit code -9\)"):
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
    with pytest.raises(RecipeError, match="'auto', 'slots' or 'transformers'"):
        local("x", options={"engine": "warp"})


def test_nobody_at_the_address_is_a_connect_error() -> None:
    async def scenario() -> None:
        async with local("tiny", base_url="http://127.0.0.1:9/v1", options={}) as provider:
            await provider.models()

    with pytest.raises(ConnectError, match="refused"):
        asyncio.run(scenario())


def test_cancelling_the_start_leaves_no_process(tiny_folder: Path) -> None:
    pids: list[int] = []

    async def scenario() -> None:
        entering = asyncio.create_task(local(tiny_folder).__aenter__())
        while not (found := servers_of(os.getpid())):
            await asyncio.sleep(0.01)
        pids.extend(found)
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
    [server] = wait_for_servers_of(run)
    run.send_signal(signal_number)
    run.communicate(timeout=60)
    wait_until_dead(server)
    again = subprocess.run(
        [*command, "-n", "3"], capture_output=True, text=True, check=False, timeout=60
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["asked"] == 3


MIX = """
name: mix
seed: 3
prompts: {{source: q.txt}}
generate:
  mix:
    - {{endpoint: local, model: {first}, options: {options}}}
    - {{endpoint: local, model: {second}, options: {options}}}
  params: {{max_tokens: 8}}
"""


def write_mix(first: Path, second: Path) -> list[str]:
    """A recipe with two local models, and the command that runs it."""
    Path("q.txt").write_text("".join(f"Question {i}\n" for i in range(4000)))
    recipe = MIX.format(first=first, second=second, options=json.dumps(SMALL))
    Path("mix.yaml").write_text(recipe)
    return [sys.executable, "-m", "weave_async.cli", "run", "mix.yaml", "-o", "out", "-c", "4"]


def test_a_mix_of_two_models_gets_samples_of_both_and_lineage_says_which(
    tiny_folder: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_folder, tmp_path / "other"))
    command = [*write_mix(tiny_folder, other), "-n", "20", "--json"]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    servers = wait_for_servers_of(run, num_servers=2)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert json.loads(out)["asked"] == 20
    rows = [json.loads(line) for line in Path("out/samples.jsonl").read_text().splitlines()]
    by_endpoint = {row["lineage"]["endpoint"]: row["lineage"]["model"] for row in rows}
    assert by_endpoint == {"local": str(tiny_folder), "local#2": str(other)}
    for name in (tiny_folder, other):
        assert f"local server ({name}): ready after" in err
    for server in servers:
        wait_until_dead(server)


def test_models_that_do_not_fit_end_the_run_with_the_way_out(
    tiny_folder: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(tiny_folder, tmp_path / "other"))
    done = subprocess.run(
        write_mix(tiny_folder, other),
        env={**os.environ, "WEAVE_ASYNC_LOCAL_MEMORY_GB": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 78
    assert "WEAVE_ASYNC_LOCAL_MEMORY_GB allows 1.0 GB" in done.stderr
    assert "ready after" not in done.stderr


def test_a_server_that_is_killed_ends_the_run_and_what_was_answered_is_kept(
    tiny_folder: Path,
) -> None:
    command = write_mix(tiny_folder, tiny_folder)  # the same model twice: one server
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    for line in run.stderr:
        if json.loads(line).get("answered", 0) > 0:
            break
    [server] = servers_of(run.pid)
    os.kill(server, signal.SIGKILL)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 69, (out, err)
    assert "killed by SIGKILL (exit code -9), most likely because the memory ran out" in err
    kept = len(Path("out/samples.jsonl").read_text().splitlines())
    assert 0 < kept < 4000
    again = subprocess.run(
        [*command, "-n", str(kept), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["recalled"] > 0


def wait_for_servers_of(run: subprocess.Popen[str], num_servers: int = 1) -> list[int]:
    """The process ids of the servers that ``run`` has started."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert run.poll() is None, run.communicate()
        if len(servers := servers_of(run.pid)) == num_servers:
            return servers
        time.sleep(0.05)
    raise AssertionError("no server was started")


def servers_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()  # a child is listed under the thread it came from
    children = [int(child) for task in tasks for child in _children_of(task)]
    # one that only a provider starts: tests of the server have their own
    return [child for child in children if "--exit-on-stdin-close" in _command_line(child)]


def _children_of(task: Path) -> list[str]:
    return (task / "children").read_text().split()


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
