"""P12: what a changed recipe, source or endpoint costs when a run is continued."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from invariants import frames
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_completion,
    json_reply,
)

from .site import Site

NUM_ROWS, NUM_TRUNCATED = 20, 4
Change = Callable[[Site], None]


def with_some_truncated(request: RecordedRequest) -> Reply:
    """Answers one prompt in five up to ``max_tokens``, and cuts it there."""
    prompt = request.body["messages"][-1]["content"]
    # By content, not by order of arrival: prompts differ between the cases.
    is_long = int(re.sub(r"\D", "", prompt) or 0) % (NUM_ROWS // NUM_TRUNCATED) == 0
    document = chat_completion(f"An answer to {prompt} of some length")
    if is_long:
        document["choices"][0]["finish_reason"] = "length"
        document["usage"]["completion_tokens"] = request.body["max_tokens"]
    return json_reply(document)


@pytest.fixture
def finished(site: Site) -> Site:
    """A site with a whole run, that ``NUM_TRUNCATED`` answers of were cut short."""
    site.answer = with_some_truncated
    site.write_rows(NUM_ROWS)
    first = site.call()
    assert first.exit_code == 0, first.err
    assert len(first.asked) == NUM_ROWS
    site.asks_alike = False  # what is asked again is what these tests are about
    return site


def texts(numbers: range) -> list[str]:
    return [f"row {i}" for i in numbers]


def generate(**changes: Any) -> Change:
    def change(site: Site) -> None:
        site.recipe["generate"] = {**site.recipe["generate"], **changes}

    return change


def max_tokens(number: int) -> Change:
    return generate(params={"max_tokens": number})


def stage(key: str, *parts: Any) -> Change:
    def change(site: Site) -> None:
        site.recipe[key] = list(parts)

    return change


def template(text: str) -> Change:
    def change(site: Site) -> None:
        site.recipe["prompts"]["template"] = text

    return change


def rows(which: list[str]) -> Change:
    return lambda site: site.write_rows(which)


def environment(name: str, value: str) -> Change:
    def change(site: Site) -> None:
        site.environment[name] = value

    return change


SAME_KIND = [
    ("nothing", lambda site: None, 0),
    ("rows_added", rows(texts(range(NUM_ROWS + 5))), 5),
    ("rows_reordered", rows(texts(range(NUM_ROWS))[::-1]), 0),
    ("rows_removed", rows(texts(range(3, NUM_ROWS))), 0),
    ("one_row_edited", rows(["another row 1", *texts(range(1, NUM_ROWS))]), 1),
    ("a_row_twice", rows([*texts(range(NUM_ROWS)), "row 3"]), 1),
    ("validator_added", stage("validation", {"length": {"min_words": 6}}), 0),
    ("validator_that_refuses_most", stage("validation", {"required": {"any": ["row 7"]}}), 0),
    ("selector_added", stage("selection", "exact"), 0),
    ("noise_added", stage("noise", {"typos": {"rate": 0.1}}), 0),
    ("limits_changed", environment("WEAVE_ASYNC_RPM", "6000"), 0),
    ("concurrency_changed", environment("WEAVE_ASYNC_MAX_CONCURRENCY", "3"), 0),
    ("timeout_changed", environment("WEAVE_ASYNC_TIMEOUT_S", "9"), 0),
    ("attempts_changed", generate(attempts=2), 0),
]
"""Changes that need no consent, and the requests that they cost."""

OTHER_QUESTIONS = [
    ("template", template("Again: {{ text }}"), NUM_ROWS, "template"),
    (
        "model",
        generate(mix=[{"endpoint": "openai_compatible", "model": "other"}]),
        NUM_ROWS,
        "mix",
    ),
    ("temperature", generate(params={"max_tokens": 64, "temperature": 0.5}), NUM_ROWS, "temp"),
    ("max_tokens_raised", max_tokens(128), NUM_TRUNCATED, "max_tokens"),
]
"""Changes of what is asked: they need ``--accept-changes``, and cost so many requests."""


@pytest.mark.parametrize(
    ("change", "num_asked"),
    [case[1:] for case in SAME_KIND],
    ids=[case[0] for case in SAME_KIND],
)
def test_what_asks_nothing_else_costs_only_what_is_new(
    finished: Site, change: Change, num_asked: int
) -> None:
    change(finished)
    ended = finished.call()
    assert ended.exit_code == 0, ended.err
    assert len(ended.asked) == num_asked


@pytest.mark.parametrize(
    ("change", "num_asked", "named"),
    [case[1:] for case in OTHER_QUESTIONS],
    ids=[case[0] for case in OTHER_QUESTIONS],
)
def test_other_questions_are_asked_after_consent_to_their_cost(
    finished: Site, change: Change, num_asked: int, named: str
) -> None:
    before = finished.outputs()
    change(finished)
    refused = finished.call()
    assert refused.exit_code == 73
    assert refused.asked == ()
    assert finished.outputs() == before
    max_tokens = finished.recipe["generate"]["params"]["max_tokens"]
    assert f"{NUM_ROWS - num_asked} of the {NUM_ROWS} samples would be recalled" in refused.err
    assert f"{num_asked} asked for" in refused.err
    assert f"{num_asked * max_tokens:,} output tokens" in refused.err
    assert named in refused.err
    assert "--accept-changes" in refused.err
    accepted = finished.call("--accept-changes")
    assert accepted.exit_code == 0, accepted.err
    assert len(accepted.asked) == num_asked
    asked_before = set(finished.ended[0].asked)
    if num_asked < NUM_ROWS:
        assert set(accepted.asked) < asked_before


def test_a_changed_mind_is_free_as_the_first_answers_are_still_there(finished: Site) -> None:
    before = finished.outputs()
    original = finished.recipe["generate"]
    generate(params={"max_tokens": 64, "temperature": 0.5})(finished)
    assert len(finished.call("--accept-changes").asked) == NUM_ROWS
    finished.recipe["generate"] = original
    back = finished.call("--accept-changes")
    assert back.exit_code == 0, back.err
    assert back.asked == ()
    assert finished.outputs() == before


def test_another_key_and_another_address_cost_nothing(finished: Site) -> None:
    before = finished.outputs()
    with ScriptedEndpoint() as elsewhere:
        finished.environment["WEAVE_ASYNC_BASE_URL"] = elsewhere.base_url
        ended = finished.call()
        assert ended.exit_code == 0, ended.err
        assert elsewhere.requests == []
    assert finished.outputs() == before


def test_max_tokens_lowered_asks_again_for_what_was_longer_or_cut(finished: Site) -> None:
    """An answer that ended by itself, well below the new bound, is the same under it."""
    max_tokens(32)(finished)
    ended = finished.call("--accept-changes")
    assert ended.exit_code == 0, ended.err
    assert len(ended.asked) == NUM_TRUNCATED


def test_a_journal_of_a_newer_version_is_left_alone(finished: Site) -> None:
    segment = first_segment(finished.out)
    opening = next(frames(finished.out))
    written = segment.read_bytes()
    newer = framed({**opening, "format_version": 99}) + written
    segment.write_bytes(newer)
    ended = finished.call()
    assert ended.exit_code == 73
    assert "newer weave-async" in ended.err
    assert ended.asked == ()
    assert segment.read_bytes() == newer
    segment.write_bytes(written)


def test_a_journal_of_the_first_version_is_read(finished: Site) -> None:
    """Written here by hand, as the first version wrote it: no calls, no epoch, no max_tokens."""
    opening, *rest = frames(finished.out)
    old = [{"kind": "open", "format_version": 1, "asks": opening["asks"]}]
    old += [
        {key: frame[key] for key in ("kind", "request_id", "sample_id", "endpoint", "response")}
        for frame in rest
        if frame["kind"] == "answer"
    ]
    shutil.rmtree(finished.out / "journal")
    (finished.out / "journal").mkdir()
    (finished.out / "journal" / "000001.log").write_bytes(b"".join(map(framed, old)))
    before = finished.outputs()
    ended = finished.call()
    assert ended.exit_code == 0, ended.err
    assert ended.asked == ()
    assert finished.outputs() == before


def first_segment(folder: Path) -> Path:
    return min(folder.glob("journal/*.log"))


def framed(record: dict[str, Any]) -> bytes:
    body = json.dumps(record).encode()
    return b"%08x %08x %s\n" % (len(body), crc32(body), body)
