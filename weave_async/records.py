"""The nouns of the journey, in the order in which a run meets them.

``Row`` (of a source) → ``Prompt`` → ``Request`` → ``Chunk``… → ``Response`` → ``Sample``.
Each is frozen; a station returns a new one with ``dataclasses.replace``. ``None`` means "not
known", ``0`` means "measured, and zero".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from pydantic import SecretStr

Role = Literal["system", "user", "assistant"]
Api = Literal["chat", "completions"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error", "unknown"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a source. ``origin`` says where it stands, as ``file:line``.

    ``params`` are sampling parameters of the row's own, by their names in ``SamplingParams``: they
    win over the recipe's.
    """

    values: Mapping[str, Any]
    origin: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A place in a source that holds no usable row, and why."""

    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A row joined with the template and the attributes sampled for one draw.

    ``prompt_id`` depends on the row's content (and its occurrence, where rows repeat), not on its
    position, so that a reordered source keeps the answers it has already paid for. ``messages`` are
    what a trainer is to see of it; a request may show the model more (few-shot examples).
    """

    prompt_id: str
    sample_index: int
    messages: tuple[Message, ...]
    attributes: Mapping[str, Any]
    origin: str
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The source's row, for the rules that compare an answer with it."""

    def value_of(self, name: str) -> Any:
        """The attribute of that name, or else the column; raises ``KeyError`` if it has neither."""
        return self.attributes[name] if name in self.attributes else self.columns[name]


class DrawnParts(dict[str, Any]):
    """A drawn value with parts, as a person or a leaf with its path: as a text it is the first."""

    def __str__(self) -> str:
        return str(next(iter(self.values()), ""))


def as_category(value: Any) -> Any:
    """What a value is counted under: one with parts, as what it is as a text."""
    return next(iter(value.values()), None) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """What the model is told about sampling. ``None`` is not sent: the endpoint's default holds."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] | None = None
    reasoning_effort: str | None = None
    seed: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The parameters that are set, in a fixed order, under their OpenAI names."""
        values = zip(_PARAM_NAMES, _param_values(self), strict=True)
        return {name: value for name, value in values if value is not None}


_PARAM_NAMES = SamplingParams.__slots__
_param_values = attrgetter(*_PARAM_NAMES)


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent to an endpoint: one completion of one prompt, or ``num_choices`` of them.

    ``request_id`` is the digest of all that can change the answer (model, messages, parameters,
    schema, draw). The journal keeps answers under it. ``attempt_id`` names one sending of it, and
    begins with its id: the dispatcher gives each its own, and providers pass it on as
    ``X-Client-Request-Id``. ``schema`` is the JSON Schema that the answer should have: an endpoint
    that cannot enforce it is told in words. ``num_choices`` is no part of the id: in a request for
    several, the others have requests of their own, and only their answers came with this one's.
    """

    request_id: str
    model: str
    messages: tuple[Message, ...]
    params: SamplingParams
    api: Api = "chat"
    attempt_id: str = ""
    schema: Mapping[str, Any] | None = None
    num_choices: int = 1

    @property
    def prompt_text(self) -> str:
        """The messages as one text, for the plain completions API."""
        return "\n\n".join(message.content for message in self.messages)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the endpoint counted them. Cached input tokens are part of ``input_tokens``."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model wants called. ``arguments`` is the JSON text it wrote, as it is."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed response. ``finish_reason`` and ``usage`` come late, and maybe never.

    ``tool_calls`` are whole: they come together, with the finish reason.

    The first chunk with a non-empty ``text`` or ``reasoning`` is the one that ends TTFT.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    raw_finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What an endpoint says of its limits (``x-ratelimit-*``), as far as it says it.

    It is hearsay: headers lie, and limits over a second may be given as if over a minute.
    """

    limit_requests: float | None = None
    remaining_requests: float | None = None
    reset_requests_s: float | None = None
    limit_tokens: float | None = None
    remaining_tokens: float | None = None
    reset_tokens_s: float | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one request.

    ``model`` is the name the endpoint answered with, ``raw_finish_reason`` its own word.
    ``e2e_s`` runs from the send to the last byte, without any time spent in our queues.
    ``others`` are the further choices of a request for several; ``usage`` is then that of them all,
    and stands on the first alone. An endpoint may answer with fewer choices than it was asked for.
    ``regenerations`` is how often it was asked again, for answers that did not fit the schema.
    """

    text: str
    finish_reason: FinishReason
    raw_finish_reason: str | None = None
    reasoning: str = ""
    usage: Usage = field(default_factory=Usage)
    model: str | None = None
    e2e_s: float | None = None
    rate_limits: RateLimits | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    others: tuple[Response, ...] = ()
    regenerations: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement on one sample. ``reason`` is a short code, ``evidence`` is what it rests on.

    A rule that mends what it finds, as where it blacks out an address, passes the sample with the
    ``messages`` that are to take the place of its own.
    """

    passed: bool
    reason: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Message, ...] | None = None


ACCEPTED = Verdict(passed=True)


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a sample did not reach the dataset: which stage, which of its rules, on what evidence."""

    stage: str
    rule: str
    reason: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why no answer came for a sample. Holds text, not the exception: those pin whole frames."""

    error: str
    message: str
    attempts: int
    status_code: int | None = None
    retryable: bool = False
    may_be_billed: bool = False


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """A verdict that stays with its sample: a judge's score, or all verdicts where one asked.

    ``mended`` says that the rule has put other messages in the place of the sample's.
    """

    rule: str
    passed: bool
    reason: str
    evidence: Mapping[str, Any]
    mended: bool = False


