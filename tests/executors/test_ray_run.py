"""A run on a real Ray of two nodes: the same dataset, whoever dies, and one limit for all."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from executors.two_nodes import TwoNodes
from invariants import completions, prompt_in
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    echo,
    error_reply,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(590)]
pytest.importorskip("ray", reason="`make ray` installs it")

CANARY = "sk-canary-5d1e7a90"
FILES = ("samples.jsonl", "rejected.jsonl", "failed.jsonl")


class Endpoint:
    """One server for all tests, which the nodes' environment names; what was asked in each."""

    def __init__(self) -> None:
        self.answer: Callable[[RecordedRequest], Reply] = echo
        self.server = ScriptedEndpoint(self._answer)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "WEAVE_ASYNC_BASE_URL": self.server.base_url,
            "WEAVE_ASYNC_API_KEY": CANARY,
        }

    def begin(self) -> None:
        self.server.requests.clear()
        self.answer = echo

    def _answer(self, request: RecordedRequest) -> Reply:
        return self.answer(request) if request.path.endswith("/completions") else echo(request)

    @property
    def asked(self) -> list[RecordedRequest]:
        return completions(self.server.requests)

    @property
    def prompts(self) -> Counter[str]:
        return Counter(prompt_in(request) for request in self.asked)


@pytest.fixture(scope="module")
def server() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    with endpoint.server:
        yield endpoint


@pytest.fixture
def endpoint(server: Endpoint) -> Endpoint:
    server.begin()
    return server


@pytest.fixture(scope="module")
def nodes(server: Endpoint) -> Iterator[TwoNodes]:
    with TwoNodes(server.variables) as nodes:
        yield nodes


def write_recipe(folder: Path, num_rows: int, **changes: Any) -> None:
    rows = [json.dumps({"text": f"row {number}"}) + "\n" for number in range(num_rows)]
    (folder / "seeds.jsonl").write_text("".join(rows))
    recipe = {
        "name": "cluster",
        "seed": 7,
        "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
        "generate": {
            "mix": [{"endpoint": "openai_compatible", "model": "scripted-model"}],
            "params": {"max_tokens": 64},
        },
        "noise": [{"typos": {"rate": 0.05}}],
        "selection": ["exact", {"near_duplicates": {"threshold": 0.99}}],
        "measure": "off",
        **changes,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


def start(
    folder: Path, out: str, *flags: str, environment: dict[str, str]
) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "weave_async.cli", "run", "recipe.yaml", "-o", out, "--json"]
    return subprocess.Popen(
        [*command, *flags],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str], timeout_s: float = 400) -> tuple[int, dict[str, Any], str]:
    """Exit code, summary and what was said."""
    out, err = process.communicate(timeout=timeout_s)
    assert CANARY not in out + err
    return process.returncode, json.loads(out) if out.strip() else {}, err


def on_cluster(folder: Path, nodes: TwoNodes, *flags: str) -> subprocess.Popen[str]:
    ray = ["--executor", "ray", "--address", nodes.address]
    return start(folder, "cluster", *ray, *flags, environment=nodes.environment)


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def made_locally(folder: Path, endpoint: Endpoint) -> dict[str, bytes]:
    local = start(folder, "local", environment={**os.environ, **endpoint.variables})
    code, _, err = end(local)
    assert code == 0, err
    endpoint.begin()
    return files_of(folder / "local")


def progress_in(err: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "progress"]


def wait_until(condition: Callable[[], bool], timeout_s: float = 90) -> None:
    give_up_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_s
        time.sleep(0.01)


@pytest.mark.parametrize(
    "num_rows", [1000, pytest.param(20_000, marks=pytest.mark.torture)], ids=str
)
def test_the_cluster_makes_the_dataset_of_one_machine(
    tmp_path: Path, endpoint: Endpoint, nodes: TwoNodes, num_rows: int
) -> None:
    write_recipe(tmp_path, num_rows)
    local = made_locally(tmp_path, endpoint)
    code, summary, err = end(on_cluster(tmp_path, nodes))
    assert code == 0, err
    assert files_of(tmp_path / "cluster") == local
    assert endpoint.prompts == Counter(f"row {number}" for number in range(num_rows))
    assert (summary["asked_now"], summary["recalled"]) == (num_rows, 0)
    assert len(list((tmp_path / "cluster/shards").glob("*-of-0016"))) == 16
    assert progress_in(err)[0]["asked"] == num_rows
    assert all(0 <= line["answered"] <= num_rows for line in progress_in(err))
    code, summary, err = end(on_cluster(tmp_path, nodes))
    assert (code, summary["asked_now"], summary["recalled"]) == (0, 0, num_rows), err
    assert len(endpoint.asked) == num_rows
    assert files_of(tmp_path / "cluster") == local


