"""Runs whose answers come from a batch API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from batch_bench import NUM_ROWS, Bench
from invariants import check_secret_is_in_no_file, read_rows
from providers.batch_api import OpenAIBatchApi
from weave_async.errors import RecipeError, RunFolderError
from weave_async.export.requests import openai_batch
from weave_async.records import Request, Response
from weave_async.run import Run
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    echo,
    error_reply,
    json_reply,
)


def asked(request: RecordedRequest) -> str:
    content: str = request.body["messages"][-1]["content"]
    return content


def when(path: str, method: str, replies: list[Reply]) -> Callable[[RecordedRequest], Reply | None]:
    """The server's first replies to such requests."""

    def intercept(request: RecordedRequest) -> Reply | None:
        is_meant = request.path.partition("?")[0].endswith(path) and request.method == method
        return replies.pop(0) if is_meant and replies else None

    return intercept


def interrupt_once_out(bench: Bench) -> Callable[[Run], None]:
    def interrupt(run: Run) -> None:
        while not (bench.endpoint.batches and bench.endpoint.batches[-1].num_polls):
            time.sleep(0.01)
        assert run._engine_task is not None
        run._engine_task.get_loop().call_soon_threadsafe(run.interrupt)

    return interrupt


def end_next_as_completed(bench: Bench) -> Callable[[list[bytes]], list[bytes]]:
    """The batch that ends now ends as it should; the ones after it are complete."""

    def edit(lines: list[bytes]) -> list[bytes]:
        bench.endpoint.end_as = "completed"
        return lines

    return edit


def test_a_batch_run_writes_what_a_live_run_with_the_same_answers_writes(bench: Bench) -> None:
    summary = bench.run()
    assert (summary.status, summary.written, summary.asked_now) == ("complete", NUM_ROWS, NUM_ROWS)
    assert len(bench.endpoint.batches) == 1
    live = bench.folder / "live"
    bench.mode = "live"
    assert bench.run(live).written == NUM_ROWS
    for name in ("samples.jsonl", "rejected.jsonl", "failed.jsonl"):
        assert (bench.out / name).read_bytes() == (live / name).read_bytes()


def test_bodies_in_the_file_are_those_of_live_requests(bench: Bench) -> None:
    bench.generate = {"params": {"max_tokens": 64, "temperature": {"uniform": [0.1, 0.9]}}}
    bench.run()
    bench.mode = "live"
    bench.run(bench.folder / "live")
    in_batches, live = bench.endpoint.asked[:NUM_ROWS], bench.endpoint.asked[NUM_ROWS:]
    assert sorted(map(orjson.dumps, in_batches)) == sorted(map(orjson.dumps, live))


def test_a_second_run_recalls_all_and_sends_nothing(bench: Bench) -> None:
    bench.run()
    num_requests = len(bench.endpoint.requests)
    assert bench.run().recalled == NUM_ROWS
    assert len(bench.endpoint.requests) == num_requests


@pytest.mark.parametrize("limits", [{"max_requests": 5}, {"max_bytes": 1100}])
def test_files_keep_to_their_limits(bench: Bench, limits: dict[str, int]) -> None:
    bench.generate = {"batch": limits}
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.batches) > 2
    for batch in bench.endpoint.batches:
        file = bench.endpoint.files[batch.input_file_id]
        assert len(file) <= limits.get("max_bytes", 10**9)
        assert file.count(b"\n") <= limits.get("max_requests", 10**9)


def test_a_batch_is_polled_until_it_has_ended(bench: Bench) -> None:
    bench.endpoint.num_polls = 3
    assert bench.run().written == NUM_ROWS
    assert bench.endpoint.batches[0].num_polls == 3


def test_an_interrupted_run_leaves_its_batch_and_the_next_one_collects_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.endpoint.num_polls = 10**6
    stopped = bench.run(during=interrupt_once_out(bench))
    assert (stopped.exit_code, stopped.pending) == (130, NUM_ROWS)
    assert "batch batch_1 at openai_compatible: run the same command again" in caplog.text
    bench.endpoint.num_polls = 1
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.batches) == len(bench.endpoint.files) - 1 == 1


