"""Tests of the provider that hold whatever carries it: on loopback they run over all of them."""

from __future__ import annotations

import ssl

import pytest

from providers import openai_compatible


@pytest.fixture(params=["http1", "reqwest", "httpx"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Our own, as for any plain http; pyreqwest, as if a proxy were in the way; httpx2, as if
    certificates were named.
    """
    if request.param == "reqwest":
        monkeypatch.setattr(
            openai_compatible, "_goes_over_http1", lambda base_url, is_loopback: False
        )
    if request.param == "httpx":
        tls = ssl.create_default_context()
        monkeypatch.setattr(openai_compatible, "tls_context", lambda options: tls)
    name: str = request.param
    return name
