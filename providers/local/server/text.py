"""Tokens → text, piece by piece: whole characters only, and nothing at or after a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# A character spans at most 4 bytes and so 4 tokens. More tokens than this without a whole
# character are invalid bytes, not an unfinished character: they are let through as U+FFFD.
MAX_PENDING = 8

Decode = Callable[[Sequence[int]], str]


class Detokenizer:
    """Text of a growing sequence. Holds back a character until all of its tokens are there.

    Decodes a short window, not the whole sequence: what came before the window is needed only
    because some tokenizers drop the space that opens a text.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._context: list[int] = []  # tokens whose text went out with the last piece
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        self._pending.append(token)
        before = self._decode(self._context)
        text = self._decode([*self._context, *self._pending])
        if len(text) <= len(before):
            return ""
        if text.endswith(REPLACEMENT) and len(self._pending) <= MAX_PENDING:
            return ""
        self._context, self._pending = self._pending, []
        return text[len(before) :]

    def flush(self) -> str:
        """Whole characters held back because a character after them never got finished."""
        before = self._decode(self._context)
        text = self._decode([*self._context, *self._pending])
        self._context, self._pending = [], []
        return text[len(before) :].rstrip(REPLACEMENT)


class StopScanner:
    """Passes text on up to the first stop string; holds back what may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = len(text) - max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[keep:]
        return text[:keep]

    def flush(self) -> str:
        """What was held back for a stop string that now cannot come any more."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)


class TextReader:
    """One sequence's tokens to its text. Tokens in `silent_ids` (its end) are counted, not shown.

    A character left unfinished by the last token is dropped: half a character is no text.
    """

    def __init__(self, decode: Decode, stops: Sequence[str], silent_ids: frozenset[int]) -> None:
        self._detokenizer = Detokenizer(decode)
        self._scanner = StopScanner(stops)
        self._silent_ids = silent_ids
        self.num_tokens = 0

    @property
    def stopped(self) -> bool:
        return self._scanner.stopped

    def push(self, tokens: Sequence[int]) -> str:
        """The text these tokens add; tokens after a stop string are neither read nor counted."""
        text = ""
        for token in tokens:
            if self.stopped:
                break
            self.num_tokens += 1
            if token not in self._silent_ids:
                text += self._scanner.push(self._detokenizer.push(token))
        return text

    def flush(self) -> str:
        """The text still held back, once no more tokens will come."""
        return self._scanner.push(self._detokenizer.flush()) + self._scanner.flush()
