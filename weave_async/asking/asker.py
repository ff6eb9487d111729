"""How samples come to their answers, over one endpoint or several.

An asker adds one behaviour by wrapping another; the innermost sends. Several samples in one call
differ in their draw alone: they may share one request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from weave_async.blame import Tries
from weave_async.dispatch import Dispatcher
from weave_async.records import Sample


class Asker(Protocol):
    """Answers or fails each sample, or as many of the first ones as it has answers for: at least
    one. Raises what ``Dispatcher.dispatch`` raises.
    """

    async def ask(self, samples: Sequence[Sample]) -> Sequence[Sample]: ...


class Planned:
    """Asks the endpoint that the plan has drawn."""

    def __init__(self, dispatchers: Mapping[str, Dispatcher]) -> None:
        self._dispatchers = dispatchers

    async def ask(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        [sample] = samples
        tries = Tries()
        outcome = await self._dispatchers[sample.endpoint].dispatch(sample.request, tries)
        return (sample.answered(outcome, sent=tries.answered),)


class ByEndpoint:
    """Leaves each sample to the asker of the endpoint that it was planned for."""

    def __init__(self, askers: Mapping[str, Asker]) -> None:
        self._askers = askers

    async def ask(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        return await self._askers[samples[0].endpoint].ask(samples)
