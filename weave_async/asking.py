"""How samples come to their answers, over one endpoint or several.

An asker adds one behaviour by wrapping another; the innermost sends. Several samples in one call
differ in their draw alone: they may share one request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from weave_async.dispatch import Dispatcher
from weave_async.records import Sample


class Asker(Protocol):
    """Answers or fails each sample. Raises what ``Dispatcher.dispatch`` raises."""

    async def ask(self, samples: Sequence[Sample]) -> Sequence[Sample]: ...


class Planned:
    """Asks the endpoint that the plan has drawn."""

    def __init__(self, dispatchers: Mapping[str, Dispatcher]) -> None:
        self._dispatchers = dispatchers

    async def ask(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        [sample] = samples
        outcome = await self._dispatchers[sample.endpoint].dispatch(sample.request)
        return (sample.answered(outcome),)