def test_what_is_out_when_a_run_is_interrupted_can_be_exported(bench: Bench) -> None:
    bench.endpoint.num_polls = 10**6
    bench.run(during=interrupt_once_out(bench))
    rows = [orjson.loads(row) for row in openai_batch(bench.out, "pending")]
    assert len({row["custom_id"] for row in rows}) == NUM_ROWS
    assert {row["body"]["model"] for row in rows} == {"scripted-model"}
    segments = sorted((bench.out / "journal").iterdir())
    bench.endpoint.batches[-1].num_polls = 0
    bench.run(during=interrupt_once_out(bench))
    assert sorted((bench.out / "journal").iterdir()) == segments


def test_rows_added_meanwhile_go_into_a_batch_of_their_own(bench: Bench) -> None:
    bench.endpoint.num_polls = 10**6
    bench.run(during=interrupt_once_out(bench))
    bench.endpoint.num_polls = 1
    bench.rows.append({"text": "one more"})
    assert bench.run().written == NUM_ROWS + 1
    sizes = [len(bench.endpoint._lines_of(batch)) for batch in bench.endpoint.batches]
    assert sizes == [NUM_ROWS, 1]


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_what_an_unfinished_batch_has_answered_is_kept_and_the_rest_asked_again(
    bench: Bench, end: Any
) -> None:
    bench.endpoint.end_as, bench.endpoint.num_answered = end, 5
    bench.endpoint.edit_errors = end_next_as_completed(bench)
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.asked) == NUM_ROWS + 7


def test_requests_that_no_batch_answers_fail_after_three_rounds(bench: Bench) -> None:
    bench.endpoint.end_as, bench.endpoint.num_answered = "expired", 0
    summary = bench.run()
    assert (summary.exit_code, summary.failed) == (1, NUM_ROWS)
    assert len(bench.endpoint.batches) == 3
    assert summary.worth_another_try
    bench.endpoint.end_as = "completed"
    assert bench.run().written == NUM_ROWS


def test_a_refused_row_fails_and_one_that_was_turned_away_is_asked_again(bench: Bench) -> None:
    times: Counter[str] = Counter()

    def answer(request: RecordedRequest) -> Reply:
        times[asked(request)] += 1
        if asked(request) == "row 3":
            return error_reply(400, "bad row")
        if asked(request) in ("row 5", "row 6") and times[asked(request)] == 1:
            return error_reply(429 if asked(request) == "row 5" else 500)
        return echo(request)

    bench.endpoint.answer = answer
    summary = bench.run()
    assert (summary.written, summary.failed_by_error) == (NUM_ROWS - 1, {"request_refused": 1})
    assert (times["row 3"], times["row 5"], times["row 6"], times["row 1"]) == (1, 2, 2, 1)


def test_a_used_up_quota_in_an_answer_stops_the_run_with_its_rows_pending(bench: Bench) -> None:
    def answer(request: RecordedRequest) -> Reply:
        if asked(request) < "row 4":  # rows 0 to 3, 10 and 11
            return echo(request)
        return error_reply(429, "no credit", code="insufficient_quota")

    bench.endpoint.answer = answer
    summary = bench.run()
    assert (summary.exit_code, summary.written, summary.pending) == (78, 6, 6)
    assert len(bench.endpoint.batches) == 1
    bench.endpoint.answer = echo
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.asked) == NUM_ROWS + 6


