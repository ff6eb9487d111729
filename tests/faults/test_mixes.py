"""A mix of two endpoints, of which one is refused, or down: who answers, and what is on disk."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from invariants import completions, prompt_of, read_rows
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    echo,
    error_reply,
    json_reply,
)

from .site import CANARY, Answering, Site

CONCURRENCY = 8
QUOTA = error_reply(429, "you exceeded your current quota", code="insufficient_quota")


class Mix:
    """Two endpoints of equal weight; the site's own is ``a``. Each answers as it is told to."""

    def __init__(self, site: Site, second: ScriptedEndpoint) -> None:
        self.site = site
        site.recipe["generate"]["mix"] = [
            {"endpoint": "a", "model": "model-a"},
            {"endpoint": "b", "model": "model-b"},
        ]
        second.requests = site.endpoint.requests  # one log, so that all calls are accounted for
        for name, endpoint in (("A", site.endpoint), ("B", second)):
            prefix = f"WEAVE_ASYNC_ENDPOINTS__{name}__"
            site.environment[f"{prefix}BASE_URL"] = endpoint.base_url
            site.environment[f"{prefix}API_KEY"] = CANARY

    def asked(self, name: str) -> list[RecordedRequest]:
        requests = completions(self.site.endpoint.requests)
        return [request for request in requests if request.body["model"] == f"model-{name}"]

    def num_written_by(self) -> Counter[str]:
        rows = read_rows(self.site.out / "samples.jsonl")
        assert all(row["lineage"]["model"] == f"model-{row['lineage']['endpoint']}" for row in rows)
        return Counter(row["lineage"]["endpoint"] for row in rows)


@pytest.fixture
def mix(site: Site) -> Iterator[Mix]:
    with contextlib.ExitStack() as stack:
        second = stack.enter_context(ScriptedEndpoint(without_model))
        yield Mix(site, second)
        site.check()


