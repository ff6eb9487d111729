"""What an endpoint says of itself beside its answers: its models' context, its clock, its ways."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from weave_async.records import EndpointFacts

from .capabilities import Capabilities
from .durations import Clock, Header, utc_now
from .errors import ErrorReader
from .fields import mapping
from .response import parse_models
from .text import parse_json

_CONTEXT_KEYS = (
    "max_model_len",  # vLLM, SGLang
    "context_length",  # OpenRouter, Together
    "context_window",  # Groq
    "max_context_length",  # Mistral, LM Studio
    "max_input_tokens",
    "n_ctx",  # llama.cpp, as meta.n_ctx
    "n_ctx_train",
)
_PLACES = ("meta", "top_provider", "limits")
"""Where else in a model's entry those keys may stand."""


def facts_of(
    body: bytes | memoryview,
    header: Header,
    url: str,
    errors: ErrorReader,
    capabilities: Capabilities,
    now: Clock = utc_now,
) -> EndpointFacts:
    """The reply to a question for the list of models; raises what ``parse_models`` raises."""
    names = parse_models(body, url, errors)
    lengths: dict[str, int | None] = dict.fromkeys(names)
    for entry in _entries(parse_json(body)):
        for name in {entry.get(key) for key in ("id", "name", "model")} & lengths.keys():
            lengths[str(name)] = lengths[str(name)] or _context_tokens(entry)
    return EndpointFacts(lengths, _clock_ahead_s(header, now), ways_of(capabilities))


def ways_of(capabilities: Capabilities) -> tuple[str, ...]:
    """In words, how requests are built."""
    ways = [f"answers are bounded by {capabilities.max_tokens_field}"]
    if capabilities.response_format != "json_schema":
        kind = "JSON" if capabilities.response_format == "json_object" else "nothing"
        ways.append(f"response_format promises {kind}: schemas are told in words")
    if capabilities.lacks:
        ways.append(f"without {', '.join(sorted(capabilities.lacks))}")
    return tuple(ways)


def _entries(document: Any) -> Iterator[Mapping[str, Any]]:
    """Every model's entry. llama.cpp keeps two lists, each with half of what there is to know."""
    for listed in (document, mapping(document).get("data"), mapping(document).get("models")):
        if isinstance(listed, list):
            yield from ({k: v for k, v in mapping(e).items() if _is_plain(v)} for e in listed)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | dict)


def _context_tokens(entry: Mapping[str, Any]) -> int | None:
    for place in (entry, *(mapping(entry.get(name)) for name in _PLACES)):
        for key in _CONTEXT_KEYS:
            value = place.get(key)
            if isinstance(value, int | float) and math.isfinite(value) and value >= 1:
                return int(value)
    return None


def _clock_ahead_s(header: Header, now: Clock) -> float | None:
    try:
        theirs = parsedate_to_datetime(header("date") or "")
        return round((theirs - now()).total_seconds(), 1)
    except (ValueError, TypeError, OverflowError):  # no date, or one without a time zone
        return None
