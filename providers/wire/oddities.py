"""What an endpoint does without a word, said once: another model, a prompt cut short."""

from __future__ import annotations

import logging

from weave_async.records import Request, Response

FEWEST_BYTES_LOOKED_AT = 8_000
MOST_CHARS_PER_TOKEN = 12
"""No tokenizer packs the text of a long prompt tighter, on the whole."""
MANY_CHARS_PER_TOKEN = 6
"""Beyond this, a count that is a power of two is the size of a window and not of a prompt."""


class Oddities:
    """Looks at every answer of one endpoint, and logs a warning the first time something is odd."""

    def __init__(self, endpoint: str, logger: logging.Logger) -> None:
        self._endpoint = endpoint
        self._logger = logger
        self._accepted_model: str | None = None
        self._looks_at_models = self._looks_at_lengths = True

    def look_at(self, request: Request, response: Response, sent_bytes: int) -> None:
        answered = response.model
        if answered != request.model and answered != self._accepted_model and answered:
            self._compare(request.model, answered)
        if sent_bytes >= FEWEST_BYTES_LOOKED_AT and self._looks_at_lengths:
            self._measure(request, response.usage.input_tokens)

    def _compare(self, asked: str, answered: str) -> None:
        self._accepted_model = answered
        if self._looks_at_models and not is_same_model(asked, answered):
            self._looks_at_models = False
            self._logger.warning(
                "%s answers as model %r, and was asked for %r: some servers serve whatever they "
                "have loaded, whichever name is asked for",
                self._endpoint,
                answered,
                asked,
            )

    def _measure(self, request: Request, input_tokens: int | None) -> None:
        """Ollama cuts a prompt to its window (``num_ctx``) and answers what is left of it."""
        if not input_tokens:
            return
        chars = sum(len(message.content) for message in request.messages)
        per_token = chars / input_tokens
        is_window = input_tokens >= 1_024 and input_tokens.bit_count() == 1
        if chars < FEWEST_BYTES_LOOKED_AT:
            return
        if per_token > MOST_CHARS_PER_TOKEN or (is_window and per_token > MANY_CHARS_PER_TOKEN):
            self._looks_at_lengths = False
            self._logger.warning(
                "%s counts %d tokens in a prompt of %d characters (request %s): it has probably "
                "cut the prompt to its context window without a word. Raise the window (num_ctx or "
                "OLLAMA_CONTEXT_LENGTH for Ollama), or send less",
                self._endpoint,
                input_tokens,
                chars,
                request.request_id,
            )


def is_same_model(asked: str, answered: str) -> bool:
    """Whether the names may well mean the same: a path, a file, a tag, a dated snapshot."""
    one, other = _bare(asked), _bare(answered)
    return one.startswith(other) or other.startswith(one)


def _bare(name: str) -> str:
    name = name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    return name.partition(":")[0].removesuffix(".gguf")
