"""How many tokens a request takes, before anybody has counted them."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from pathlib import Path

import orjson

from weave_async.records import Request, Response
from weave_async.tokens import PromptTokens, encoding_for

LEAST_TOKENS_PER_CHAR, MOST_TOKENS_PER_CHAR = 0.05, 2.0
"""Usage that says otherwise is wrong, and must not stall the tokens-per-minute limit."""
TOKENS_AROUND_MESSAGE = 8
"""What a chat template puts around each message, at most."""


TOKENS_AROUND_SCHEMA = 100
"""What tells a model that the schema is one, at most."""


class TokenEstimate:
    """What a request may cost: its characters, by a ratio learned from answers, plus max_tokens
    for each choice.

    With ``model``, and its vocabulary in the folder ``vocabularies``, the question's tokens are
    counted. That takes longer: for endpoints where a limit or a budget counts tokens.
    """

    def __init__(
        self, tokens_per_char: float = 0.25, *, model: str = "", vocabularies: Path | None = None
    ) -> None:
        self._tokens_per_char = tokens_per_char
        self._model = model
        self._vocabularies = vocabularies
        self._exact: PromptTokens | None = None

    def __repr__(self) -> str:
        exact = f", {self._exact!r}" if self._exact else ""
        return f"<TokenEstimate {self._tokens_per_char:.3f} per character{exact}>"

    async def prepare(self) -> None:
        """Load the vocabulary, off the event loop. Whoever asks meanwhile gets an estimate."""
        folder, self._vocabularies = self._vocabularies, None
        if folder is not None:
            encoding = await asyncio.to_thread(encoding_for, self._model, folder)
            self._exact = None if encoding is None else PromptTokens(encoding)

    def most_input_tokens(self, request: Request) -> int:
        """The worst case of the question, for a budget: less than its bytes, where counted."""
        if self._exact is None:
            return most_input_tokens(request)
        return min(most_input_tokens(request), self._exact.most(request) + _of_schema(request))

    def tokens(self, request: Request) -> int:
        most_output = (request.params.max_tokens or 0) * request.num_choices
        if self._exact is not None:
            return self._exact.expected(request) + most_output
        chars = 0
        for message in request.messages:
            chars += len(message.content)
        return 1 + int(chars * self._tokens_per_char) + most_output

    def learn(self, request: Request, response: Response) -> None:
        """Move the ratio a tenth of the way towards what this answer's usage says."""
        input_tokens = response.usage.input_tokens
        if not input_tokens:
            return
        if self._exact is not None:
            self._exact.learn(request, input_tokens)
            if not self._exact.is_plausible:
                self._exact = None
        chars = 0
        for message in request.messages:
            chars += len(message.content)
        if chars:
            seen = input_tokens / chars
            seen = min(max(seen, LEAST_TOKENS_PER_CHAR), MOST_TOKENS_PER_CHAR)
            self._tokens_per_char += 0.1 * (seen - self._tokens_per_char)


def most_input_tokens(request: Request) -> int:
    """No tokenizer makes more of the messages: a token holds a byte at least."""
    tokens = 0
    for message in request.messages:
        content = message.content
        length = len(content) if content.isascii() else len(content.encode(errors="surrogatepass"))
        tokens += length + TOKENS_AROUND_MESSAGE
    return tokens + _of_schema(request)


def _of_schema(request: Request) -> int:
    """Endpoints put the schema into the question, in their words or in ours."""
    if request.schema is None:
        return 0
    return _num_bytes(_ById(request.schema)) + TOKENS_AROUND_SCHEMA


class _ById:
    """All requests of a run share one schema: it is measured once, not for each."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.value is other.value


@lru_cache(maxsize=8)
def _num_bytes(schema: _ById) -> int:
    return len(orjson.dumps(schema.value))
