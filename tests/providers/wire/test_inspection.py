"""What an endpoint says of itself: read from anything, believed as far as it can be."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.wire.capabilities import PLAIN, Capabilities
from providers.wire.errors import ErrorReader
from providers.wire.inspection import facts_of, ways_of
from weave_async.errors import ProviderError
from weave_async.records import EndpointFacts

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
KEYS = ["data", "models", "id", "name", "model", "meta", "n_ctx", "context_length", "error"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


def facts(document: Any, date: str | None = None) -> EndpointFacts:
    errors = ErrorReader(secret="", key_advice="", address_advice="")
    headers = {"date": date}
    return facts_of(
        orjson.dumps(document), headers.get, "https://h/v1/models", errors, PLAIN, lambda: NOW
    )


def test_two_lists_of_the_same_models_are_read_as_one() -> None:
    listed = {"models": [{"name": "m"}], "data": [{"id": "m", "meta": {"n_ctx_train": 2048}}]}
    assert facts(listed).models == {"m": 2048}


@pytest.mark.parametrize(
    ("date", "ahead_s"),
    [
        ("Fri, 02 Jan 2026 12:00:05 GMT", 5.0),
        ("Fri, 02 Jan 2026 11:00:00 GMT", -3600.0),
        ("Fri, 02 Jan 2026 12:00:00", None),
        ("Fri, 99 Jan 2026 12:00:00 GMT", None),
        ("now", None),
        ("", None),
        (None, None),
    ],
)
def test_the_clock_is_read_from_the_date_where_it_is_one(
    date: str | None, ahead_s: float | None
) -> None:
    assert facts({"data": [{"id": "m"}]}, date).clock_ahead_s == ahead_s


@given(anything)
def test_whatever_stands_in_the_list_it_is_facts_or_an_error_of_the_provider(
    document: Any,
) -> None:
    try:
        found = facts(document)
    except ProviderError:
        return
    assert all(isinstance(name, str) for name in found.models)
    assert all(tokens is None or tokens > 1 for tokens in found.models.values())


def test_ways_are_told_in_words() -> None:
    assert ways_of(PLAIN) == ("answers are bounded by max_tokens",)
    differing = Capabilities("max_completion_tokens", "json_object", frozenset({"n", "seed"}))
    assert ways_of(differing) == (
        "answers are bounded by max_completion_tokens",
        "response_format promises JSON: schemas are told in words",
        "without n, seed",
    )
