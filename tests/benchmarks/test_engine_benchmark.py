"""The HTTP benchmark, with tiny numbers: that it measures at all, and that its server is honest."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
CHAT = "/v1/chat/completions"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it pins processes to cores")


@contextmanager
def server(*options: str) -> Iterator[int]:
    """The port of a running ``loopback_server.py``."""
    with server_process(*options) as (_, port):
        yield port


@contextmanager
def server_process(*options: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    command = [sys.executable, str(BENCHMARKS / "loopback_server.py"), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["port"]
        finally:
            process.kill()


def ask(
    port: int, method: str, path: str, body: str | None = None
) -> tuple[http.client.HTTPResponse, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        reply = connection.getresponse()
        return reply, json.loads(reply.read())
    finally:
        connection.close()


def stats(port: int) -> Any:
    return ask(port, "GET", "/stats")[1]


def engine_benchmark(*options: str, python_path: Path | None = None) -> Any:
    command = [sys.executable, str(BENCHMARKS / "engine.py"), "--json", *options]
    root = [str(python_path)] if python_path else []
    paths = [*root, str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- the server ----------------------------------------------------------------------------------


def test_the_server_gives_a_realistic_answer_with_usage_and_counts_it() -> None:
    before_s = time.monotonic()
    with server() as port:
        reply, answer = ask(port, "POST", CHAT, '{"model": "m"}')
        assert reply.status == 200
        assert 1100 < int(reply.headers["Content-Length"]) < 1300
        assert len(answer["choices"][0]["message"]["content"]) > 600
        assert answer["usage"]["completion_tokens"] > 0
        assert ask(port, "GET", "/v1/models")[1]["data"][0]["id"] == "m"
        assert ask(port, "GET", "/elsewhere")[0].status == 404
        seen = stats(port)
    assert (seen["answered"], seen["refused"], seen["failed"]) == (1, 0, 0)
    assert before_s < seen["first_request_s"] <= seen["last_answer_s"] < time.monotonic()


def test_the_server_takes_requests_in_pieces_and_several_at_once() -> None:
    request = f"POST {CHAT} HTTP/1.1\r\nhost: h\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    with server() as port, socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for piece in (request[:30], request[30:-1], request[-1:] + request + request[:-1]):
            client.sendall(piece)
            time.sleep(0.02)  # so that they arrive one by one
        assert stats(port)["answered"] == 2
        client.sendall(request[-1:])
        received = b""
        while received.count(b'"usage"') < 3:
            received += client.recv(65536)
        assert received.count(b"HTTP/1.1 200 OK") == 3


def test_the_server_refuses_what_is_above_its_limit_and_says_when_to_come_again() -> None:
    with server("--rpm", "60") as port:
        replies = [ask(port, "POST", CHAT, "{}")[0] for _ in range(3)]
        assert [reply.status for reply in replies] == [200, 429, 429]
        assert replies[1].headers["Retry-After"] == "1"
        assert stats(port)["refused"] == 2


def test_the_server_keeps_answers_back_for_the_latency_and_its_tail() -> None:
    for options, at_least_s in (((), 0.05), (("--tail", "1"), 0.5)):
        with server("--latency-ms", "50", *options) as port:
            started_s = time.monotonic()
            ask(port, "POST", CHAT, "{}")
            assert at_least_s <= time.monotonic() - started_s < at_least_s + 0.4


def test_the_server_fails_the_share_asked_for() -> None:
    with server("--error-rate", "0.5") as port:
        statuses = [ask(port, "POST", CHAT, "{}")[0].status for _ in range(40)]
        assert set(statuses) == {200, 500}
        assert stats(port)["failed"] == statuses.count(500)


def test_the_server_ends_with_whoever_started_it() -> None:
    with server_process() as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=10) == 0


@pytest.mark.parametrize(
    ("file", "part"),
    [
        ("weave_async/plan.py", "plan and render"),
        ("weave_async/sources/jsonl.py", "plan and render"),
        ("weave_async/asking.py", "engine and records"),
        ("providers/transport/http1.py", "provider"),
    ],
)
def test_a_file_of_ours_belongs_to_a_part(file: str, part: str) -> None:
    code = "import sys, cpu_sampler as c; print(c.part_of_file(f'{c.ROOT}/{sys.argv[1]}'))"
    asked = [sys.executable, "-c", code, file]
    found = subprocess.run(asked, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == part


# --- the benchmark -------------------------------------------------------------------------------


def test_throughput_is_told_per_stack_and_by_part(tmp_path: Path) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ModuleNotFoundError('gone', name='aiohttp')")
    result = engine_benchmark(
        *("--rows", "40", "--repeats", "1", "--in-flight", "8", "--seconds", "0.2"),
        *("--stacks", "raw_transport,aiohttp"),
        python_path=tmp_path,
    )["throughput"]
    assert set(result["stacks"]) == {"weave-async", "raw_transport"}
    ours, raw = result["stacks"]["weave-async"], result["stacks"]["raw_transport"]
    for figure in ("rows_per_s", "process_rows_per_s", "cpu_us", "core", "peak_rss_mb"):
        assert 0 < ours[figure]["min"] <= ours[figure]["median"] <= ours[figure]["max"], figure
    assert 0 < ours["added_p50_ms"]["median"] <= ours["added_p99_ms"]["median"]
    assert ours["settled_p99_ms"]["median"] > 0
    assert ours["num_failed"]["max"] == raw["num_failed"]["max"] == 0
    ratio = ours["rows_per_s"]["median"] / raw["rows_per_s"]["median"]
    assert ours["ratio_over_raw_transport"] == pytest.approx(ratio)
    assert ours["ratio_over_openai_sdk"] is None
    assert result["parts_us"]["imports"] > 0  # a short run: other parts may go unseen
    assert sum(result["parts_us"].values()) == pytest.approx(ours["cpu_us"]["median"])
    assert "pip install" in result["left_out"]["aiohttp"]


def test_a_latency_of_the_server_is_not_counted_as_added() -> None:
    options = ("--rows", "20", "--repeats", "1", "--in-flight", "10", "--stacks", "")
    result = engine_benchmark(*options, "--latency-ms", "200")["throughput"]
    ours = result["stacks"]["weave-async"]
    assert 0 <= ours["added_p50_ms"]["median"] < 150
    assert ours["rows_per_s"]["median"] <= 50


def test_memory_startup_and_the_share_of_a_limit_are_measured() -> None:
    memory = engine_benchmark("--memory", "--rows", "2000", "--in-flight", "8")["memory"]
    assert memory["written"] == memory["rows"] == 2000
    assert memory["early_rows"] >= 200
    assert 0 < memory["end_rss_mb"] <= memory["peak_rss_mb"] + 1  # the kernel counts in lumps
    startup = engine_benchmark("--startup", "--repeats", "1", "--rows", "20")["startup"]
    assert 0 < startup["help_s"]["median"] < 10
    assert 0 < startup["first_request_s"]["median"] < 10
    limit = engine_benchmark("--rpm", "1200", "--seconds", "1", "--in-flight", "8")["limit"]
    assert 0.5 < limit["share_of_limit_used"] < 50
    assert 0 <= limit["share_refused"] < 1
    assert limit["failed"] == 0
