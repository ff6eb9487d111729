"""How samples come to their answers, over one endpoint or several.

An asker adds one behaviour by wrapping another; the innermost sends. Several samples in one call
differ in their draw alone: they may share one request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from weave_async.blame import Tries
from weave_async.dispatch import Dispatcher
from weave_async.records import Sample


class Answered(NamedTuple):
    """What came of asking: samples that were answered, or failed, and what is left of the others.

    What is left is to be asked for again, by these very groups, be it at the same time.
    """

    samples: Sequence[Sample]
    left: Sequence[Sequence[Sample]] = ()


class Asker(Protocol):
    """Answers or fails samples, as many as it has answers for. Holds no answer back: each is safe
    only once the engine has it. Raises what ``Dispatcher.dispatch`` raises.
    """

    async def ask(self, samples: Sequence[Sample]) -> Answered: ...


class Planned:
    """Asks the endpoint that the plan has drawn."""

    def __init__(self, dispatchers: Mapping[str, Dispatcher]) -> None:
        self._dispatchers = dispatchers

    async def ask(self, samples: Sequence[Sample]) -> Answered:
        [sample] = samples
        tries = Tries()
        outcome = await self._dispatchers[sample.endpoint].dispatch(sample.request, tries)
        return Answered((sample.answered(outcome, sent=tries.answered),))


class ByEndpoint:
    """Leaves each sample to the asker of the endpoint that it was planned for."""

    def __init__(self, askers: Mapping[str, Asker]) -> None:
        self._askers = askers

    async def ask(self, samples: Sequence[Sample]) -> Answered:
        return await self._askers[samples[0].endpoint].ask(samples)
