"""What is there of an endpoint, and whether a run could start on it: the checks of ``doctor``.

The list of models is free. Unless told to ask for nothing else, three tiny requests follow: a whole
answer, a streamed one, one in JSON. A key is used, and stands in nothing that comes out of here,
even where the endpoint repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any, Literal

import orjson

from weave_async.errors import (
    AuthenticationError,
    ConnectError,
    DeadlineError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RecipeError,
    RequestRefusedError,
    TlsError,
    WeaveError,
)
from weave_async.guard import is_listed
from weave_async.interfaces import Provider
from weave_async.log_redaction import SHORTEST_CHARS
from weave_async.parts.endpoints import prices_of, providers_of, sellers_of
from weave_async.probing import TOKENS_PER_REQUEST, Probe
from weave_async.records import Endpoint, EndpointFacts, RateLimits

State = Literal["ok", "warning", "failed", "skipped"]

NO_MODEL = "(none chosen)"
"""Stands for the model of an endpoint for which nobody has named one."""
NAME_A_MODEL = "name one with --model, in the environment, or in the recipe's generate.mix"
TOLERABLE_SKEW_S = 30.0
LONGEST_SHOWN = 500
MOST_MODELS_NAMED = 5

_ADVICE: tuple[tuple[type[WeaveError], str], ...] = (
    (RateLimitError, "wait, or ask for less with --rpm, --tpm or --concurrency"),
    (QuotaError, "top up the account, or name another endpoint in generate.mix"),
    (ModelNotFoundError, "choose a model that is listed there, with --model"),
    (RequestRefusedError, "is this a model that chats? Options of the endpoint may be at fault"),
    (DeadlineError, "is it loading a model, or overloaded? Try again in a while"),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. ``exit_code`` is what a run would end with, if it fails for this."""

    name: str
    state: State
    says: str
    advice: str | None = None
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of one endpoint. ``models`` are its models with the tokens of their context."""

    endpoint: str
    provider: str
    preset: str | None
    model: str | None
    base_url: str | None
    has_key: bool
    checks: tuple[Check, ...]
    models: Mapping[str, int | None] | None = None
    clock_ahead_s: float | None = None
    latency_s: float | None = None
    ttft_s: float | None = None
    rate_limits: RateLimits | None = None
    learned: tuple[str, ...] = ()
    num_requests: int = 0

    @property
    def exit_code(self) -> int:
        """0 if a run could start here, else that of the first check that failed."""
        return next((check.exit_code for check in self.checks if check.state == "failed"), 0)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "exit_code": self.exit_code}


def unusable(name: str, error: WeaveError) -> Diagnosis:
    """The diagnosis of an endpoint whose settings alone say that nothing can be asked."""
    check = Check("settings", "failed", str(error), exit_code=error.exit_code)
    return Diagnosis(name, "", None, None, None, has_key=False, checks=(check,))


async def diagnose(
    endpoint: Endpoint, *, only_free: bool, on_step: Callable[[str], None] = lambda step: None
) -> Diagnosis:
    """Run every check that makes sense after those before it. Raises nothing of the endpoint's."""
    examination = _Examination(endpoint, on_step)
    try:
        provider = providers_of([endpoint])[endpoint.name]
    except WeaveError as error:
        examination.failed("settings", error)
    else:
        await examination.run(provider, only_free=only_free)
    return examination.diagnosis()


