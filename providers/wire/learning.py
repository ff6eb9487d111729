"""What a provider learns of its endpoint while it runs: fields that are not taken."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from weave_async.errors import FieldRefusedError, RecipeError, RequestRefusedError
from weave_async.records import Endpoint

from ..presets import known_capabilities
from .capabilities import Capabilities
from .refusals import refused_fields
from .text import parse_json

REFUSALS = frozenset({400, 422})
"""Statuses of a reply that may name a field."""


def capabilities_of(endpoint: Endpoint, said: Mapping[str, Any]) -> Capabilities:
    """Where an endpoint starts; ``said`` is its option ``capabilities``, which wins."""
    known = known_capabilities(endpoint.preset)
    if not said:
        return known
    try:
        given = TypeAdapter(Capabilities).validate_python(dict(said))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(("capabilities", *map(str, problem["loc"])))
        fault = f"{problem['msg']}, got {problem['input']!r}"
        raise RecipeError(f"endpoint {endpoint.name!r}: option {where}: {fault}") from None
    return replace(known, **{name: getattr(given, name) for name in said})


class Lessons:
    """Turns a refusal that names a field into ``FieldRefusedError``, and remembers it.

    ``capabilities`` is what requests are to be built by. A field can be learned only from a request
    that had it, so the same request, built again, cannot be refused for the same reason. What
    stands in ``extra_body`` is never left out: a person has said so for this very endpoint.
    """

    def __init__(
        self,
        capabilities: Capabilities,
        *,
        endpoint: str,
        logger: logging.Logger,
        kept: Collection[str] = (),
    ) -> None:
        self.capabilities = capabilities
        self._endpoint = endpoint
        self._logger = logger
        self._kept = frozenset(kept)
        self._swapped_from: set[str] = set()

    def __repr__(self) -> str:
        return f"<Lessons of {self._endpoint}: {self.capabilities}>"

    def heard(
        self, error: RequestRefusedError, refusal: bytes, sent: bytes | Mapping[str, Any]
    ) -> RequestRefusedError:
        """What to raise for ``error``, which stands for ``refusal``, the reply's body."""
        fields = parse_json(sent) if isinstance(sent, bytes) else sent
        refused = refused_fields(refusal, fields)
        learned = [field for field in refused if self._is_left_out_next_time(field, fields, error)]
        if learned:
            return FieldRefusedError(str(error), status_code=error.status_code)
        advice = [self._advice(field) for field in refused if field in self._kept]
        if advice:
            return RequestRefusedError(f"{error} ({advice[0]})", status_code=error.status_code)
        return error

    def _is_left_out_next_time(
        self, field: str, sent: Mapping[str, Any], error: RequestRefusedError
    ) -> bool:
        """Whether another try goes without ``field``. It may have been learned in the meantime."""
        if field in self._kept:
            return False
        now = self.capabilities
        if field in ("max_tokens", "max_completion_tokens"):
            if field != now.max_tokens_field:
                return True
            if field in self._swapped_from or "prompt" in sent:
                return False  # to and fro, for ever; and the old API has one name only
            self._swapped_from.add(field)
        elif field == "response_format":
            if sent[field].get("type") != now.response_format:
                return True
        elif field in now.lacks:
            return True
        self.capabilities = now.without(field)
        self._logger.warning(
            "%s does not take %s; %s from now on: %s",
            self._endpoint,
            field,
            self._instead(field),
            error,
        )
        return True

    def _instead(self, field: str) -> str:
        if field in ("max_tokens", "max_completion_tokens"):
            return f"{self.capabilities.max_tokens_field} is sent"
        if field == "response_format":
            lesser = self.capabilities.response_format
            told = "the model is told the schema in words"
            return told if lesser == "none" else f"{told}, with response_format {lesser}"
        if field == "n":
            return "one choice is asked for at a time"
        if field == "stream_options":
            return "streams are asked for without it, maybe without usage"
        return "requests go without it"

    def _advice(self, field: str) -> str:
        return f"take {field!r} out of the extra_body of {self._endpoint}"
