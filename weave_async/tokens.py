"""Exact token counts, for models whose vocabulary lies on this machine. Nothing is ever fetched.

tiktoken downloads a vocabulary that it does not have. Here it is loaded only out of the folder in
which tiktoken keeps them: see ``Settings.vocabularies``.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from hashlib import sha1, sha256
from math import ceil
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from weave_async.records import Message, Request

if TYPE_CHECKING:
    from tiktoken import Encoding

LONGEST_COUNTED_CHARS = 100_000
"""A longer text would hold up the event loop: of that, the bytes are counted."""
USUAL_AROUND_MESSAGE, MOST_AROUND_MESSAGE = 4.0, 8
"""What a chat template adds to each message, before an answer's usage has told."""
LEAST_SHARE, MOST_SHARE, SLACK = 0.8, 1.5, 64
"""Of what was counted; usage beyond is that of another vocabulary than the model's name says."""


class _NotHereError(Exception):
    """The vocabulary would have to be fetched."""


class PromptTokens:
    """Counts the tokens of questions by the model's own vocabulary, and learns from answers what
    its chat template adds to each message.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._around = USUAL_AROUND_MESSAGE
        self._most_around = MOST_AROUND_MESSAGE
        self._last: tuple[tuple[Message, ...], int] = ((), 0)
        self.is_plausible = True

    def __repr__(self) -> str:
        return f"<PromptTokens {self._encoding.name}, {self._around:.1f} around each message>"

    def expected(self, request: Request) -> int:
        return self._counted(request) + round(self._around * len(request.messages))

    def most(self, request: Request) -> int:
        return self._counted(request) + self._most_around * len(request.messages)

    def learn(self, request: Request, input_tokens: int) -> None:
        """What an endpoint has counted; by much else than we have, it is not this vocabulary."""
        counted, num_messages = self._counted(request), len(request.messages)
        most = MOST_SHARE * counted + SLACK * num_messages
        if request.schema is None and not LEAST_SHARE * counted <= input_tokens <= most:
            self.is_plausible = False
            return
        around = max(0.0, (input_tokens - counted) / num_messages)
        self._around += 0.1 * (around - self._around)
        self._most_around = max(self._most_around, ceil(around))

    def _counted(self, request: Request) -> int:
        messages, counted = self._last
        if messages is not request.messages:  # asked several times for each request
            counted = sum(self._num_tokens(message.content) for message in request.messages)
            self._last = request.messages, counted
        return counted

    def _num_tokens(self, text: str) -> int:
        if len(text) > LONGEST_COUNTED_CHARS:
            return len(text.encode(errors="surrogatepass"))
        return len(self._encoding.encode_ordinary(text))


def encoding_for(model: str, vocabularies: Path) -> Encoding | None:
    """The vocabulary of a model, ``None`` where it is not known or not in that folder. Takes up to
    seconds: not for the event loop.
    """
    from tiktoken.model import encoding_name_for_model  # loads slowly

    try:
        name = encoding_name_for_model(model.rpartition("/")[2])
    except KeyError:
        return None
    return _loaded(name, vocabularies)


@cache
def _loaded(name: str, folder: Path) -> Encoding | None:
    from tiktoken import Encoding, registry

    try:
        registry.list_encoding_names()  # looks for plugins
        constructor = (registry.ENCODING_CONSTRUCTORS or {}).get(name)
        if not isinstance(constructor, FunctionType):
            return None
        return Encoding(**_offline(constructor, folder)())
    except (_NotHereError, OSError, ValueError):
        return None


def _offline(constructor: FunctionType, folder: Path) -> Callable[[], dict[str, Any]]:
    """The constructor of an encoding with loaders that fetch nothing.

    It is made anew over a copy of its module's names. To exchange the library's own loaders would
    change them for all others in this process, and tiktoken deletes a damaged file to fetch it.
    """
    theirs = constructor.__globals__
    names = dict(theirs)

    def load_tiktoken_bpe(place: str, expected_hash: str | None = None) -> dict[bytes, int]:
        return _vocabulary(place, expected_hash, folder)

    def refuse(*args: object, **options: object) -> None:
        raise _NotHereError("an old format, which no model of today has")

    for name, value in theirs.items():
        if isinstance(value, FunctionType) and value.__globals__ is theirs:
            names[name] = _with_globals(value, names)
    names["load_tiktoken_bpe"] = load_tiktoken_bpe
    names["data_gym_to_mergeable_bpe_ranks"] = refuse
    return _with_globals(constructor, names)


def _with_globals(function: FunctionType, names: dict[str, Any]) -> FunctionType:
    return FunctionType(
        function.__code__, names, function.__name__, function.__defaults__, function.__closure__
    )


def _vocabulary(place: str, expected_hash: str | None, folder: Path) -> dict[bytes, int]:
    """Token and rank, by line; from the cache where ``place`` is an address."""
    path = Path(place)
    if "://" in place:
        path = folder / sha1(place.encode(), usedforsecurity=False).hexdigest()
    content = path.read_bytes()
    if expected_hash is not None and sha256(content).hexdigest() != expected_hash:
        raise _NotHereError(f"{path} is damaged")
    pairs = (line.split() for line in content.splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in pairs}
