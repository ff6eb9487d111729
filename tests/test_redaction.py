"""A secret is found by its value, however it is written."""

from __future__ import annotations

import html
import json
from urllib.parse import quote

import pytest

from weave_async.records import Response, ToolCall
from weave_async.redaction import Redaction

SECRET = "k3y/with+odd=chars'q&<>%41\\~\"end"
SPELLINGS = {
    "plain": SECRET,
    "json": json.dumps(SECRET),
    "repr": repr(SECRET),
    "bytes": repr(f"Bearer {SECRET}".encode()),
    "url": f"http://x.example/{quote(SECRET)}",
    "query": f"http://x.example/?key={quote(SECRET, safe='')}",
    "html": f"<p>{html.escape(SECRET)}</p>",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_secret_is_taken_out_however_it_is_written(name: str) -> None:
    redacted = Redaction(SECRET).text(f"before {SPELLINGS[name]} after {SPELLINGS[name]}")
    assert "with" not in redacted
    assert redacted.startswith("before ")
    assert redacted.count("***") == 2


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_nothing_changes(secret: str | None) -> None:
    redaction = Redaction(secret)
    response = Response("any text", "stop")
    assert redaction.text("any text") == "any text"
    assert redaction.response(response) is response


def test_every_field_of_an_answer_is_looked_through() -> None:
    calls = (ToolCall("1", "f", json.dumps({"key": "x" * 30})),)
    secret = "x" * 30
    for response in (
        Response(f"a {secret}", "stop"),
        Response("a", "stop", reasoning=secret),
        Response("a", "stop", model=secret),
        Response("a", "stop", raw_finish_reason=secret),
        Response("a", "stop", tool_calls=calls),
        Response("a", "stop", others=(Response(secret, "stop"),)),
    ):
        redacted = Redaction(secret).response(response)
        assert secret not in repr(redacted)
        assert "***" in repr(redacted)


def test_an_answer_without_the_secret_is_left_alone() -> None:
    response = Response("nothing of it", "stop", model="m")
    assert Redaction(SECRET).response(response) is response


def test_a_stand_in_for_a_key_is_a_word_in_an_answer_and_a_key_elsewhere() -> None:
    response = Response("run it with ollama", "stop", model="ollama/llama")
    assert Redaction("ollama").response(response) is response
    assert Redaction("ollama").text("Bearer ollama") == "Bearer ***"


def test_a_redaction_does_not_show_what_it_hides() -> None:
    assert SECRET not in repr(Redaction(SECRET))
