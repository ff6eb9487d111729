"""``weave-async review`` from its start to its end, and through kills."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.conftest import Program, weave_async  # noqa: F401 - a fixture
from export.made_runs import changed, make_run, row
from weave_async.review_log import ReviewLog

from .serving import Browser, serving


def run_of(folder: Path, num: int = 40) -> Path:
    return make_run(folder, [row(f"{number:02d}-0", f"answer {number}") for number in range(num)])


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "review.jsonl").read_text().splitlines()]


def test_decisions_of_a_session_are_in_the_file(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    with serving(run, "-r", "ana", "-n", "5") as server, Browser(server.links[0]) as browser:
        assert browser.decide("accept").json() == {"next": "/"}
        assert browser.decide("reject", reason=" off topic ").status_code == 200
        assert browser.decide("accept", edited="A better answer.").status_code == 200
        assert browser.decide("skip").status_code == 200
        page = browser.client.get("/").text
        assert "3 of 5 reviewed" in page
        undone = browser.post("/undo", {}).json()["next"]
        assert "You have skipped" not in browser.client.get(undone).text
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0
    told = [(line["decision"], line.get("reason"), line.get("edited")) for line in lines_of(run)]
    assert told == [
        ("accept", None, None),
        ("reject", "off topic", None),
        ("accept", None, "A better answer."),
        ("skip", None, None),
        ("undo", None, None),
    ]
    assert {line["reviewer"] for line in lines_of(run)} == {"ana"}


def test_what_is_no_decision_is_told_and_not_written(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    with serving(run) as server, Browser(server.links[0]) as browser:
        refused = [
            (browser.decide("reject"), "Say why"),
            (browser.decide("reject", reason="x" * 301), "at most 300 characters"),
            (browser.decide("maybe"), "'maybe' is none of accept, reject, skip"),
            (browser.decide("accept", edited=" \n"), "reject the row instead"),
            (browser.decide("skip", edited="new"), "to be accepted"),
            (browser.post("/verdict", {"sample_id": "a"}), "text_sha256: Field required"),
            (browser.post("/verdict", []), "That is no decision"),
            (browser.decide("accept", text_sha256="00"), "load the page anew"),
            (browser.decide("accept", sample_id="none"), "load the page anew"),
            (browser.post("/undo", {}), "nothing to take back"),
        ]
        for answer, why in refused:
            assert (answer.status_code, why in answer.text) == (422, True), answer.text
        body = b'{"sample_id": "\xff'
        headers = {"Origin": browser.origin, "Content-Type": "application/json"}
        assert browser.client.post("/verdict", content=body, headers=headers).status_code == 422
    assert lines_of(run) == []


def test_a_completion_that_was_not_changed_is_no_edit(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [row("a-0", "two\r\nlines")])
    with serving(run) as server, Browser(server.links[0]) as browser:
        browser.decide("accept", edited="two\nlines")
    assert [line["edited"] for line in lines_of(run)] == [None]


def test_the_page_ends_when_the_planned_rows_are_decided_and_may_go_on(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", 3)
    with serving(run, "-n", "2") as server, Browser(server.links[0]) as browser:
        browser.decide("accept")
        browser.decide("accept")
        assert browser.row() is None
        more = browser.client.get("/?more=1").text
        assert "data-sample-id" in more
        assert "2 of 2 reviewed" in more


def test_each_reviewer_has_a_link_that_works_once_and_a_new_one_comes(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    with serving(run, "-r", "ana", "-r", "ben", num_reviewers=2) as server:
        with Browser(server.links[1]) as ben, Browser(server.links[0]) as ana:
            assert "You are <strong>ben</strong>" in ben.client.get("/").text
            assert "You are <strong>ana</strong>" in ana.client.get("/").text
            assert ana.client.get(server.links[0]).status_code == 200  # their own, loaded again
            assert httpx.get(server.links[0]).status_code == 401
            with Browser(server.next_link()) as again:
                assert "You are <strong>ben</strong>" in again.client.get("/").text


def test_noise_is_marked_and_control_characters_are_told(tmp_path: Path) -> None:
    noisy = row(
        "a-0",
        "left\u202eright",
        ask="Why <b>nto</b>?",
        noise=[changed(0, 8, "o", "to")],
    )
    noisy["messages"][0]["content"] = "Why <b>nto</b>?"
    run = make_run(tmp_path / "run", [noisy])
    with serving(run) as server, Browser(server.links[0]) as browser:
        page = browser.client.get("/").text
    assert "&lt;b&gt;" in page
    assert "<b>nto" not in page
    assert "<del>o</del><ins>to</ins>" in page
    assert '<div class="text" dir="auto">left⟦U+202E⟧right</div>' in page
    assert "\nleft\u202eright</textarea>" in page  # what is edited is what is there


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_server_loses_no_verdict(tmp_path: Path, seed: int) -> None:
    run = run_of(tmp_path / "run", 200)
    acknowledged: list[str] = []
    for round_ in range(2):
        with serving(run, "-r", "ana", "-n", "200") as server:
            kill = threading.Timer(
                0.1 + random.Random(seed * 2 + round_).random() * 0.3,
                os.kill,
                (server.process.pid, signal.SIGKILL),
            )
            with Browser(server.links[0]) as browser:
                kill.start()
                with pytest.raises((httpx.HTTPError, AssertionError)):
                    while shown := browser.row():
                        assert browser.decide("accept").status_code == 200
                        acknowledged.append(shown[0])
    assert len(set(acknowledged)) == len(acknowledged) > 2
    standing = ReviewLog.read(run / "review.jsonl").standing
    durable = {sample_id for _, sample_id in standing}
    assert set(acknowledged) <= durable
    assert len(durable) - len(acknowledged) <= 2  # on the disk, and the answer was cut off


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["missing"], 73, "missing holds no run"),
        (["run", "--host", "0.0.0.0"], 2, "no address that a browser could ask for"),
        (["run", "--host", "10.1.2.3"], 2, "add --i-know if that is meant"),
        (["run", "--host", "example.org"], 2, "--host is an address of this machine"),
        (["run", "-r", "ana", "-r", "ana"], 2, "names somebody twice"),
        (["run", "-r", "a\x1b[2J"], 2, "--reviewer is a name"),
        (["run", "--of", "rejected"], 2, "has no rows to review"),
        (["unfinished"], 73, "has published nothing yet"),
    ],
)
def test_what_cannot_be_is_told(
    tmp_path: Path,
    weave_async: Program,  # noqa: F811
    arguments: list[str],
    code: int,
    why: str,
) -> None:
    run_of(tmp_path / "run")
    (tmp_path / "unfinished" / "journal").mkdir(parents=True)
    outcome = weave_async("review", *arguments)
    assert (outcome.exit_code, outcome.out) == (code, "")
    assert why in outcome.err


def test_a_second_server_and_a_taken_port_are_told(
    tmp_path: Path,
    weave_async: Program,  # noqa: F811
) -> None:
    run, other = run_of(tmp_path / "run"), run_of(tmp_path / "other")
    with serving(run) as server:
        outcome = weave_async("review", str(run))
        assert outcome.exit_code == 75
        assert "--reviewer once for each person" in outcome.err
        port = server.host.rpartition(":")[2]
        outcome = weave_async("review", str(other), "--port", port)
        assert outcome.exit_code == 73
        assert f"cannot listen on 127.0.0.1:{port}" in outcome.err


def reviewed_run(folder: Path) -> Path:
    run = run_of(folder, 12)
    with serving(run, "-r", "ana", "-n", "12") as server, Browser(server.links[0]) as browser:
        for number in range(12):
            answer = {"decision": "accept"} if number % 3 else {"decision": "reject"}
            assert browser.decide(**answer, reason="wrong").status_code == 200
    return run


def test_figures_are_printed_without_a_server(
    tmp_path: Path,
    weave_async: Program,  # noqa: F811
) -> None:
    run = reviewed_run(tmp_path / "run")
    told = weave_async("review", str(run), "--results")
    assert told.exit_code == 0
    assert "written rows with a defect: 33.3 % (33.3 % to 33.3 %), by 12 of 12 rows" in told.out
    assert "ana: 8 accept, 4 reject" in told.out
    figures = weave_async("review", str(run), "--results", "--json").json
    assert figures["reasons"] == {"wrong": 4}
    assert figures["defects"]["defective"]["hits"] == 4
    calibrated = weave_async("review", str(run), "--calibrate")
    assert "12 rows decided by 1 person; 4 of them are to be rejected or edited" in calibrated.out
    assert weave_async("review", str(run), "--calibrate", "--json").json["bad"] == 4


def test_figures_of_what_nobody_has_reviewed_are_told_to_be_none(
    tmp_path: Path,
    weave_async: Program,  # noqa: F811
) -> None:
    run_of(tmp_path / "run")
    outcome = weave_async("review", "run", "--calibrate")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert "nobody has reviewed run yet" in outcome.err


def test_an_edit_is_in_the_export(
    tmp_path: Path,
    weave_async: Program,  # noqa: F811
) -> None:
    run = run_of(tmp_path / "run", 3)
    with serving(run, "-r", "ana") as server, Browser(server.links[0]) as browser:
        first = browser.row()
        browser.decide("accept", edited="As a person would have it.")
        browser.decide("reject", reason="wrong")
    assert first is not None
    exported = weave_async("export", str(run)).out.splitlines()
    rows = {row["sample_id"]: row["messages"][-1]["content"] for row in map(json.loads, exported)}
    assert len(rows) == 2
    assert rows[first[0]] == "As a person would have it."