@dataclass
class _Examination:
    """The checks of one endpoint, in their order, and what they have found so far."""

    endpoint: Endpoint
    on_step: Callable[[str], None]
    checks: list[Check] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)
    base_url: str | None = None
    model: str | None = None
    ways: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.base_url = self.endpoint.base_url
        self.model = None if self.endpoint.model == NO_MODEL else self.endpoint.model

    def diagnosis(self) -> Diagnosis:
        return Diagnosis(
            endpoint=self.endpoint.name,
            provider=self.endpoint.provider,
            preset=self.endpoint.preset,
            model=self.model and self._shown(self.model),
            base_url=self.base_url and _without_secrets(self.base_url),
            has_key=self.endpoint.api_key is not None,
            checks=tuple(self.checks),
            **self.found,
        )

    async def run(self, provider: Provider, *, only_free: bool) -> None:
        """Until a check fails that leaves no sense in the others."""
        self.base_url = self.base_url or getattr(provider, "default_base_url", None)
        probe = Probe(self.endpoint, provider)
        self.on_step("start")
        try:
            async with probe:
                if not await self._look_at_models(probe):
                    return
                self._look_at_price(provider)
                if only_free:
                    self.skipped("request", "not asked for: it costs some tokens")
                elif self.model is None:
                    self.skipped("request", "no model is chosen: name one with --model")
                elif await self._ask_whole(probe, self.model):
                    await self._ask_streamed(probe, self.model)
                    await self._ask_for_json(probe, self.model)
                await self._look_at_ways(probe)
        except WeaveError as error:
            self.failed("reachable", error)
        finally:
            self.found["learned"] = tuple(map(self._shown, probe.learned))
            self.found["num_requests"] = probe.num_requests

    # --- the checks ------------------------------------------------------------------------------

    async def _look_at_models(self, probe: Probe) -> bool:
        """Reachable, TLS, key, models, clock: all that one free question tells."""
        self.on_step("models")
        started_s = perf_counter()
        problem: ProviderError | None = None
        facts = EndpointFacts({})
        try:
            facts = await probe.facts()
        except ProviderError as error:
            problem = error
        if isinstance(problem, ConnectError | DeadlineError) and not isinstance(problem, TlsError):
            self.failed("reachable", problem)
            return False
        self.ok("reachable", f"answered within {perf_counter() - started_s:.2f} s")
        if isinstance(problem, TlsError):
            self.failed("tls", problem)
            return False
        if (self.base_url or "").startswith("https:"):
            self.ok("tls", "its certificate is trusted")
        if isinstance(problem, AuthenticationError):
            self.failed("key", problem)
            return False
        if problem is not None:
            self.warning(
                "models", f"not listed: {problem}", "nothing, if the model's name is right"
            )
            if self.model is None:
                self._require_model([])
            return True
        self.found["models"] = {self._shown(name): size for name, size in facts.models.items()}
        self._judge_models(facts.models)
        self._judge_clock(facts.clock_ahead_s)
        if facts.runs_on:
            self.ok("runs on", facts.runs_on)
        self.ways = facts.ways
        return True

    def _judge_models(self, models: Mapping[str, int | None]) -> None:
        if not models:
            self.warning("models", "none are listed", "is one loaded there?")
        if self.model is None:
            self._require_model(list(models))
            if len(models) == 1:  # the questions below are asked of it
                [self.model] = models
        elif models:
            listed = [name for name in models if is_listed(self.model, [name])]
            size = models[listed[0]] if listed else None
            context = f"{size:,} tokens of context" if size else "its context is not stated"
            if listed:
                self.ok("model", f"{self.model} is listed, {context}")
            else:
                self.warning("model", f"{self.model} is not listed", "name one of those above")

    def _require_model(self, listed: list[str]) -> None:
        """Without one no run starts here, whatever else is well."""
        first = ", ".join(listed[:MOST_MODELS_NAMED])
        more = len(listed) - MOST_MODELS_NAMED
        shown = f"; listed: {first}{f' and {more} more' if more > 0 else ''}" if listed else ""
        self.failed(
            "model", RecipeError(f"none is chosen, and a run needs one{shown}"), NAME_A_MODEL
        )

    def _judge_clock(self, ahead_s: float | None) -> None:
        self.found["clock_ahead_s"] = ahead_s
        if ahead_s is None:
            self.skipped("clock", "it does not say what time it is")
        elif abs(ahead_s) <= TOLERABLE_SKEW_S:
            self.ok("clock", "the same time there as here")
        else:
            way = "ahead of" if ahead_s > 0 else "behind"
            self.warning(
                "clock",
                f"{abs(ahead_s):,.0f} s {way} ours",
                "set the clock that is wrong (NTP): waits given as moments come out wrong",
            )

    def _look_at_price(self, provider: Provider) -> None:
        if self.model is None:
            return
        named = {self.endpoint.name: provider}
        price = prices_of(sellers_of([self.endpoint], named))[self.endpoint.name]
        if price is None:
            self.skipped("price", "not known: bound a run by budget.tokens, not by budget.usd")
        else:
            a_million = (price.input_usd * 1e6, price.output_usd * 1e6)
            self.ok("price", "${:g} in, ${:g} out for a million tokens".format(*a_million))

    async def _ask_whole(self, probe: Probe, model: str) -> bool:
        self.on_step("request")
        started_s = perf_counter()
        try:
            response = await probe.answer(model)
        except ProviderError as error:
            is_of_key = isinstance(error, AuthenticationError)
            self.failed("key" if is_of_key else "request", error)
            return False
        if self.endpoint.api_key is not None:
            self.ok("key", "accepted")
        self.found["latency_s"] = round(response.e2e_s or perf_counter() - started_s, 3)
        named = f" by {response.model}" if response.model not in (None, model) else ""
        self.ok("request", f"answered{named} in {self.found['latency_s']:.2f} s")
        usage = response.usage
        if usage.input_tokens is None or usage.output_tokens is None:
            self.warning(
                "usage", "not reported", "nothing; tokens are estimated, and budgets the stricter"
            )
        else:
            self.ok("usage", f"{usage.input_tokens} tokens in, {usage.output_tokens} out")
        self.found["rate_limits"] = response.rate_limits
        self.ok("limits", _limits_in_words(response.rate_limits))
        return True

    async def _ask_streamed(self, probe: Probe, model: str) -> None:
        self.on_step("streaming")
        advice = "nothing: a run asks for whole answers"
        try:
            streamed = await probe.streamed_answer(model)
        except ProviderError as error:
            self.warning("streaming", f"fails: {error}", advice)
            return
        first_s = streamed.ttft_s
        self.found["ttft_s"] = first_s and round(first_s, 3)
        says = "nothing came" if first_s is None else f"first token after {first_s:.2f} s"
        if not streamed.has_ended:
            self.warning("streaming", f"{says}; it ends without a reason", advice)
        elif not streamed.has_usage:
            self.warning("streaming", f"{says}; no usage", advice)
        else:
            self.ok("streaming", f"{says}; with usage")

    async def _ask_for_json(self, probe: Probe, model: str) -> None:
        self.on_step("json")
        known = len(probe.learned)
        advice = "nothing to do: answers are checked against a recipe's schema, and asked for again"
        try:
            response = await probe.answer_in_json(model)
        except ProviderError as error:
            self.warning("json", f"fails: {error}", advice)
            return
        if refused := probe.learned[known:]:
            self.warning("json", f"not taken: {'; '.join(refused)}", advice)
        elif _is_json_object(response.text):
            self.ok("json", "the answer is JSON, as asked")
        elif response.finish_reason == "length":
            self.skipped("json", f"{TOKENS_PER_REQUEST} tokens were too few for an answer")
        else:
            self.warning("json", "the answer is not JSON", advice)

    async def _look_at_ways(self, probe: Probe) -> None:
        """How requests are built here by now, with what the endpoint has just taught."""
        if probe.learned and self.ways:
            with suppress(ProviderError):
                self.ways = (await probe.facts()).ways
        if self.ways:
            self.ok("fields", "; ".join(self.ways))

    # --- findings --------------------------------------------------------------------------------

    def ok(self, name: str, says: str) -> None:
        self.checks.append(Check(name, "ok", self._shown(says)))

    def skipped(self, name: str, says: str) -> None:
        self.checks.append(Check(name, "skipped", self._shown(says)))

    def warning(self, name: str, says: str, advice: str) -> None:
        self.checks.append(Check(name, "warning", self._shown(says), advice))

    def failed(self, name: str, error: WeaveError, advice: str | None = None) -> None:
        if advice is None:
            advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), None)
        says = self._shown(str(error))
        self.checks.append(Check(name, "failed", says, advice, error.exit_code))

    def _shown(self, text: str) -> str:
        """Without the key, which the endpoint knows and may repeat, and not too long.

        A short one ("none", "EMPTY") is a stand-in for a server that wants no key, and a word.
        """
        key = self.endpoint.api_key.get_secret_value().strip() if self.endpoint.api_key else ""
        is_secret = len(key) >= SHORTEST_CHARS
        return (text.replace(key, "***") if is_secret else text)[:LONGEST_SHOWN]


def _without_secrets(base_url: str) -> str:
    """An address as it can be shown: a user, a password and a query have no place there anyway."""
    return re.sub(r"//[^/]*@", "//***@", base_url).partition("?")[0]


def _limits_in_words(limits: RateLimits | None) -> str:
    if limits is None:
        return "none are stated: name them with --rpm and --tpm, where there are some"
    told = []
    for what, limit, left, reset_s in (
        ("requests", limits.limit_requests, limits.remaining_requests, limits.reset_requests_s),
        ("tokens", limits.limit_tokens, limits.remaining_tokens, limits.reset_tokens_s),
    ):
        parts = [
            "" if left is None else f"{left:,.0f} left",
            "" if limit is None else f"of {limit:,.0f}",
            "" if reset_s is None else f"until all are back in {reset_s:g} s",
        ]
        if any(parts):
            told.append(" ".join(filter(None, (f"{what}:", *parts))))
    return "; ".join(told) or "stated, but not in a way that can be read"


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