@pytest.mark.parametrize(
    ("num_rows", "num_kills"),
    [(1500, 3), pytest.param(20_000, 5, marks=pytest.mark.torture)],
)
def test_killed_workers_and_a_killed_driver_lose_nothing_and_send_again_what_was_in_flight(
    tmp_path: Path, endpoint: Endpoint, nodes: TwoNodes, num_rows: int, num_kills: int
) -> None:
    write_recipe(tmp_path, num_rows)
    local = made_locally(tmp_path, endpoint)
    chance = random.Random(3)
    endpoint.answer = lambda request: replace(echo(request), head_delay_s=chance.uniform(0.01, 0.1))
    in_flight = 16
    first = on_cluster(tmp_path, nodes, "-c", str(in_flight))
    part = num_rows // (num_kills + 3)
    for number in range(num_kills):
        wait_until(lambda at=(number + 1) * part: len(endpoint.asked) >= at)  # type: ignore[misc]
        nodes.kill_one(b"ray::Worker", which=chance.randrange(2))
    wait_until(lambda: len(endpoint.asked) >= (num_kills + 1) * part)
    first.kill()
    first.communicate()
    code, summary, err = end(on_cluster(tmp_path, nodes, "-c", str(in_flight)))
    assert code == 0, err
    assert files_of(tmp_path / "cluster") == local
    assert summary["written"] + summary["rejected"] == num_rows
    assert set(endpoint.prompts) == {f"row {number}" for number in range(num_rows)}
    again = sum(endpoint.prompts.values()) - num_rows
    print(f"{num_kills} workers and the driver killed: {again} sent again")
    assert again <= num_kills * in_flight // 2 + in_flight


def test_the_limit_holds_in_every_minute_whoever_dies(
    tmp_path: Path, endpoint: Endpoint, nodes: TwoNodes
) -> None:
    requests_per_minute, num_rows = 600, 1000
    write_recipe(tmp_path, num_rows, noise=[], selection=[])
    process = on_cluster(tmp_path, nodes, "--rpm", str(requests_per_minute))

    def kill_now_and_then() -> None:
        for at, title in ((200, b"ray::Worker"), (400, b"ray::Limiter"), (650, b"ray::Worker")):
            wait_until(lambda at=at: len(endpoint.asked) >= at)  # type: ignore[misc]
            nodes.kill_one(title)
        wait_until(lambda: len(endpoint.asked) >= 800)
        nodes.suspend_one(b"ray::Worker", for_s=6)  # it returns, and has been taken for cut off

    killing = threading.Thread(target=kill_now_and_then)
    killing.start()
    code, summary, err = end(process)
    killing.join()
    assert code == 0, err
    assert summary["written"] == num_rows
    arrived_s = sorted(request.arrived_s for request in endpoint.asked)
    fullest = max(
        sum(1 for later_s in arrived_s[first:] if later_s < begin_s + 60)
        for first, begin_s in enumerate(arrived_s)
    )
    took_s = arrived_s[-1] - arrived_s[0]
    print(f"at most {fullest} a minute, {60 * len(arrived_s) / took_s:.0f} on average")
    assert fullest <= requests_per_minute
    assert 60 * len(arrived_s) / took_s > 0.6 * requests_per_minute


