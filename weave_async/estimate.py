"""How many tokens a request takes, before anybody has counted them."""

from __future__ import annotations

from weave_async.records import Request, Response

LEAST_TOKENS_PER_CHAR, MOST_TOKENS_PER_CHAR = 0.05, 2.0
"""Usage that says otherwise is wrong, and must not stall the tokens-per-minute limit."""
TOKENS_AROUND_MESSAGE = 8
"""What a chat template puts around each message, at most."""


class TokenEstimate:
    """What a request may cost: its characters, by a ratio learned from answers, plus max_tokens
    for each choice.
    """

    def __init__(self, tokens_per_char: float = 0.25) -> None:
        self._tokens_per_char = tokens_per_char

    def __repr__(self) -> str:
        return f"<TokenEstimate {self._tokens_per_char:.3f} per character>"

    def tokens(self, request: Request) -> int:
        chars = 0
        for message in request.messages:
            chars += len(message.content)
        most_output = (request.params.max_tokens or 0) * request.num_choices
        return 1 + int(chars * self._tokens_per_char) + most_output

    def learn(self, request: Request, response: Response) -> None:
        """Move the ratio a tenth of the way towards what this answer's usage says."""
        input_tokens = response.usage.input_tokens
        if not input_tokens:
            return
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
    return tokens
