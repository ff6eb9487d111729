"""The seams: what a part must look like to take its place in the journey.

A part is found through an entry point (``weave_async.providers``, ``.sources``, ``.noise``,
``.validators``, ``.selectors``, ``.sinks``) or as ``package.module:Name``. Apart from providers, a
part is a dataclass whose fields are its options: the recipe's keys are checked against them.
``weave_async.presets`` is for data: mappings from a name to a ``records.Preset``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from weave_async.errors import ProviderError
from weave_async.records import (
    Api,
    BadRow,
    Chunk,
    Consulted,
    Endpoint,
    EndpointFacts,
    Failure,
    Message,
    Request,
    Response,
    Row,
    Sample,
    SamplingParams,
    Verdict,
)


class Provider(Protocol):
    """One attempt at an endpoint: no retry, no sleep, no count; it raises ``ProviderError`` only.

    Entering the context makes it ready to serve, however long that takes (a local server loads its
    weights); what it waits for goes to its module's logger at INFO. Leaving releases everything.
    ``complete`` and ``stream`` may be called concurrently and must survive cancellation.

    A provider whose answers are made up says so, ``is_simulation: ClassVar[bool] = True``: they
    must never stand in for those of a model. One whose options decide who gets to see its key names
    them, ``trusting_options: ClassVar[Collection[str]]``: they are taken from the environment, and
    from no recipe.
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


@dataclass(frozen=True, slots=True)
class BatchState:
    """How a batch of requests stands at its provider. ``status`` is the provider's word for it.

    Once it ``has_ended`` there is nothing to wait for; its answers, as far as there are any, stand
    in ``files``. ``faults`` say why it was refused: the line of its file, counted from 1, where it
    is one line's fault, and the error that it amounts to.
    """

    status: str
    has_ended: bool
    num_requests: int = 0
    num_completed: int = 0
    num_failed: int = 0
    files: tuple[str, ...] = ()
    faults: tuple[tuple[int | None, ProviderError], ...] = ()


class BatchApi(Protocol):
    """Requests as files that are answered within a day: OpenAI's Batch API, or one like it.

    As a provider's, each call is one attempt that raises ``ProviderError`` only. The files' lines
    are requests and answers as the provider writes and reads them; whoever calls knows only that
    each bears a ``custom_id``.
    """

    max_requests: ClassVar[int]
    """In one file."""
    max_bytes: ClassVar[int]
    """The same."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def request_line(self, request: Request, custom_id: str) -> bytes:
        """One line of a batch file, the same request that ``complete`` would send."""

    def custom_id_in(self, line: bytes) -> str | None:
        """Whose line this is, of a batch file or of its answers; ``None`` if it is none."""

    def response_in(self, line: bytes, request: Request) -> Response:
        """The answer to ``request`` in its line; raises what the endpoint said instead."""

    async def upload(self, path: Path) -> str:
        """Hand a batch file over; returns its id there."""

    async def create(self, file_id: str, api: Api, metadata: Mapping[str, str]) -> str:
        """Have an uploaded file answered; returns the batch's id. From here on it costs."""

    async def find(self, metadata: Mapping[str, str], *, since: float) -> str | None:
        """The id of the batch that was created with ``metadata``, not before that time."""

    async def state(self, batch_id: str) -> BatchState: ...

    async def download(self, file_id: str, path: Path) -> None:
        """Write a file of answers to ``path``, which must not exist; whole, or raise."""


@runtime_checkable
class BatchProvider(Protocol):
    """What a provider may offer besides: requests as files. It need not be entered for that."""

    def batch_api(self) -> BatchApi: ...


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


class EditingNoise(Protocol):
    """A noise that says where it changes what, and so may look at the whole text.

    ``passage`` is a ``noise.edits.Passage`` and the edits are ``noise.edits.Edit``: none may touch
    what is protected there. A field called ``rate`` is the share of its sites that it changes; it
    is halved where a text has lost its meaning.

    ``rewrites: ClassVar[frozenset[str]]`` names kinds of spans, otherwise protected, that it
    writes in another way with the same value.
    """

    def edits(self, passage: Any, rng: Random) -> Iterable[Any]: ...