def test_an_interrupt_lets_in_what_is_in_flight_and_the_same_command_goes_on(
    tmp_path: Path, endpoint: Endpoint, nodes: TwoNodes
) -> None:
    write_recipe(tmp_path, 600)
    local = made_locally(tmp_path, endpoint)
    endpoint.answer = lambda request: replace(echo(request), head_delay_s=0.05)
    process = on_cluster(tmp_path, nodes, "-c", "8")
    wait_until(lambda: len(endpoint.asked) >= 150)
    process.send_signal(signal.SIGINT)
    code, summary, err = end(process)
    assert (code, summary["status"]) == (130, "interrupted"), err
    assert summary["pending"] > 0
    num_asked = len(endpoint.asked)
    code, summary, err = end(on_cluster(tmp_path, nodes, "-c", "8"))
    assert (code, summary["recalled"]) == (0, num_asked), err
    assert len(endpoint.asked) == 600
    assert files_of(tmp_path / "cluster") == local


def test_the_key_reaches_the_endpoint_and_no_file(
    tmp_path: Path, endpoint: Endpoint, nodes: TwoNodes
) -> None:
    write_recipe(tmp_path, 50)
    code, _, err = end(on_cluster(tmp_path, nodes))
    assert code == 0, err
    assert {r.headers["authorization"] for r in endpoint.asked} == {f"Bearer {CANARY}"}
    for path in (tmp_path / "cluster").rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    assert not any(CANARY.encode() in log for log in nodes.logs())


def test_a_wrong_key_stops_all_workers_and_is_told(
    tmp_path: Path, endpoint: Endpoint, nodes: TwoNodes
) -> None:
    write_recipe(tmp_path, 50)
    endpoint.answer = lambda request: Reply(status=401, body=b'{"error": {"message": "no"}}')
    code, summary, err = end(on_cluster(tmp_path, nodes))
    assert (code, summary["status"]) == (77, "stopped"), err
    assert not summary["files"]


def test_a_row_that_fails_is_told_of_and_the_others_are_merged(
    tmp_path: Path, endpoint: Endpoint, nodes: TwoNodes
) -> None:
    write_recipe(tmp_path, 50)
    endpoint.answer = lambda request: (
        error_reply(400) if prompt_in(request) == "row 7" else echo(request)
    )
    code, summary, err = end(on_cluster(tmp_path, nodes))
    assert (code, summary["status"], summary["failed"]) == (1, "incomplete", 1), err
    assert summary["written"] + summary["rejected"] == 49
    endpoint.begin()
    code, summary, err = end(on_cluster(tmp_path, nodes))
    assert (code, summary["asked_now"]) == (0, 1), err
    merged = files_of(tmp_path / "cluster")
    assert merged == made_locally(tmp_path, endpoint)


def test_workers_that_find_no_place_hold_nobody_up(
    tmp_path: Path, endpoint: Endpoint, nodes: TwoNodes
) -> None:
    write_recipe(tmp_path, 60)
    code, summary, err = end(on_cluster(tmp_path, nodes, "--workers", "5", "--rpm", "6000"), 100)
    assert (code, summary["written"] + summary["rejected"]) == (0, 60), err


def test_without_an_address_a_cluster_of_its_own_is_made_and_ends(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    write_recipe(tmp_path, 100)
    local = made_locally(tmp_path, endpoint)
    mark = {"TEST_CLUSTER": "its-own", "HOME": str(tmp_path)}
    environment = {**os.environ, **endpoint.variables, **mark}
    process = start(
        tmp_path, "cluster", "--executor", "ray", "--workers", "2", environment=environment
    )
    code, _, err = end(process)
    assert code == 0, err
    assert files_of(tmp_path / "cluster") == local
    assert not (tmp_path / ".ray").exists()  # its token is in no file


def test_a_cluster_without_a_token_is_refused_unless_it_is_allowed(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    write_recipe(tmp_path, 20)
    with TwoNodes(endpoint.variables, has_token=False) as open_nodes:
        without = {**open_nodes.environment}
        del without["RAY_AUTH_MODE"]
        flags = ["--executor", "ray", "--address", open_nodes.address]
        code, _, err = end(start(tmp_path, "cluster", *flags, environment=without))
        assert (code, "with its token" in err) == (2, True), err
        with_token = {**without, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a" * 64}
        code, _, err = end(start(tmp_path, "cluster", *flags, environment=with_token))
        assert (code, "takes commands without a token" in err) == (2, True), err
        assert not endpoint.asked
        flags.append("--allow-unauthenticated-cluster")
        code, _, err = end(start(tmp_path, "cluster", *flags, environment=without))
        assert code == 0, err
        assert len(endpoint.asked) == 20
