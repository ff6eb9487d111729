"""Tests of the provider that hold whatever carries it: on loopback they run over both."""

from __future__ import annotations

import pytest

from providers import openai_compatible


@pytest.fixture(params=["http1", "reqwest"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Our own transport, as for any plain http; and pyreqwest, as if a proxy were in the way."""
    if request.param == "reqwest":
        monkeypatch.setattr(
            openai_compatible, "_goes_over_http1", lambda base_url, is_loopback: False
        )
    name: str = request.param
    return name
