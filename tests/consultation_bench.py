"""A run's parts as far as consultations need them: real journals, dispatchers and providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weave_async.asking.consulting import Advisor, Consultations
from weave_async.dispatch import Dispatcher
from weave_async.interfaces import Consult
from weave_async.journal.journal import Journal
from weave_async.metrics.ledger import RunMetrics
from weave_async.parts.consulting import advisors_of, consultation_journal_of, consultations_of
from weave_async.parts.endpoints import endpoints_of, providers_of
from weave_async.parts.sending import dispatchers_of
from weave_async.recipe import Recipe
from weave_async.records import Consulted, Sample
from weave_async.rundir import RunFolder
from weave_async.settings import Settings
from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    chat_reply,
    error_reply,
)

FIRST = Consulted()


@dataclass
class Bench:
    """A run's parts, as far as consultations need them."""

    consultations: Consultations
    dispatchers: dict[str, Dispatcher]
    journal: Journal
    journal_of_samples: Journal
    metrics: RunMetrics
    advisors: dict[Consulted, Advisor]

    def consult(self, sample: Sample, stage: str = "judge") -> Consult:
        return self.consultations.consult_for(sample, stage)


def settings_of(endpoint: ScriptedEndpoint, **more: str) -> Settings:
    environ = {
        "WEAVE_ASYNC_ENDPOINTS__MAIN__BASE_URL": endpoint.base_url,
        "WEAVE_ASYNC_ENDPOINTS__MAIN__API_KEY": "sk-test",
        "WEAVE_ASYNC_ENDPOINTS__MAIN__MODEL": "small",
        "WEAVE_ASYNC_ENDPOINTS__MAIN__MAX_CONCURRENCY": "2",
        **more,
    }
    return Settings.from_environment(environ, None)


def recipe_of(**more: Any) -> Recipe:
    budget, generate = more.pop("budget", {}), more.pop("generate", {})
    return Recipe.model_validate(
        {
            "seed": 7,
            "budget": budget,
            "prompts": {"source": "seeds.jsonl", "template": "{{ text }}"},
            "generate": {"mix": [{"endpoint": "main"}], "attempts": 2, **generate},
            **more,
        }
    )


@asynccontextmanager
async def opened(
    endpoint: ScriptedEndpoint,
    recipe: Recipe | None = None,
    *,
    consulted: tuple[Consulted, ...] = (FIRST,),
    settings: Settings | None = None,
    is_replay: bool = False,
) -> AsyncIterator[Bench]:
    """The parts in the order in which a run makes and enters them."""
    recipe, settings = recipe or recipe_of(), settings or settings_of(endpoint)
    metrics = RunMetrics()
    async with AsyncExitStack() as stack:
        endpoints = endpoints_of(recipe.generate.mix, settings)
        advisors = advisors_of(consulted, recipe, endpoints, settings)
        advising = {advisor.endpoint.name: advisor.endpoint for advisor in advisors.values()}
        providers = providers_of([*endpoints, *advising.values()])
        folder = RunFolder(Path("out"))
        folder.open()
        stack.callback(folder.close)
        journal = Journal(folder.journal, asks={})
        stack.callback(journal.close)
        journal.begin()
        own = consultation_journal_of(folder, advisors, providers, on_trouble=lambda error: None)
        assert own is not None
        stack.callback(own.close)
        dispatchers = dispatchers_of(
            recipe,
            [*endpoints, *advising.values()],
            providers,
            journal,
            on_retry=lambda error: None,
            consultations=own,
        )
        for dispatcher in dispatchers.values():
            await stack.enter_async_context(dispatcher)
        consultations = consultations_of(
            recipe,
            endpoints,
            advisors,
            providers,
            dispatchers,
            journal=own,
            metrics=metrics,
            is_replay=is_replay,
        )
        await stack.enter_async_context(consultations)
        yield Bench(consultations, dispatchers, own, journal, metrics, advisors)


def says(text: str) -> Callable[[RecordedRequest], Reply]:
    return with_models(lambda request: chat_reply(text))


def with_models(script: Callable[[RecordedRequest], Reply]) -> Callable[[RecordedRequest], Reply]:
    def reply(request: RecordedRequest) -> Reply:
        if request.method == "GET":
            return error_reply(404)
        return script(request)

    return reply
