"""The seams: what a part must look like to take its place in the journey.

A part is found through an entry point (``weave_async.providers``, ``.sources``, ``.noise``,
``.validators``, ``.selectors``, ``.sinks``) or as ``package.module:Name``. Apart from providers, a
part is a dataclass whose fields are its options: the recipe's keys are checked against them.
``weave_async.presets`` is for data: mappings from a name to a ``records.Preset``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from random import Random
from types import TracebackType
from typing import ClassVar, Protocol, Self, runtime_checkable

from weave_async.records import (
    BadRow,
    Chunk,
    Endpoint,
    EndpointFacts,
    Failure,
    Request,
    Response,
    Row,
    Sample,
    Verdict,
)


class Provider(Protocol):
    """One attempt at an endpoint: no retry, no sleep, no count; it raises ``ProviderError`` only.

    Entering the context makes it ready to serve, however long that takes (a local server loads its
    weights); what it waits for goes to its module's logger at INFO. Leaving releases everything.
    ``complete`` and ``stream`` may be called concurrently and must survive cancellation.
    """

    default_max_concurrency: ClassVar[int]
    """Requests in flight when nobody says otherwise."""
    default_model: ClassVar[str | None]
    """The model when nobody names one; ``None`` where a name is needed."""
    environment_fallback: ClassVar[str | None]
    """A prefix whose ``<PREFIX>_BASE_URL``, ``_API_KEY``, ``_MODEL`` this provider also heeds."""

    def __init__(self, endpoint: Endpoint) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    async def complete(self, request: Request) -> Response:
        """The whole answer to one request, within ``endpoint.deadline_s``."""

    def stream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """The same answer in pieces. Closing the iterator early abandons the request."""

    async def models(self) -> Sequence[str]:
        """Model ids the endpoint offers. Costs nothing, and fails if it cannot be reached."""


@runtime_checkable
class Inspectable(Protocol):
    """What a provider may offer besides: all that its endpoint says of itself, for `doctor`."""

    async def inspect(self) -> EndpointFacts:
        """As ``Provider.models``: it costs nothing, and fails if nobody is there."""


class AttemptLog(Protocol):
    """Who is told of every sending of a request: the journal. Neither call waits."""

    def sent(self, request: Request, *, tokens: int) -> None:
        """``request.attempt_id`` goes out now, and may cost ``tokens`` at worst."""

    def missed(self, request: Request, failure: Failure) -> None:
        """``request.attempt_id`` brought no answer; ``failure`` says why."""


class Source(Protocol):
    """Rows to make prompts of. A run reads them more than once: ``rows`` starts anew each time."""

    def rows(self) -> Iterator[Row | BadRow]:
        """Rows in file order, read as they are asked for; a bad one is yielded, never raised."""


class Noise(Protocol):
    """A realistic variation. The stage around it protects spans; the noise sees free text only."""

    def __call__(self, text: str, rng: Random) -> str: ...


class Validator(Protocol):
    """A rule that one sample passes or not, whatever the others are."""

    def __call__(self, sample: Sample) -> Verdict: ...


class Selector(Protocol):
    """A rule that looks at a sample beside those that were accepted before it, in output order."""

    def __call__(self, sample: Sample) -> Verdict: ...


class Stage(Protocol):
    """What the engine sees: samples in, the same number of samples out, in the same order."""

    @property
    def kind(self) -> str:
        """``noise``, ``validation`` or ``selection``."""

    @property
    def name(self) -> str:
        """As in the recipe."""

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]: ...


class Sink(Protocol):
    """One output file format. The run folder decides the path, and publishes the file when done."""

    suffix: ClassVar[str]
    """The ending of the file's name, with its dot."""

    def encode(self, sample: Sample) -> bytes:
        """One accepted sample as bytes, with whatever ends a row in this format."""
