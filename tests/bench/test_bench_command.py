"""``weave-async bench`` against a server whose timing is exact."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from tests.bench.exact_endpoint import ExactEndpoint

FAST: Mapping[str, Any] = {"ttft_s": 0.02, "itl_s": 0.002, "tokens": 16}
CALM: Mapping[str, Any] = {"ttft_s": 0.1, "itl_s": 0.01, "tokens": 16}
"""So slow that a machine that has other things to do measures it well."""
SHORT = ("--duration", "0.5", "--warm-up", "0.2", "--requests", "10")


def env_of(**endpoints: ExactEndpoint | str) -> dict[str, str]:
    """Named endpoints, as a user would set them."""
    env = {"PATH": "/usr/bin:/bin", "COLUMNS": "100"}
    for name, endpoint in endpoints.items():
        url = endpoint if isinstance(endpoint, str) else endpoint.base_url
        prefix = f"WEAVE_ASYNC_ENDPOINTS__{name.upper()}__"
        env |= {f"{prefix}PROVIDER": "openai_compatible", f"{prefix}BASE_URL": url}
        env |= {f"{prefix}MODEL": "exact"}
    return env


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "weave_async.cli", "bench", *arguments]


def bench(
    env: Mapping[str, str], *arguments: str, exit_code: int = 0
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments), env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == exit_code, done.stdout + done.stderr
    return done


def result_of(env: Mapping[str, str], *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(
        bench(env, *arguments, "--json", exit_code=exit_code).stdout
    )
    return result


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]


def test_times_are_those_that_the_server_logged(tmp_path: Path) -> None:
    with ExactEndpoint() as server:
        bench(env_of(one=server), "one", "-c", "8", *SHORT, "-o", str(tmp_path / "out"))
        log = {each["name"]: each for each in server.log["requests"]}
        num_connections = server.log["connections"]
    rows = rows_of(tmp_path / "out")
    assert len(rows) >= 10
    late_s, e2e_s, gaps_s = [], [], []
    for row in rows:
        was = log[f"bench-{row['number']}"]
        late_s.append(row["came_s"][0] - row["sent_s"] - (was["written_s"][0] - was["arrived_s"]))
        e2e_s.append(row["ended_s"] - row["sent_s"])
        gaps_s.append((row["came_s"][-1] - row["came_s"][0]) / (len(row["came_s"]) - 1))
    assert 0 <= median(late_s) < 0.02
    assert median(gaps_s) == pytest.approx(0.01, rel=0.05)
    assert median(e2e_s) == pytest.approx(0.73, rel=0.05)
    assert num_connections <= 8 + 7


def test_the_knee_and_the_capacity_of_eight_slots_are_found() -> None:
    ladder = ("-c", "4,16,32", "--duration", "2", "--warm-up", "0.5", "--requests", "30")
    with ExactEndpoint(**CALM, slots=8) as server:
        for _ in range(3):
            [backend] = result_of(env_of(one=server), "one", *ladder)["backends"]
            if not any(step["is_client_bound"] for step in backend["steps"]):
                break  # else this machine had too much else to do
    assert backend["capacity"]["is_reached"]
    assert backend["capacity"]["knee"] == pytest.approx(8, rel=0.1)
    assert backend["capacity"]["requests_per_s"] == pytest.approx(8 / 0.25, rel=0.1)


def test_a_search_finds_the_highest_load_within_an_objective() -> None:
    with ExactEndpoint(**CALM, slots=8) as server:
        done = bench(
            env_of(one=server), "one", "--search", "-c", "4", "--slo", "ttft_s.p80<0.2", *SHORT,
            "--top", "64", "--json",
        )  # fmt: skip
    [backend] = json.loads(done.stdout)["backends"]
    assert 6 <= backend["search"]["best"] <= 10
    assert {step["objective"] for step in backend["steps"]} >= {"met", "missed"}


def test_a_server_that_stands_still_shows_in_the_tail_of_an_open_loop() -> None:
    with ExactEndpoint(**FAST, freeze_s=[1.0, 3.0]) as server:
        result = result_of(
            env_of(one=server), "one", "--rate", "120", "--duration", "5", "--warm-up", "0.2"
        )
    [step] = result["backends"][0]["steps"]
    assert step["latencies"]["latency_s"]["p99"]["value"] >= 1.9
    assert step["latencies"]["latency_s"]["p50"]["value"] < 0.5
    assert step["requests_per_s"]["value"] == pytest.approx(120, rel=0.1)


def test_tokens_that_come_bundled_are_reported_as_such() -> None:
    with ExactEndpoint(**FAST, tokens_per_chunk=8) as server:
        done = bench(env_of(one=server), "one", "-c", "4", *SHORT)
    assert "8 tokens per chunk" in done.stdout


def test_a_server_that_never_streams_and_counts_nothing_is_measured() -> None:
    with ExactEndpoint(**FAST, streams=False) as server:
        done = bench(env_of(one=server), "one", "-c", "4", *SHORT)
    assert "it does not stream" in done.stdout


def test_what_is_wrong_with_one_backend_does_not_stop_the_others() -> None:
    with ExactEndpoint(**FAST) as good, ExactEndpoint(**FAST, refuses=404) as refuses:
        env = env_of(good=good, refuses=refuses, gone="http://127.0.0.1:9/v1")
        done = bench(
            env, "gone", "good", "refuses", "nosuch", "-c", "1,2", *SHORT, "--json", exit_code=69
        )
    found = {each["name"]: each for each in json.loads(done.stdout)["backends"]}
    assert [len(found[name]["steps"]) for name in ("good", "gone", "refuses", "nosuch")] == [
        *(2, 0, 0, 0)
    ]
    assert "Connection refused" in found["gone"]["problem"]
    assert "404" in found["refuses"]["problem"]
    assert "unknown provider 'nosuch'" in found["nosuch"]["problem"]
    assert found["good"]["problem"] is None


def test_what_a_server_did_before_it_died_is_kept() -> None:
    with ExactEndpoint(**FAST, dies_after=150) as server:
        result = result_of(
            env_of(one=server), "one", "-c", "4,8,16", "--duration", "1", "--warm-up", "0.1",
            exit_code=69,
        )  # fmt: skip
    [backend] = result["backends"]
    assert "given up at" in backend["problem"]
    assert backend["steps"][0]["answered"] > 20
    assert sum(step["failed"] for step in backend["steps"]) > 0


def test_limits_are_kept_and_said(tmp_path: Path) -> None:
    with ExactEndpoint(**FAST) as server:
        env = env_of(one=server) | {"WEAVE_ASYNC_ENDPOINTS__ONE__RPM": "600"}
        done = bench(
            env,
            "one",
            "-c",
            "8",
            "--duration",
            "2",
            "--warm-up",
            "0.5",
            "--requests",
            "10",
            "--json",
        )
        arrived_s = sorted(each["arrived_s"] for each in server.log["requests"])
    [backend] = json.loads(done.stdout)["backends"]
    assert backend["limits"] == "600 requests per minute"
    assert len(arrived_s) <= 10 * (arrived_s[-1] - arrived_s[0]) + 3
    [step] = backend["steps"]
    assert step["latencies"]["queue_s"]["p50"]["value"] > 0.1
    assert step["latencies"]["ttft_s"]["p50"]["value"] < 0.1


def test_a_ladder_that_no_limit_allows_is_refused_and_the_rest_of_one_is_told() -> None:
    with ExactEndpoint(**FAST) as server:
        env = env_of(one=server) | {"WEAVE_ASYNC_ENDPOINTS__ONE__MAX_CONCURRENCY": "4"}
        done = bench(env, "one", "-c", "8,16", *SHORT, exit_code=69)
        assert "its limits do not allow more than 4 in flight" in done.stdout.replace("\n", " ")
        assert server.log["requests"] == []
        done = bench(env, "one", "-c", "2,16", *SHORT)
    assert "left out: 16 in flight" in done.stdout


def test_a_result_compares_with_an_earlier_one(tmp_path: Path) -> None:
    first, steps = tmp_path / "first", ("-c", "4", *SHORT, "--requests", "60")
    with ExactEndpoint(**FAST) as server:
        bench(env_of(one=server), "one", *steps, "-o", str(first))
    before = ("--compare", str(first / "result.json"))
    with ExactEndpoint(**{**FAST, "ttft_s": 0.1}) as server:
        done = bench(env_of(one=server), "one", *steps, *before, exit_code=1)
        assert "WORSE" in done.stdout
        other = bench(env_of(one=server), "one", *before, "--output-tokens", "9", exit_code=2)
        assert "other workloads" in other.stderr
        assert len(server.log["requests"]) < 200


def test_a_result_is_not_written_over(tmp_path: Path) -> None:
    with ExactEndpoint(**FAST) as server:
        out = ("-c", "2", *SHORT, "-o", str(tmp_path / "out"))
        bench(env_of(one=server), "one", *out)
        num_asked = len(server.log["requests"])
        done = bench(env_of(one=server), "one", *out, exit_code=2)
        assert "holds a result already" in done.stderr
        assert len(server.log["requests"]) == num_asked
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files >= {"result.json", "requests.jsonl", "report.html"}
    result = json.loads((tmp_path / "out/result.json").read_text())
    [step] = result["backends"][0]["steps"]
    rows = rows_of(tmp_path / "out")
    assert result["format"] == 1
    assert len(rows) >= step["answered"] >= 10


def test_an_interrupt_keeps_what_was_measured(tmp_path: Path) -> None:
    with ExactEndpoint(**FAST) as server:
        process = subprocess.Popen(
            command("one", "-c", "2,4", "--duration", "30", "-o", str(tmp_path / "out"), "--json"),
            env=env_of(one=server), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        deadline_s = time.monotonic() + 30
        while len(server.log["requests"]) < 200 and time.monotonic() < deadline_s:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    result = json.loads(stdout)
    assert result["interrupted"]
    [step] = result["backends"][0]["steps"]
    assert step["answered"] > 0
    assert json.loads((tmp_path / "out/result.json").read_text()) == result


def test_what_a_recipe_asks_is_what_is_asked(tmp_path: Path) -> None:
    rows = [{"place": name} for name in ("Oslo", "Lima", "Kyiv")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(
        "prompts: {source: rows.jsonl, template: 'Where is {{ place }}?'}\n"
        "generate: {params: {max_tokens: 9}}\ncontroller: on\n"
    )
    recipe = str(tmp_path / "recipe.yaml")
    result = result_of({"PATH": ""}, "simulated", "--recipe", recipe, "-c", "2", *SHORT)
    assert result["workload"] == f"3 prompts of {recipe}"
    assert result["backends"][0]["steps"][0]["answered"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-c", "1,x"), "takes numbers, as 1,8,32; got '1,x'"),
        (("-c", "0"), "above 0"),
        (("-c", "1.5"), "whole numbers"),
        (("-c", "1", "--rate", "2"), "choose one"),
        (("--poisson",), "--poisson goes with --rate"),
        (("--search",), "give --slo"),
        (("--rate", "5", "--poisson", "--ramp"), "choose one"),
        (("--search", "--slo", "e2e_s.p50<1", "-c", "1,4"), "begins at one load"),
        (("--slo", "speed<1"), "unknown metric 'speed'"),
        (("--duration", "9", "--longest", "5"), "shorter than --duration"),
    ],
)
def test_flags_that_make_no_sense_are_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in bench({"PATH": ""}, "simulated", *arguments, exit_code=2).stderr


def test_definitions_say_what_every_figure_means() -> None:
    told = bench({"PATH": ""}, "--definitions").stdout
    for name in ("ttft_s", "itl_s", "tpot_s", "e2e_s", "goodput_per_s", "queue_s"):
        assert f"{name}: " in told


def test_a_step_without_an_answer_is_no_success_however_short() -> None:
    with ExactEndpoint(**FAST, dies_after=1) as server:
        done = bench(
            env_of(one=server), "one", "-c", "2", "--duration", "0.3", "--warm-up", "0",
            "--requests", "3", "--longest", "1", exit_code=69,
        )  # fmt: skip
    assert "failed" in done.stdout


def test_an_odd_file_to_compare_with_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    odd = tmp_path / "odd.json"
    odd.write_text(json.dumps({"format": 1, "workload": "w", "backends": [{"name": "x"}]}))
    done = bench({"PATH": ""}, "simulated", *SHORT, "--compare", str(odd), exit_code=65)
    assert "is no result of" in done.stderr


def test_nothing_in_common_is_no_success(tmp_path: Path) -> None:
    first = tmp_path / "first"
    bench({"PATH": ""}, "simulated", "-c", "2", *SHORT, "-o", str(first))
    before = str(first / "result.json")
    done = bench({"PATH": ""}, "simulated", "-c", "3", *SHORT, "--compare", before, exit_code=65)
    assert "Nothing to compare" in done.stdout


def test_rows_of_a_benchmark_that_did_not_end_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text("{}\n")
    bench({"PATH": ""}, "simulated", "-c", "2", *SHORT, "-o", str(tmp_path), exit_code=2)
    assert (tmp_path / "requests.jsonl").read_text() == "{}\n"


def test_a_limit_below_any_rate_leaves_nothing_to_search() -> None:
    done = bench(
        {"PATH": ""}, "simulated", "--rpm", "30", "--rate", "0.4", "--search",
        "--slo", "e2e_s.p50<5", *SHORT, exit_code=69,
    )  # fmt: skip
    assert "no rate to search" in done.stdout
