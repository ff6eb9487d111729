"""Providers for tests of the spine, named in recipes as ``doubles:Name``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from providers.simulated import SimulatedProvider
from weave_async.errors import AuthenticationError
from weave_async.records import Request, Response, Sample, Verdict


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


class ExpiringProvider(CountingProvider):
    """Answers thirty requests, then refuses the key."""

    async def complete(self, request: Request) -> Response:
        if len(type(self).asked) >= 30:
            raise AuthenticationError("the key has expired", status_code=401)
        return await super().complete(request)


def explode(sample: Sample) -> Verdict:
    """A validator that is a function, and broken."""
    raise RuntimeError("boom")


def refuse_oddly(sample: Sample) -> Verdict:
    """A validator whose evidence no JSON can hold."""
    return Verdict(False, "odd", {"set": {1}, 3: Path("x")})  # type: ignore[dict-item]
