"""A secret kept out of whatever a server or a part of somebody else's says back to us.

A server knows our key, and some repeat it: in an error, as a model's name, in an answer. Redaction
is by value, so it needs no idea of what a key looks like.
"""

from __future__ import annotations

import html
import json
from dataclasses import replace
from urllib.parse import quote

from weave_async.records import Response

SHOWN_AS = "***"
SHORTEST_IN_ANSWERS_CHARS = 20
"""Shorter ones are stand-ins for servers that want no key ("ollama", "sk-no-key-required"): in an
answer they are words."""


class Redaction:
    """Takes one secret out of texts, however it is written there; does nothing without one."""

    def __init__(self, secret: str | None) -> None:
        secret = secret or ""
        spellings = {
            secret,
            json.dumps(secret)[1:-1],
            repr(secret)[1:-1],
            repr(secret.encode())[2:-1],
            quote(secret),
            quote(secret, safe=""),
            html.escape(secret),
        }
        self._spellings = sorted(spellings - {""}, key=len, reverse=True)
        self._in_answers = secret if len(secret) >= SHORTEST_IN_ANSWERS_CHARS else ""

    def __repr__(self) -> str:
        return f"<Redaction of {'a secret' if self._spellings else 'nothing'}>"

    def text(self, text: str) -> str:
        for spelling in self._spellings:
            text = text.replace(spelling, SHOWN_AS)
        return text

    def response(self, response: Response) -> Response:
        """What is kept of an answer. Called for each: it costs a search through its text."""
        secret = self._in_answers
        if not secret or not _holds(response, secret):
            return response
        calls = response.tool_calls
        return replace(
            response,
            text=self.text(response.text),
            reasoning=self.text(response.reasoning),
            model=self.text(response.model or "") or None,
            raw_finish_reason=self.text(response.raw_finish_reason or "") or None,
            tool_calls=tuple(replace(c, arguments=self.text(c.arguments)) for c in calls),
            others=tuple(map(self.response, response.others)),
        )


def _holds(response: Response, secret: str) -> bool:
    return (
        secret in response.text
        or secret in response.reasoning
        or secret in (response.model or "")
        or secret in (response.raw_finish_reason or "")
        or any(secret in call.arguments for call in response.tool_calls)
        or any(_holds(other, secret) for other in response.others)
    )
