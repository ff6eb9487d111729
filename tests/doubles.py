"""Providers for tests of the spine, named in recipes as ``doubles:Name``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

from providers.simulated import SimulatedProvider
from weave_async.errors import AuthenticationError, ServerError
from weave_async.records import Endpoint, Request, Response, Sample, Usage, Verdict


class CountingProvider(SimulatedProvider):
    """Simulated, and remembers what it was asked. ``reset`` it before a test."""

    asked: ClassVar[list[str]] = []
    most_in_flight: ClassVar[int] = 0
    is_refusing: ClassVar[bool] = False
    _in_flight: ClassVar[int] = 0

    @classmethod
    def reset(cls) -> None:
        cls.asked = []
        cls.most_in_flight = cls._in_flight = 0
        cls.is_refusing = False

    async def complete(self, request: Request) -> Response:
        cls = type(self)
        if cls.is_refusing:
            await asyncio.sleep(0.2)  # meanwhile, whatever can be recalled has been
            raise AuthenticationError("the key has expired", status_code=401)
        cls.asked.append(request.request_id)
        cls._in_flight += 1
        cls.most_in_flight = max(cls.most_in_flight, cls._in_flight)
        try:
            await asyncio.sleep(0)
            return await super().complete(request)
        finally:
            cls._in_flight -= 1


class SuspiciousProvider(SimulatedProvider):
    """Looks into the journal whenever it is asked: is all there that has happened by then?"""

    journal: ClassVar[Path] = Path("out/journal")
    missing: ClassVar[list[str]] = []
    _texts: ClassVar[list[str]] = []

    @classmethod
    def reset(cls) -> None:
        cls.missing, cls._texts = [], []

    async def complete(self, request: Request) -> Response:
        written = b"".join(path.read_bytes() for path in self.journal.iterdir() if path.is_file())
        expected = [request.attempt_id, *type(self)._texts]
        type(self).missing += [text for text in expected if text.encode() not in written]
        response = await super().complete(request)
        type(self)._texts.append(response.text)
        return response


class PricedProvider(CountingProvider):
    """Says that it is OpenAI, whose prices are known. Nothing is asked there."""

    default_base_url: ClassVar[str | None] = "https://api.openai.com/v1"


class ExpiringProvider(CountingProvider):
    """Answers thirty requests, then refuses the key."""

    async def complete(self, request: Request) -> Response:
        if len(type(self).asked) >= 30:
            raise AuthenticationError("the key has expired", status_code=401)
        return await super().complete(request)


class StallingProvider(SimulatedProvider):
    """One row that is tried again after long, one that is slow, and then a key that has expired."""

    num_asked: ClassVar[int] = 0

    async def complete(self, request: Request) -> Response:
        type(self).num_asked += 1
        number = type(self).num_asked
        if number == 1:
            raise ServerError("500", retry_after_s=60.0)
        if number == 2:
            await asyncio.sleep(1.0)
        if number == 6:
            await asyncio.sleep(0.2)
            raise AuthenticationError("the key has expired", status_code=401)
        return await super().complete(request)


class BrokenProvider(SimulatedProvider):
    """Breaks one of a provider's promises: ``where`` says which."""

    where: ClassVar[str] = ""

    def __init__(self, endpoint: Endpoint) -> None:
        self._break("init")
        super().__init__(endpoint)

    async def __aenter__(self) -> Self:
        self._break("enter")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._break("exit")

    async def models(self) -> Sequence[str]:
        self._break("models")
        return []

    async def complete(self, request: Request) -> Response:
        if self.where == "cancel":
            raise asyncio.CancelledError
        response = await super().complete(request)
        if self.where == "text":
            return replace(response, text=None)  # type: ignore[arg-type]
        if self.where == "usage":
            return replace(response, usage=Usage(input_tokens="many"))  # type: ignore[arg-type]
        return response

    def _break(self, where: str) -> None:
        if self.where == where:
            raise KeyError(where)


def explode(sample: Sample) -> Verdict:
    """A validator that is a function, and broken."""
    raise RuntimeError("boom")


def refuse_oddly(sample: Sample) -> Verdict:
    """A validator whose evidence no JSON can hold."""
    return Verdict(False, "odd", {"set": {1}, 3: Path("x")})  # type: ignore[dict-item]


class StragglerProvider(CountingProvider):
    """Answers the first request only when ``others`` more have been answered."""

    others: ClassVar[int] = 0
    enough: ClassVar[asyncio.Event]
    num_answered: ClassVar[int] = 0

    async def __aenter__(self) -> Self:
        cls = type(self)
        cls.num_answered, cls.enough = 0, asyncio.Event()
        return self

    async def complete(self, request: Request) -> Response:
        cls = type(self)
        is_first = not cls.asked
        response = await super().complete(request)
        if is_first:
            await cls.enough.wait()
        cls.num_answered += 1
        if cls.num_answered == cls.others:
            cls.enough.set()
        return response