def without_model(request: RecordedRequest) -> Reply:
    """An answer that does not say who it is from."""
    if not request.path.endswith("/completions"):
        return echo(request)
    choice = {"message": {"content": "fine " + str(request.body["messages"][-1]["content"])}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    document = {"choices": [{**choice, "finish_reason": "stop"}], "usage": usage}
    return replace(json_reply(document), head_delay_s=0.005)


def failing_after(num_answers: int, refusal: Reply) -> Answering:
    num_asked = 0

    def answer(request: RecordedRequest) -> Reply:
        nonlocal num_asked
        num_asked += 1
        return without_model(request) if num_asked <= num_answers else refusal

    return answer


@pytest.mark.parametrize("refusal", [QUOTA, error_reply(401, "bad key")], ids=["quota", "401"])
def test_where_one_of_two_is_refused_the_other_answers_all_rows(mix: Mix, refusal: Reply) -> None:
    num_answered = 30
    mix.site.answer = failing_after(num_answered, refusal)
    mix.site.write_rows(200)
    ended = mix.site.run("-c", str(CONCURRENCY))
    assert ended.exit_code == 0, ended.err
    assert ended.summary["written"] == 200
    assert len(mix.asked("a")) <= num_answered + 1 + CONCURRENCY + 3
    assert mix.num_written_by() == {"a": num_answered, "b": 200 - num_answered}
    assert "a is left for the rest of this run" in ended.err
    accounts = ended.summary["endpoints"]
    assert accounts["a"]["answered"] == num_answered
    assert accounts["a"]["left_because"]
    assert accounts["b"]["answered"] == 200 - num_answered
    assert 0 < accounts["b"]["taken_over"] < 200 - num_answered
    verified = mix.site.start_command(
        [sys.executable, "-m", "weave_async.cli", "verify", str(mix.site.out)]
    ).end()
    assert verified.exit_code == 0, verified.out
    manifest = json.loads((mix.site.out / "manifest.json").read_bytes())
    assert manifest["endpoints"] == accounts


def test_whoever_answered_a_resumed_run_asks_nothing_again(mix: Mix) -> None:
    mix.site.answer = failing_after(10, QUOTA)
    mix.site.write_rows(400)
    started = mix.site.start("-c", str(CONCURRENCY))
    started.wait_until_asked(150)
    started.kill()
    ended = mix.site.run("-c", str(CONCURRENCY))  # the site sees to it that nothing is asked again
    assert ended.exit_code == 0, ended.err
    assert ended.summary["recalled"] >= 100
    assert mix.num_written_by().total() == 400
    assert {prompt_of(row) for row in read_rows(mix.site.out / "samples.jsonl")} == {
        f"row {i}" for i in range(400)
    }


def test_told_to_wait_a_refused_endpoint_ends_the_run_and_its_rows_are_pending(mix: Mix) -> None:
    mix.site.answer = failing_after(30, QUOTA)
    mix.site.recipe["generate"]["when_down"] = "wait"
    mix.site.write_rows(200)
    ended = mix.site.call("-c", str(CONCURRENCY))
    assert ended.exit_code == 78
    assert ended.summary["pending"] > 0
    assert ended.summary["failed"] == 0
    assert all(account["taken_over"] == 0 for account in ended.summary["endpoints"].values())


def test_where_both_are_refused_the_run_ends_and_its_rows_are_pending(mix: Mix) -> None:
    mix.site.environment["WEAVE_ASYNC_ENDPOINTS__B__BASE_URL"] = mix.site.endpoint.base_url
    num_answered = 40
    mix.site.answer = failing_after(num_answered, error_reply(401, "bad key"))
    mix.site.write_rows(200)
    ended = mix.site.call("-c", str(CONCURRENCY))
    assert ended.exit_code == 77
    assert len(ended.asked) <= num_answered + 2 * (1 + CONCURRENCY + 3)
    assert (ended.summary["written"], ended.summary["failed"]) == (num_answered, 0)
    assert ended.summary["pending"] == 200 - num_answered


def test_a_simulated_endpoint_stands_in_for_no_real_one(site: Site) -> None:
    site.environment["WEAVE_ASYNC_ENDPOINTS__REAL__BASE_URL"] = site.endpoint.base_url
    site.environment["WEAVE_ASYNC_ENDPOINTS__REAL__API_KEY"] = CANARY
    site.environment["WEAVE_ASYNC_ENDPOINTS__MADE_UP__PROVIDER"] = "simulated"
    site.recipe["generate"]["mix"] = [
        {"endpoint": "real", "model": "real"},
        {"endpoint": "made_up", "model": "made-up"},
    ]
    site.answer = failing_after(10, QUOTA)
    site.write_rows(200)
    site.move_to(site.folder / "of two")  # not all calls are seen by the site's endpoint
    ended = site.call("-c", str(CONCURRENCY))
    assert ended.exit_code == 78
    written = read_rows(site.out / "samples.jsonl")
    by = Counter(row["lineage"]["endpoint"] for row in written)
    assert by["real"] == 10
    assert ended.summary["endpoints"]["made_up"]["taken_over"] == 0


def test_a_straggler_is_sent_a_second_time_and_both_sendings_are_accounted_for(site: Site) -> None:
    seen: Counter[str] = Counter()

    def answer(request: RecordedRequest) -> Reply:
        prompt = str(request.body["messages"][-1]["content"])
        seen[prompt] += 1
        is_straggler = prompt == "row 7" and seen[prompt] == 1
        return replace(echo(request), head_delay_s=20.0 if is_straggler else 0.0)

    site.answer = answer
    site.recipe["generate"]["hedge"] = {"after": 0.3, "most": 0.5}
    site.write_rows(20)
    ended = site.call("-c", str(CONCURRENCY))
    assert ended.exit_code == 0, ended.err
    assert ended.elapsed_s < 15
    account = ended.summary["endpoints"]["openai_compatible"]
    assert account["hedges_won"] >= 1
    assert account["hedged"] == len(ended.asked) - 20
    assert seen["row 7"] == 2
