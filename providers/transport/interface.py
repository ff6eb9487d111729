"""What the provider needs of HTTP, and nothing more: the seam between it and what carries it.

A transport makes one exchange per call. It knows no JSON and no models; it follows no redirect,
inflates nothing, tries nothing twice that the server may have seen, and raises only
``ProviderError``, through ``faults``.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ..wire.durations import Header


@dataclass(frozen=True, slots=True)
class Limits:
    """``timeout_s`` bounds each wait for bytes, ``deadline_s`` all of an exchange.

    Of a body that is longer than its limit at least one byte more is read, which tells that it is.
    """

    connect_timeout_s: float
    timeout_s: float
    deadline_s: float
    idle_s: float
    max_idle: int
    max_body_bytes: int
    max_error_bytes: int

    def of_body(self, status: int) -> int:
        return self.max_body_bytes if 200 <= status < 300 else self.max_error_bytes


class Reply(Protocol):
    """A response with all of its body, or as much of that as ``Limits`` let in."""

    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str | None:
        """A header that is text; ``name`` is in lower case. What is not text is not there."""
        ...

    @property
    def body(self) -> bytes | memoryview: ...


@dataclass(frozen=True, slots=True)
class WholeReply:
    """A ``Reply`` that has nothing more to do with its connection."""

    status: int
    header: Header
    body: bytes | memoryview


class OpenReply(Protocol):
    """A response whose body is still coming."""

    @property
    def status(self) -> int: ...

    def header(self, name: str) -> str | None: ...

    async def piece(self) -> bytes:
        """What has come of the body since the last call; nothing at its end."""
        ...

    async def whole(self) -> Reply:
        """The response with all of its body, as ``Transport.fetch`` would have given it."""
        ...


def is_one_document(status: int, content_type: str | None) -> bool:
    """An error, or a server that does not stream. Some stream without any content type."""
    kind = (content_type or "").lower()
    return status != 200 or "json" in kind or "html" in kind


class Transport(Protocol):
    """Exchanges with one origin. Without a body it asks with GET, else with POST."""

    async def fetch(self, url: str, body: bytes | None, attempt_id: str | None = None) -> Reply: ...

    def open(
        self, url: str, body: bytes, attempt_id: str | None = None
    ) -> AbstractAsyncContextManager[OpenReply]:
        """Leaving the context before the body's end hangs up."""
        ...

    async def close(self) -> None:
        """Hang up on everything; a request that is out ends as a ``ConnectError``."""
        ...
