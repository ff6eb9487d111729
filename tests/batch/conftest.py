"""A server that takes batches, and no time to lose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_bench import Bench
from weave_async.batch import batching, lane
from weave_async.flow.retry import Backoff
from weave_async.testing.batch_endpoint import BatchEndpoint


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(batching, "FIRST_POLL_S", 0.02)
    quick = Backoff(attempts=4, base_s=0.01, cap_s=0.02)
    monkeypatch.setattr(lane, "PATIENCE", quick)
    with BatchEndpoint() as endpoint:
        yield Bench(tmp_path, endpoint)
