"""What is asked in a benchmark: the prompts of a recipe, or made-up ones of a given length."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from weave_async.errors import InputError
from weave_async.parts.reading import examples_source_of, source_of
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Message, Request, SamplingParams

MOST_PROMPTS = 1000
"""Of a recipe: what is asked again and again, once all of them were."""

WORDS_PER_TOKEN = 0.75
"""Of plain English, roughly: there is no tokenizer for every model, and none is downloaded. What
the endpoint counts is told beside what was asked for."""
_WORDS = (
    *("the", "of", "and", "to", "in", "is", "that", "it", "was", "for", "on", "are", "with", "as"),
    *("water", "light", "house", "people", "time", "year", "work", "day", "place", "world", "hand"),
    *("small", "large", "early", "young", "green", "simple", "open", "quick", "warm", "round"),
    *("find", "give", "tell", "become", "leave", "feel", "bring", "begin", "keep", "hold", "write"),
)
_ASKED = "Continue this text, and do not stop early: "


class Workload(Protocol):
    """``description`` is told beside the results: only like workloads can be compared."""

    @property
    def description(self) -> str: ...

    def request(self, number: int, model: str) -> Request: ...


@dataclass(frozen=True, slots=True)
class SyntheticWorkload:
    """Prompts of about ``input_tokens``, each another one, so that no cache knows them; answers of
    at most ``output_tokens``.
    """

    input_tokens: int = 64
    output_tokens: int = 64
    seed: int = 0

    @property
    def description(self) -> str:
        return f"made-up prompts of about {self.input_tokens} tokens, {self.output_tokens} out"

    def request(self, number: int, model: str) -> Request:
        rng = random.Random(self.seed << 32 | number)  # noqa: S311 - not for secrets
        num_words = max(1, round(self.input_tokens * WORDS_PER_TOKEN) - len(_ASKED.split()))
        words = [f"{number}:", *rng.choices(_WORDS, k=num_words)]
        return _numbered(
            Request(
                "",
                model,
                (Message("user", _ASKED + " ".join(words)),),
                SamplingParams(max_tokens=self.output_tokens),
            ),
            number,
        )


class GivenWorkload:
    """The requests that a run of a recipe would send, over and over again."""

    def __init__(self, requests: Sequence[Request], name: str) -> None:
        self._requests = list(requests)
        self.description = f"{len(self._requests)} prompts of {name}"

    def __repr__(self) -> str:
        return f"<GivenWorkload {self.description}>"

    def request(self, number: int, model: str) -> Request:
        request = self._requests[number % len(self._requests)]
        return _numbered(replace(request, model=model), number)


def recipe_workload(
    recipe: Recipe, name: str, *, output_tokens: int | None = None
) -> GivenWorkload:
    """What a run of the recipe would ask first; each backend puts its own model in."""
    recipe = recipe.with_changes(controller=None)  # it would wait for answers
    mix = [Endpoint("bench", "bench", "bench") for _ in recipe.generate.mix]
    with ExitStack() as stack:
        plan = Plan(recipe, source_of(recipe, stack), mix, examples=examples_source_of(recipe))
        samples = islice(plan.samples(), MOST_PROMPTS)
        asked = [sample.request for sample in samples if sample.request is not None]
    if not asked:
        raise InputError(f"{name} asks nothing: its source has no rows")
    if output_tokens is not None:
        asked = [
            replace(each, params=replace(each.params, max_tokens=output_tokens)) for each in asked
        ]
    return GivenWorkload(asked, name)


def _numbered(request: Request, number: int) -> Request:
    name = f"bench-{number}"
    return replace(request, request_id=name, attempt_id=name)