class Validator(Protocol):
    """A rule that one sample passes or not, whatever the others are.

    A rule that takes microseconds and cannot hang says so, ``is_light: ClassVar[bool] = True``: it
    runs on the event loop. Others run in worker processes, under a deadline. ``columns_read``, if
    there is such an attribute, names the columns or attributes of the prompt that it needs.
    """

    def __call__(self, sample: Sample) -> Verdict: ...


class Consult(Protocol):
    """Asks an endpoint something about one sample: within limits and budget, and journalled.

    The same question about the same sample is never bought twice; ``draw`` makes it another one.
    ``whom`` is one of those that the part names in ``consults``. Raises ``ConsultationError`` if
    there is no answer to be had to this question.
    """

    async def __call__(
        self,
        whom: Consulted,
        messages: Sequence[Message],
        *,
        params: SamplingParams,
        draw: int = 0,
        schema: Mapping[str, Any] | None = None,
    ) -> Response: ...


class ConsultingNoise(Protocol):
    """A noise that has a text rewritten by a model, as a paraphrase."""

    @property
    def consults(self) -> Sequence[Consulted]:
        """Whom it may ask."""

    async def rewritten(self, text: str, rng: Random, consult: Consult) -> str: ...


class ConsultingValidator(Protocol):
    """A rule that asks a model, as a judge does."""

    @property
    def consults(self) -> Sequence[Consulted]:
        """Whom it may ask."""

    async def verdict(self, sample: Sample, consult: Consult) -> Verdict: ...


class Selector(Protocol):
    """A rule that looks at a sample beside those that are in the dataset, in output order.

    ``features_of`` is what is compared of each sample, computed for many at once; it depends on
    each sample alone. ``verdict`` changes nothing; ``keep`` is told of a sample that no selector
    has refused. Selectors run in a thread, one call at a time, unless they say ``is_light:
    ClassVar[bool] = True``. One that has a ``prepare()`` reads there what it compares with: it may
    take its time, and raise ``WeaveError``. ``columns_read`` is as with validators, and
    ``rules_read``, if there is such an attribute, names the rules whose verdicts it needs.

    The small form is a function or a callable, ``(sample) -> Verdict``, which keeps what it likes.
    """

    def features_of(self, samples: Sequence[Sample]) -> Sequence[Any]: ...

    def verdict(self, sample: Sample, features: Any) -> Verdict: ...

    def keep(self, sample: Sample, features: Any) -> None: ...


class FinalSelector(Protocol):
    """A rule that decides once it has seen all samples; it comes last, and there is one of it.

    ``most_written``, if there is such an attribute, is how many it lets through at most.
    """

    def features_of(self, samples: Sequence[Sample]) -> Sequence[Any]: ...

    def offer(self, sample: Sample, features: Any) -> None:
        """A candidate. What is kept of it should be small: there may be a million."""

    def verdicts(self) -> Iterable[Verdict]:
        """On every candidate, in the order in which they came. A generator does its work before
        the first of them: that is what runs in a thread.
        """


class Stage(Protocol):
    """What the engine sees: samples in, samples out, in the same order.

    Noise may put copies of a sample behind it; what could not be judged, since the run was stopped
    on the way to a model, is left out.
    """

    @property
    def kind(self) -> str:
        """``noise``, ``validation`` or ``selection``."""

    @property
    def name(self) -> str:
        """As in the recipe."""

    async def process(self, samples: Sequence[Sample]) -> Sequence[Sample]: ...


class ShardWriter(Protocol):
    """Writes samples into one file that is open, in a format of which rows are no lines."""

    def write(self, sample: Sample) -> None:
        """Take one accepted sample; it may be held until there are more."""

    def finish(self) -> None:
        """Write what is left. The file is closed by whoever has opened it."""

    def abandon(self) -> None:
        """Let go of the file, which nobody will read; may come after ``finish``."""


class ShardedSink(Protocol):
    """An output format that needs its file from the first row to the last, as Parquet does. Files
    get ``rows_per_shard`` rows each.
    """

    suffix: ClassVar[str]
    rows_per_shard: int

    def open(self, write: Callable[[bytes], object]) -> ShardWriter:
        """A writer of one file: bytes that are passed to ``write`` are appended to it."""


class Sink(Protocol):
    """One output file format. The run folder decides the path, and publishes the file when done."""

    suffix: ClassVar[str]
    """The ending of the file's name, with its dot."""

    def encode(self, sample: Sample) -> bytes:
        """One accepted sample as bytes, with whatever ends a row in this format."""
