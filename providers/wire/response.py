"""A whole answer as a ``Response``, and a list of models as their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weave_async.errors import ServerError
from weave_async.records import FinishReason, RateLimits, Response, Usage

from .errors import ErrorReader, holds_error
from .fields import (
    THINKING_MAY_START,
    ThinkSplitter,
    content_and_reasoning,
    finish_reason_of,
    first_choice,
    mapping,
    raw_finish_reason,
    usage_of,
    whole_choices,
)
from .text import as_json, encodable, parse_json, string
from .tool_calls import tool_calls_of


def parse_response(
    body: bytes | memoryview,
    url: str,
    errors: ErrorReader,
    *,
    e2e_s: float | None = None,
    limits: RateLimits | None = None,
    num_choices: int = 1,
) -> Response:
    """Normalise the body of a 200; raise the ``ProviderError`` that it is when it is no answer."""
    document = parse_answer(body, url, errors)
    return response_of(document, url, errors, e2e_s=e2e_s, limits=limits, num_choices=num_choices)


def response_of(
    document: Mapping[str, Any],
    url: str,
    errors: ErrorReader,
    *,
    e2e_s: float | None = None,
    limits: RateLimits | None = None,
    num_choices: int = 1,
) -> Response:
    """The answer in a document that is no error; raises where there is none in it after all.

    Of several choices, ``num_choices`` at most are lifted, in the order of their indices. A choice
    that broke down is left out as long as another did not: those were paid for.
    """
    choice = first_choice(document)
    if choice is None:
        raise errors.bad_response(url, "answered without any choice", as_json(document))
    others: tuple[Response, ...] = ()
    if num_choices > 1:
        choice, *rest = whole_choices(document, num_choices)
        others = tuple(_response(document, c, url, Usage(), e2e_s, None, ()) for c in rest)
    usage = usage_of(document) or Usage()
    return _response(document, choice, url, usage, e2e_s, limits, others)


def _response(
    document: Mapping[str, Any],
    choice: Mapping[str, Any],
    url: str,
    usage: Usage,
    e2e_s: float | None,
    limits: RateLimits | None,
    others: tuple[Response, ...],
) -> Response:
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice.get("text")}
    raw_reason = raw_finish_reason(choice)
    text, reasoning = split_thinking(*content_and_reasoning(message))
    has_calls = message.get("tool_calls") or message.get("function_call")
    return Response(
        text=text,
        finish_reason=checked_finish_reason(raw_reason, message, url),
        raw_finish_reason=raw_reason,
        reasoning=reasoning,
        usage=usage,
        model=string(document.get("model")) or None,
        e2e_s=e2e_s,
        rate_limits=limits,
        tool_calls=tool_calls_of(message) if has_calls else (),
        others=others,
    )


def parse_answer(body: bytes | memoryview, url: str, errors: ErrorReader) -> Mapping[str, Any]:
    """The JSON object in the body of a 200, after raising what is an error in disguise."""
    try:
        document = parse_json(body)
    except ValueError as exc:
        fault = "answered with something that is not JSON" if body else "answered with nothing"
        raise errors.bad_response(url, fault, body) from exc
    if isinstance(document, list) and document:
        document = document[0]  # Gemini wraps its errors in a list
    if not isinstance(document, dict):
        raise errors.bad_response(url, "answered with JSON that is not an object", body)
    if holds_error(document):
        raise errors.from_document(document, url)
    return document


def checked_finish_reason(raw: str | None, message: Mapping[str, Any], url: str) -> FinishReason:
    """Why generation ended. Raises ``ServerError`` when the endpoint says that it broke down.

    Tool calls and a refusal outrank the word beside them: Gemini says "stop" for both.
    """
    reason = finish_reason_of(raw)
    if reason == "error":
        raise ServerError(f"{url} ended the generation with {raw!r}", status_code=200)
    if message.get("tool_calls") or message.get("function_call"):
        return "tool_calls"
    return "content_filter" if message.get("refusal") else reason


def split_thinking(content: str, reasoning: str) -> tuple[str, str]:
    """Text and reasoning, with ``<think>`` tags and surrogates dealt with."""
    if not content.lstrip().startswith(THINKING_MAY_START):  # mostly, and faster
        return encodable(content), encodable(reasoning)
    splitter = ThinkSplitter()
    text, thought = splitter.feed(content)
    rest_text, rest_thought = splitter.close()
    return encodable(text + rest_text), encodable(reasoning + thought + rest_thought)


def parse_models(body: bytes | memoryview, url: str, errors: ErrorReader) -> list[str]:
    """Model ids out of ``{"data": [...]}``, ``{"models": [...]}`` or a bare list."""
    try:
        document = parse_json(body)
    except ValueError as exc:
        raise errors.bad_response(url, "answered with something that is not JSON", body) from exc
    if isinstance(document, dict) and holds_error(document):
        raise errors.from_document(document, url)
    listed = document
    if isinstance(document, dict):
        listed = document.get("data") or document.get("models")
    names = map(_model_name, listed if isinstance(listed, list) else [])
    return [errors.without_secret(name) for name in names if name]


def _model_name(entry: object) -> str:
    fields = mapping(entry)
    return string(entry) or next(filter(None, (string(fields.get(k)) for k in _NAME_KEYS)), "")


_NAME_KEYS = ("id", "name", "model")
