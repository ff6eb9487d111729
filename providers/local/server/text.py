"""Tokens → text, piece by piece: whole characters only, and nothing at or after a stop string."""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from .generation import TokenLogprobs
from .vocabulary import Vocabulary


class Detokenizer:
    """Text of a growing sequence. Holds back a character until all of its bytes are there.

    Bytes that can never become a character are U+FFFD. It does not matter how the tokens are
    split over calls.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False

    def push(self, tokens: Sequence[int]) -> str:
        pieces = list(map(self._vocabulary.piece, tokens))
        if not self._begun:
            # The first token with any text opens it.
            for at, piece in enumerate(pieces):
                if piece:
                    pieces[at] = self._vocabulary.opening(tokens[at])
                    self._begun = True
                    break
        return self._decoder.decode(b"".join(pieces))


class StopScanner:
    """Passes text on up to the first stop string; holds back what may be the start of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._first_characters = {stop[0] for stop in stops}
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        if self.stopped:
            return ""
        if not self._held and self._first_characters.isdisjoint(text):
            return text  # most pieces: no stop string begins in them
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


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token whose text went out, and the number of characters before it."""

    logprobs: TokenLogprobs
    offset: int


class TextReader:
    """One sequence's tokens to its text. Tokens in `silent_ids` (its end) are counted, not shown.

    A character left unfinished by the last token is dropped: half a character is no text.
    """

    def __init__(
        self, vocabulary: Vocabulary, stops: Sequence[str], silent_ids: frozenset[int]
    ) -> None:
        self._detokenizer = Detokenizer(vocabulary)
        self._scanner = StopScanner(stops) if stops else None
        self._silent_ids = silent_ids
        self._num_decoded = 0  # characters
        self._num_shown = 0  # characters
        self._unshown: deque[ShownToken] = deque()
        self.num_tokens = 0

    @property
    def stopped(self) -> bool:
        return self._scanner is not None and self._scanner.stopped

    def push(self, tokens: Sequence[int], logprobs: Sequence[TokenLogprobs] = ()) -> str:
        """The text these tokens add; tokens after a stop string are neither read nor counted."""
        if self._scanner is None and not logprobs:
            self.num_tokens += len(tokens)
            return self._detokenizer.push([t for t in tokens if t not in self._silent_ids])
        text = ""
        for at, token in enumerate(tokens):
            if self.stopped:
                break
            self.num_tokens += 1
            if token not in self._silent_ids:
                if logprobs:
                    self._unshown.append(ShownToken(logprobs[at], self._num_decoded))
                decoded = self._detokenizer.push((token,))
                self._num_decoded += len(decoded)
                text += self._scanner.push(decoded) if self._scanner else decoded
        self._num_shown += len(text)
        return text

    def flush(self) -> str:
        """The text still held back, once no more tokens will come."""
        text = self._scanner.flush() if self._scanner else ""
        self._num_shown += len(text)
        return text

    def take_shown(self, *, ended: bool) -> list[ShownToken]:
        """The tokens, of those with logprobs, whose text began to show since the last call.

        At the end also those that never made a whole character, but none that a stop string hides.
        """
        everything = ended and not self.stopped
        shown = []
        while self._unshown and (everything or self._unshown[0].offset < self._num_shown):
            shown.append(self._unshown.popleft())
        return shown
