"""What an endpoint takes of the optional fields of a request: data, one row per endpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

MaxTokensField = Literal["max_tokens", "max_completion_tokens"]
ResponseFormat = Literal["json_schema", "json_object", "none"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Where a server is not OpenAI's twin. The default is what most servers take.

    ``response_format`` is the most it takes to hold an answer to a schema; below ``json_schema``
    the model is told the schema in words. ``lacks`` are further fields, by their names on the wire,
    that are left out: ``stream_options``, ``n`` (several choices are then asked for one by one),
    ``seed``, ``logprobs``, ``reasoning_effort`` and so on.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_tokens_field: MaxTokensField = "max_tokens"
    response_format: ResponseFormat = "json_schema"
    lacks: frozenset[str] = frozenset()

    def without(self, field: str) -> Self:
        """The same, after the endpoint has refused ``field``: one step down, or one to the side."""
        if field == self.max_tokens_field:
            return replace(self, max_tokens_field=OTHER_MAX_TOKENS_FIELD[self.max_tokens_field])
        if field == "response_format":
            return replace(self, response_format=LESSER_RESPONSE_FORMAT[self.response_format])
        return replace(self, lacks=self.lacks | {field})


OTHER_MAX_TOKENS_FIELD: dict[MaxTokensField, MaxTokensField] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
LESSER_RESPONSE_FORMAT: dict[ResponseFormat, ResponseFormat] = {
    "json_schema": "json_object",
    "json_object": "none",
    "none": "none",
}
PLAIN = Capabilities()
