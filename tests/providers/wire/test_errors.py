"""Errors of every shape, classed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.text import shown
from weave_async.errors import (
    AuthenticationError,
    ContentFilterError,
    ContextLengthError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
)
from wire_shapes import ANY_JSON, ERRORS, KEY, reply_error


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": {"message": "bad"}}, RequestRefusedError),
        (400, {"error": {"code": "context_length_exceeded"}}, ContextLengthError),
        (400, {"error": {"type": "exceed_context_size_error"}}, ContextLengthError),
        (
            400,
            {"object": "error", "message": "This model's maximum context length is 4096 tokens."},
            ContextLengthError,
        ),
        (500, {"error": {"message": "Context size has been exceeded."}}, ContextLengthError),
        (
            400,
            {"error": {"code": "BadRequest", "innererror": {"code": "content_filter"}}},
            ContentFilterError,
        ),
        (401, {"error": {"code": "invalid_api_key"}}, AuthenticationError),
        (402, b"", QuotaError),
        (403, b"<html><title>Denied</title>", AuthenticationError),
        (403, {"error": {"code": 403, "metadata": {"flagged_input": "x"}}}, ContentFilterError),
        (404, {"detail": "Not Found"}, ModelNotFoundError),
        (408, b"", ServerError),
        (409, b"", ServerError),
        (413, b"<html><title>Too large</title>", RequestRefusedError),
        (418, b"", RequestRefusedError),
        (422, {"detail": [{"loc": ["body"], "msg": "extra_forbidden"}]}, RequestRefusedError),
        (429, b"", RateLimitError),
        (429, {"error": {"code": "insufficient_quota"}}, QuotaError),
        (429, {"error": {"type": "insufficient_quota", "code": None}}, QuotaError),
        (429, {"error": {"message": "you exceeded your insufficient_quota"}}, RateLimitError),
        (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}], RateLimitError),
        (503, {"error": {"message": "Loading model"}}, ServerError),
        (529, {"type": "error", "error": {"type": "overloaded_error"}}, ServerError),
        (599, b"\xff\x00", ServerError),
        (307, b"", ModelNotFoundError),
    ],
)
def test_errors_are_classed_by_code_then_status(
    status: int, body: Any, kind: type[ProviderError]
) -> None:
    error = reply_error(status, body)
    assert type(error) is kind
    assert error.status_code == status


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "in error"}}, "in error"),
        ({"object": "error", "message": "at the top"}, "at the top"),
        ({"message": {"detail": [{"msg": "in a nested message"}]}}, "in a nested message"),
        ({"detail": "in detail"}, "in detail"),
        ({"detail": [{"loc": ["body"], "msg": "in a list"}]}, "in a list"),
        ([{"error": {"message": "in a list of errors"}}], "in a list of errors"),
        ({"error": "as a string", "error_type": "overloaded"}, "as a string"),
        (b"plain text", "plain text"),
        (b"<!DOCTYPE html><title>502 Bad Gateway</title><p>" + b"x" * 9_999, "502 Bad Gateway"),
    ],
)
def test_words_of_the_server_are_shown(body: Any, text: str) -> None:
    shown_text = str(reply_error(500, body))
    assert text in shown_text
    assert "xxxx" not in shown_text


@given(st.integers(300, 599), ANY_JSON)
def test_no_error_body_breaks_the_error_reader(status: int, document: Any) -> None:
    str(reply_error(status, document)).encode()


@given(st.integers(300, 599), st.binary())
def test_no_bytes_break_the_error_reader(status: int, body: bytes) -> None:
    str(reply_error(status, body)).encode()


def test_error_nested_without_end_is_survived() -> None:
    body = b'{"error":' * 900 + b"{}" + b"}" * 900
    assert isinstance(reply_error(500, body), ServerError)


def test_key_is_in_no_error() -> None:
    long = "x" * 1_995 + KEY
    for text in (f"Incorrect key: {KEY}", f"Bearer {KEY[:14]}", long, f"sk-other-{'9' * 20}"):
        message = str(reply_error(401, {"error": {"message": text}}))
        assert "canary" not in message
        assert "sk-" not in message
        assert "WEAVE_ASYNC_API_KEY" in message
    assert KEY not in repr(ERRORS)


def test_error_text_is_short_and_printable() -> None:
    text = shown("\x1b[31mred\x07\u202e" + "y" * 9_999)
    assert len(text) == 2_000
    assert text.startswith("[31mred y")


def test_redirect_shows_where_to_without_query_or_user() -> None:
    location = "https://user:pw@other.example/v1?token=secret"
    text = str(reply_error(302, b"", {"location": location}))
    assert "other.example/v1" in text
    assert "secret" not in text
    assert "pw" not in text