@pytest.mark.parametrize(
    ("path", "reply", "exit_code"),
    [
        ("/files", error_reply(401, "bad key"), 77),
        ("/batches", error_reply(429, "no credit", code="insufficient_quota"), 78),
        ("/files", Reply(status=307, headers={"location": "http://127.0.0.2:1/v1/files"}), 78),
    ],
)
def test_a_refusal_of_the_account_stops_the_run_before_anything_is_bought(
    bench: Bench, path: str, reply: Reply, exit_code: int
) -> None:
    bench.endpoint.intercept = when(path, "POST", [reply])
    summary = bench.run()
    assert (summary.exit_code, summary.pending) == (exit_code, NUM_ROWS)
    assert summary.error is not None
    assert "sk-canary" not in summary.error
    assert not bench.endpoint.batches
    assert bench.run().written == NUM_ROWS  # the file is there, and is not written again
    assert len(bench.endpoint.batches) == 1


CALLS = [("/files", "POST"), ("/batches", "POST"), ("/batches/batch_1", "GET"), ("content", "GET")]
PASSING = [error_reply(503), error_reply(429), Reply(body=b"<html>")]


@pytest.mark.parametrize(
    ("path", "method", "reply"),
    [
        (path, method, reply)
        for path, method in CALLS
        for reply in PASSING
        if path != "content" or reply.status != 200  # a file may hold anything
    ],
)
def test_a_passing_fault_of_the_api_costs_a_retry(
    bench: Bench, path: str, method: str, reply: Reply
) -> None:
    bench.endpoint.intercept = when(path, method, [reply])
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.batches) == 1


def test_a_download_that_is_cut_is_begun_anew(bench: Bench) -> None:
    def cut(request: RecordedRequest) -> Reply | None:
        if request.path.endswith("/content"):
            bench.endpoint.intercept = lambda request: None
            file_id = request.path.split("/")[-2]
            return Reply(body=bench.endpoint.files[file_id], cut_after=700)
        return None

    bench.endpoint.intercept = cut
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.asked) == NUM_ROWS


def test_a_creation_whose_answer_was_lost_is_found_and_not_bought_twice(bench: Bench) -> None:
    def lose(request: RecordedRequest) -> Reply | None:
        if request.method == "POST" and request.path.endswith("/batches"):
            return replace(bench.endpoint.create(request), cut_after=10, reset=True)
        return None

    bench.endpoint.intercept = lose
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.batches) == 1


def test_a_lost_creation_is_found_behind_pages_of_others(bench: Bench) -> None:
    def lose(request: RecordedRequest) -> Reply | None:
        if request.method == "POST" and request.path.endswith("/batches"):
            created = bench.endpoint.create(request)
            ours = bench.endpoint.batches[0]
            bench.endpoint.batches += [
                replace(ours, id=f"other_{number}", metadata={}) for number in range(50)
            ]
            return replace(created, cut_after=0, reset=True)
        return None

    bench.endpoint.intercept = lose
    assert bench.run().written == NUM_ROWS
    assert sum(each.path.endswith("/batches") for each in bench.endpoint.requests) == 1


