"""Several servers of one run: who shares one, in what order they load, and what fits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from providers.local import pool
from providers.local.memory import BUDGET_VARIABLE, Budget
from providers.local.pool import LocalOptions, ServerPool, WantedServer, pool_of_this_loop
from weave_async.errors import ConnectError, RecipeError

from .conftest import Scripted

OBEDIENT = """
note("start " + options["model"])
time.sleep(0.1)
note("ready " + options["model"] + " " + options.get("threads", "-"))
say("ready", **READY)
sys.stdin.read()
note("end " + options["model"])
"""


def wanted(model: str, max_concurrency: int = 4, **options: Any) -> WantedServer:
    return WantedServer(model, LocalOptions(**options), max_concurrency)


def life() -> list[str]:
    return Path("life.txt").read_text().splitlines() if Path("life.txt").exists() else []


def run(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario

    asyncio.run(bounded())


def save_sparse_model(name: str, gigabytes: float) -> str:
    """A folder that claims so many bytes of float32 weights, and takes none on disk."""
    folder = Path(name).absolute()
    folder.mkdir()
    shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}
    (folder / "config.json").write_text(json.dumps({"dtype": "float32", **shape}))
    with (folder / "model.safetensors").open("wb") as weights:
        weights.truncate(int(gigabytes * 1e9))
    return str(folder)


def test_the_same_model_with_the_same_options_is_one_process(scripted: Scripted) -> None:
    scripted(OBEDIENT)

    async def scenario() -> None:
        servers = ServerPool()
        async with servers.server(wanted("a")) as first:
            async with servers.server(wanted("a", max_concurrency=9)) as second:
                assert second is first
            assert not first.has_exited
            async with servers.server(wanted("a", dtype="float32")) as other:
                assert other is not first
        assert first.has_exited

    run(scenario())
    assert [each for each in life() if each.startswith("start")] == ["start a", "start a"]


def test_servers_load_one_after_the_other_and_divide_the_cores(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "usable_cores", lambda: 9)
    scripted(OBEDIENT)

    async def scenario() -> None:
        servers = ServerPool()
        everybody_is_there = asyncio.Barrier(3)

        async def use(server: WantedServer) -> None:
            async with servers.server(server):
                await everybody_is_there.wait()

        async with asyncio.TaskGroup() as group:
            for server in (wanted("a"), wanted("b"), wanted("c", threads=7)):
                group.create_task(use(server))

    run(scenario())
    assert life()[:6] == ["start a", "ready a 3", "start b", "ready b 3", "start c", "ready c 7"]


def test_one_alone_finds_out_for_itself_how_many_threads_it_may_have(scripted: Scripted) -> None:
    scripted(OBEDIENT)

    async def scenario() -> None:
        async with pool_of_this_loop().server(wanted("a")):
            assert pool_of_this_loop() is pool_of_this_loop()

    run(scenario())
    assert life()[:2] == ["start a", "ready a -"]


def test_whoever_wanted_a_server_first_may_leave_while_it_loads(scripted: Scripted) -> None:
    scripted(OBEDIENT)

    async def scenario() -> None:
        servers = ServerPool()

        async def use(until: asyncio.Event) -> None:
            async with servers.server(wanted("a")) as server:
                assert not server.has_exited
                await until.wait()

        enough = asyncio.Event()
        first, second = asyncio.create_task(use(enough)), asyncio.create_task(use(enough))
        while not life():
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait([first])
        enough.set()
        await second

    run(scenario())
    assert life()[:2] == ["start a", "ready a -"]


def test_all_who_wait_hear_of_a_failed_start_and_the_next_one_tries_again(
    scripted: Scripted,
) -> None:
    scripted("""
note("start")
if len(open("life.txt").readlines()) == 1:
    say("error", message="busy", exit_code=69)
    sys.exit(69)
say("ready", **READY)
sys.stdin.read()
""")

    async def scenario() -> None:
        servers = ServerPool()

        async def use() -> None:
            async with servers.server(wanted("a")):
                pass

        heard = await asyncio.gather(use(), use(), return_exceptions=True)
        assert not any("local server" in task.get_name() for task in asyncio.all_tasks())
        assert [type(error) for error in heard] == [ConnectError, ConnectError]
        await use()

    run(scenario())


def test_a_server_that_has_died_is_not_shared_any_more(scripted: Scripted) -> None:
    scripted(OBEDIENT)

    async def scenario() -> None:
        servers = ServerPool()
        async with servers.server(wanted("a")) as first:
            assert first._process is not None
            first._process.kill()
            await first._process.wait()
            async with servers.server(wanted("a")) as second:
                assert not second.has_exited

    run(scenario())


def test_models_that_do_not_fit_together_are_refused_before_the_second_starts(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(OBEDIENT)
    monkeypatch.setenv(BUDGET_VARIABLE, "5.5")
    small, large = save_sparse_model("small", 1.0), save_sparse_model("large", 4.0)

    async def scenario() -> None:
        servers = ServerPool()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(servers.server(wanted(small)))
            await stack.enter_async_context(servers.server(wanted(large)))

    with pytest.raises(RecipeError) as refused:
        run(scenario())
    says = str(refused.value)
    assert f"{small} 1.6 GB, {large} 4.6 GB, together 6.2 GB" in says
    assert f"{BUDGET_VARIABLE} allows 5.5 GB" in says
    assert "kv_tokens" in says
    assert f"start {small}" in life()
    assert f"start {large}" not in life()


def test_one_model_alone_is_held_against_a_stated_budget_but_not_against_what_is_free(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens to be free, the server holds against what it really needs."""
    scripted(OBEDIENT)
    large = save_sparse_model("large", 4.0)

    async def scenario() -> None:
        async with ServerPool().server(wanted(large)):
            pass

    monkeypatch.setattr(pool, "memory_budget", lambda: Budget(10**9, is_stated=False))
    run(scenario())
    monkeypatch.setattr(pool, "memory_budget", lambda: Budget(10**9, is_stated=True))
    with pytest.raises(RecipeError, match=r"large 4\.6 GB, and .* allows 1\.0 GB"):
        run(scenario())