@dataclass(frozen=True, slots=True)
class TextChange:
    """One stretch of a text that noise has replaced. ``start`` counts characters before it."""

    start: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class NoiseEdit:
    """What one noiser did to one message, as changes in order, which do not overlap.

    Their offsets are those of the text that this noiser was given: undoing a message's edits from
    the last to the first brings back the clean text (``noise.edits.undone``). There are none where
    a rule has mended the message since.
    """

    noise: str
    message_index: int
    changes: tuple[TextChange, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One response with its lineage, on its way to the dataset.

    ``ordinal`` is its place in the order of asking, which is the order of the output.
    ``messages`` are what a trainer will see: noise changes them, ``request`` stays as sent.
    A sample ends as exactly one of written, rejected (``rejection``) or failed (``failure``).
    Noise may make several samples of one answer: ``copy`` counts those beside the first.
    ``verdicts`` are those worth keeping; ``repairs`` is how often a model was told of a rejection
    and answered again.
    """

    ordinal: int
    prompt: Prompt
    request: Request
    endpoint: str
    seed: int
    messages: tuple[Message, ...] = ()
    response: Response | None = None
    edits: tuple[NoiseEdit, ...] = ()
    rejection: Rejection | None = None
    failure: Failure | None = None
    copy: int = 0
    verdicts: tuple[RuleVerdict, ...] = ()
    repairs: int = 0

    def answered(
        self,
        outcome: Response | Failure,
        *,
        endpoint: str | None = None,
        sent: Request | None = None,
    ) -> Sample:
        """This sample with its end of the asking, and with the turns that a trainer will see.

        ``endpoint`` is who answered, where that is another than the one it was planned for;
        ``sent`` is the request as it was sent there, under the same id. Called for every sample:
        ``dataclasses.replace`` would take twice as long.
        """
        messages, response, failure = self.prompt.messages, None, None
        if isinstance(outcome, Failure):
            failure = outcome
        else:
            response = outcome
            messages = (*messages, Message("assistant", outcome.text.strip()))
        return Sample(
            ordinal=self.ordinal,
            prompt=self.prompt,
            request=sent or self.request,
            endpoint=endpoint or self.endpoint,
            seed=self.seed,
            messages=messages,
            response=response,
            failure=failure,
        )

    @property
    def answer_id(self) -> str:
        """The sample that was asked for; the journal keeps its answer under this name."""
        return f"{self.prompt.prompt_id}-{self.prompt.sample_index}"

    @property
    def sample_id(self) -> str:
        """``answer_id``, and which copy of it this is: ``3f…-0``, ``3f…-0~1``."""
        return f"{self.answer_id}~{self.copy}" if self.copy else self.answer_id

    @property
    def completion(self) -> str:
        """The assistant turn as it stands now, empty when there is none."""
        last = self.messages[-1] if self.messages else None
        return last.content if last and last.role == "assistant" else ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go: a provider, an address with its key, and the limits that hold there.

    ``api_key`` belongs to ``base_url``'s origin and is sent nowhere else. ``deadline_s`` bounds one
    whole attempt, ``timeout_s`` each single wait in it. ``options`` are the provider's own.
    ``preset`` names the service whose ways are known (``groq``, ``vllm``), where somebody said so.
    With ``mode`` ``batch``, requests go out as files to the endpoint's batch API.
    ``private_options`` are the names of those that only say how it is reached.
    """

    name: str
    provider: str
    model: str
    base_url: str | None = None
    api_key: SecretStr | None = None
    max_concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_s: float = 120.0
    deadline_s: float = 600.0
    options: Mapping[str, Any] = field(default_factory=dict)
    preset: str | None = None
    mode: Literal["live", "batch"] = "live"
    private_options: frozenset[str] = frozenset()

    @property
    def public_options(self) -> dict[str, Any]:
        """What may be stored, and is part of what is asked: a proxy or a certificate is neither."""
        return {k: v for k, v in self.options.items() if k not in self.private_options}


@dataclass(frozen=True, slots=True)
class Consulted:
    """Whom a stage asks: an endpoint as in the mix, ``None`` for the first of the mix."""

    endpoint: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A service or a kind of server whose address and ways are known: data, found by its name.

    ``base_url`` is where it is unless somebody says otherwise, ``None`` where each user has an
    address of his own; ``address_advice`` then says where to find it. ``key_variable`` and
    ``model_variable`` are variables that its users have set already; that key is sent to the
    preset's origin and to no other. ``base_url_variable`` may move that origin, and to its value
    ``base_url_suffix`` is added. ``options`` are those of ``provider``, under what a user says.
    """

    title: str
    provider: str
    base_url: str | None = None
    key_variable: str | None = None
    base_url_variable: str | None = None
    base_url_suffix: str = ""
    model_variable: str | None = None
    address_advice: str = ""
    rate_limit_headers: str = ""
    traps: str = ""
    docs_url: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def variables(self) -> tuple[str, ...]:
        """What it reads of the environment."""
        named = (self.base_url_variable, self.key_variable, self.model_variable)
        return tuple(name for name in named if name)


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """What an endpoint says of itself for free: see ``interfaces.Inspectable``.

    ``models`` are its models with the tokens of their context. ``clock_ahead_s`` is how far its
    clock is ahead of ours. ``ways`` are the things in which it is known to differ, in words, and
    ``runs_on`` is what a server of our own has found to run on.
    """

    models: Mapping[str, int | None]
    clock_ahead_s: float | None = None
    ways: tuple[str, ...] = ()
    runs_on: str = ""