def test_answers_are_told_apart_whatever_the_file_looks_like(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def maul(lines: list[bytes]) -> list[bytes]:
        bench.endpoint.edit_output = lambda lines: lines
        foreign = orjson.dumps({"custom_id": "nobody", "response": None}) + b"\n"
        twice = orjson.dumps(
            {**orjson.loads(lines[2]), "response": {"status_code": 400, "body": {"error": "x"}}}
        )
        rest = [lines[2], lines[0], *lines[3:-1]]
        return [b"\xef\xbb\xbf", *rest, foreign, b"\n", twice + b"\n", lines[-1][:40]]

    bench.endpoint.edit_output = maul  # row 1 is missing, and the last is torn
    assert bench.run().written == NUM_ROWS
    assert "1 lines unreadable, 1 lines of nobody here, 1 lines repeated" in caplog.text
    assert [body["messages"][0]["content"] for body in bench.endpoint.asked[NUM_ROWS:]] == [
        "row 1",
        "row 11",
    ]
    assert bench.written() == [f"row {number}" for number in range(NUM_ROWS)]


def test_a_line_that_breaks_its_reader_costs_its_row_and_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = OpenAIBatchApi.response_in

    def response_in(api: OpenAIBatchApi, line: bytes, request: Request) -> Response:
        if b"row 3" in line:
            raise TypeError("Recursion limit reached")
        return read(api, line, request)

    monkeypatch.setattr(OpenAIBatchApi, "response_in", response_in)
    summary = bench.run()
    assert (summary.written, summary.failed) == (NUM_ROWS - 1, 1)


def test_a_line_for_which_a_file_is_refused_costs_its_row_only_and_is_named(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.endpoint.end_as = "failed"
    bench.endpoint.faults = [{"code": "invalid_value", "line": 3, "message": "no such field"}]

    def watch(request: RecordedRequest) -> Reply | None:
        if request.method == "POST" and request.path.endswith("/batches"):
            bench.endpoint.end_as = "completed" if bench.endpoint.batches else "failed"
        return None

    bench.endpoint.intercept = watch
    summary = bench.run()
    assert (summary.written, summary.failed) == (NUM_ROWS - 1, 1)
    assert "seeds.jsonl:3: HTTP 400" in caplog.text
    assert "no such field" in caplog.text


@pytest.mark.parametrize(
    ("code", "num_batches", "exit_code"),
    [("invalid_file_format", 1, 65), ("token_limit_exceeded", 3, 75)],
)
def test_a_refusal_of_the_whole_file_stops_the_run(
    bench: Bench, code: str, num_batches: int, exit_code: int
) -> None:
    bench.endpoint.end_as = "failed"
    bench.endpoint.faults = [{"code": code, "line": None, "message": "not today"}]
    summary = bench.run()
    assert (summary.exit_code, summary.pending) == (exit_code, NUM_ROWS)
    assert "not today" in (summary.error or "")
    assert len(bench.endpoint.batches) == num_batches


def test_no_more_is_sent_than_the_budget_bears_at_worst(bench: Bench) -> None:
    worst = len("row 0") + 8 + 64
    bench.budget = {"tokens": 5 * worst}
    summary = bench.run()
    assert (summary.exit_code, summary.written, summary.pending) == (1, 5, NUM_ROWS - 5)
    assert len(bench.endpoint.asked) == 5
    bench.budget = {"tokens": 100 * worst}
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.asked) == NUM_ROWS


def test_a_batch_that_is_out_counts_against_the_budget_of_the_next_run(bench: Bench) -> None:
    bench.rows = [{"text": f"row {number}"} for number in range(8)]
    worst = len("row 0") + 8 + 64
    bench.budget = {"tokens": 9 * worst}
    bench.endpoint.num_polls = 10**6
    bench.run(during=interrupt_once_out(bench))
    bench.rows += [{"text": f"new {number}"} for number in range(5)]
    bench.endpoint.num_polls = 1
    assert bench.run().written == 9


def test_a_recipe_that_asks_something_else_does_not_lose_a_batch_that_is_out(bench: Bench) -> None:
    bench.endpoint.num_polls = 10**6
    bench.run(during=interrupt_once_out(bench))
    bench.endpoint.num_polls = 1
    bench.generate = {"params": {"max_tokens": 32}}
    with pytest.raises(RunFolderError, match="batch batch_1 is out"):
        bench.run()
    summary = bench.run(accept_changes=True)
    assert summary.written == NUM_ROWS
    assert {body["max_tokens"] for body in bench.endpoint.asked[NUM_ROWS:]} == {32}


def test_a_provider_without_a_batch_api_is_refused_before_anything_is_asked(bench: Bench) -> None:
    bench.generate = {"mix": [{"endpoint": "simulated", "mode": "batch"}]}
    with pytest.raises(RecipeError, match="provider 'simulated' has no batch API"):
        bench.run()


def test_a_mix_asks_its_live_endpoint_live_and_the_other_in_a_batch(bench: Bench) -> None:
    bench.generate = {
        "mix": [
            {"endpoint": "openai_compatible", "model": "scripted-model", "mode": "batch"},
            {"endpoint": "openai_compatible", "model": "other-model"},
        ]
    }
    assert bench.run().written == NUM_ROWS
    rows = read_rows(bench.out / "samples.jsonl")
    live = [r for r in bench.endpoint.requests if r.path.endswith("/chat/completions")]
    assert {r.body["model"] for r in live} == {"other-model"}
    assert 0 < len(live) < NUM_ROWS
    assert len(rows) == len({row["sample_id"] for row in rows}) == NUM_ROWS


def test_files_of_a_batch_are_nobody_elses_to_read(bench: Bench) -> None:
    bench.run()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (bench.out / "batches").iterdir()}
    assert set(modes) == {"ledger.jsonl", "0001.requests.jsonl", "0001.answers-1.jsonl"}
    assert set(modes.values()) == {0o600}


