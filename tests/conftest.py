"""Every test runs in a folder of its own, with none of our variables set, and stays on loopback."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from tiny_models import save_tiny_model
from weave_async import settings
from weave_async.records import (
    FinishReason,
    Message,
    Prompt,
    Request,
    Response,
    Sample,
    SamplingParams,
)

# How long an example takes says nothing on a busy machine.
unhurried = hypothesis_settings(
    hypothesis_settings(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="RANDOM_EXAMPLES" not in os.environ,  # CI decides alike, however often it runs
)
hypothesis_settings.register_profile("unhurried", unhurried)
hypothesis_settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from the machine: neither from its environment nor from a ``.env`` file."""
    for name in os.environ:
        if name.startswith("WEAVE_ASYNC_") or name in settings.variables():
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def secrets_of_its_own() -> Iterator[None]:
    """What is a key in one test is a word in another, and may be looked for in its log."""
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


@pytest.fixture(autouse=True, scope="session")
def loopback_only() -> Iterator[None]:
    """A test that reaches for the network fails, and says where it wanted to go."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0]
            is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
            assert is_loopback, f"a test connects to {address}"
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


# --- samples for the tests of stages, rules, sinks and the journal -------------------------------


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """A sample that has been answered; every argument is one thing to have differently."""

    def make(
        completion: str = "Sure, take your pick.",
        *,
        user: str = "Which colours are there?",
        system: str | None = None,
        ordinal: int = 0,
        finish_reason: FinishReason = "stop",
        max_tokens: int | None = None,
        **changes: Any,
    ) -> Sample:
        asked = (Message("system", system),) if system is not None else ()
        asked = (*asked, Message("user", user))
        prompt = Prompt(f"{ordinal:016x}", 0, asked, {}, f"rows.jsonl:{ordinal + 1}")
        params = SamplingParams(max_tokens=max_tokens)
        sample = Sample(
            ordinal=ordinal,
            prompt=prompt,
            request=Request(f"request-{ordinal}", "tiny", asked, params),
            endpoint="here",
            seed=ordinal,
            messages=(*asked, Message("assistant", completion)),
            response=Response(completion, finish_reason),
        )
        return replace(sample, **changes)

    return make


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random model: real weights, of which nothing sensible comes."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_tiny_model(folder)
    return folder