def test_a_batch_that_the_provider_has_lost_stops_the_run(bench: Bench) -> None:
    bench.endpoint.intercept = when("/batches", "POST", [json_reply({"id": "batch_x"})])
    summary = bench.run()
    assert (summary.exit_code, summary.pending) == (78, NUM_ROWS)
    assert "no batch batch_x" in (summary.error or "")
    assert "--accept-changes" in (summary.error or "")
    assert bench.run().pending == NUM_ROWS
    assert not bench.endpoint.batches
    assert bench.run(accept_changes=True).written == NUM_ROWS


def test_what_was_accepted_of_a_lost_batch_does_not_hold_for_those_that_are_lost_later(
    bench: Bench,
) -> None:
    bench.generate = {
        "mix": [
            {"endpoint": "openai_compatible", "model": "scripted-model", "mode": "batch"},
            {"endpoint": "openai_compatible", "model": "other-model"},
        ]
    }
    gone = error_reply(404, "no such batch")
    bench.endpoint.intercept = lambda request: gone if "/batches/" in request.path else None
    for num_bought in (1, 2):
        summary = bench.run(accept_changes=True)
        assert summary.exit_code == 78
        assert "no such batch" in (summary.error or "")
        assert len(bench.endpoint.batches) == num_bought, "once for each time it was accepted"
    assert not [r for r in bench.endpoint.requests if r.path.endswith("/chat/completions")]


def test_a_field_that_is_refused_in_a_batch_is_left_out_of_the_next(bench: Bench) -> None:
    def answer(request: RecordedRequest) -> Reply:
        if "seed" in request.body:
            return json_reply(
                {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}, 400
            )
        return echo(request)

    bench.endpoint.answer = answer
    summary = bench.run()
    assert summary.written == NUM_ROWS
    assert summary.endpoints["openai_compatible"].answered == NUM_ROWS
    assert ["seed" in body for body in bench.endpoint.asked] == NUM_ROWS * [True] + NUM_ROWS * [
        False
    ]


def test_an_accept_target_takes_what_it_needs_from_the_batch(bench: Bench) -> None:
    bench.accept = 5
    summary = bench.run()
    assert (summary.status, summary.written) == ("complete", 5)
    assert len(bench.endpoint.batches) == 1


def test_the_sdk_provider_asks_in_batches_too(bench: Bench) -> None:
    name = "providers.openai_sdk:OpenAISdkProvider"
    bench.generate = {"mix": [{"endpoint": name, "model": "scripted-model", "mode": "batch"}]}
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.batches) == 1
    keys = {request.headers["authorization"] for request in bench.endpoint.requests}
    assert keys == {"Bearer sk-canary-0123456789"}


def test_a_variable_of_the_environment_sets_the_mode(bench: Bench) -> None:
    bench.mode = "live"
    bench.environment = {"WEAVE_ASYNC_MODE": "batch"}
    assert bench.run().written == NUM_ROWS
    assert len(bench.endpoint.batches) == 1


def test_the_key_is_in_no_file_and_in_no_error(bench: Bench) -> None:
    bench.endpoint.intercept = when("/batches", "POST", [error_reply(403, "sk-canary-0123456789")])
    assert "canary" not in (bench.run().error or "")
    bench.run()
    check_secret_is_in_no_file(bench.out, "canary")
