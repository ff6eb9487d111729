"""Dry runs: with the simulated provider, rules that ask a model come to a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from consultation_bench import opened, recipe_of
from weave_async.interfaces import ConsultingNoise, ConsultingValidator
from weave_async.noise.backtranslate import BacktranslateNoise
from weave_async.noise.paraphrase import ParaphraseNoise, RegisterNoise
from weave_async.records import Sample
from weave_async.settings import Settings
from weave_async.testing.scripted_endpoint import ScriptedEndpoint
from weave_async.validation.judge import JudgeValidator, OneJudge
from weave_async.validation.pairwise import PairwiseValidator
from weave_async.validation.self_consistency import SelfConsistencyValidator

MakeSample = Callable[..., Sample]


def rules() -> list[ConsultingValidator]:
    Path("rubric.md").write_text("5 is good")
    two = [OneJudge(), OneJudge(model="other")]
    return [
        JudgeValidator("rubric.md", repeats=2, judges=two),
        PairwiseValidator("gold"),
        SelfConsistencyValidator(extract="whole"),
    ]


def test_every_rule_comes_to_the_same_verdict_again_and_pays_once(make_sample: MakeSample) -> None:
    sample = make_sample()
    sample = replace(sample, prompt=replace(sample.prompt, columns={"gold": "Blue."}))
    consulted = tuple(dict.fromkeys(whom for rule in rules() for whom in rule.consults))

    async def scenario() -> tuple[list[object], int, int]:
        recipe = recipe_of(generate={"mix": [{"endpoint": "simulated"}]})
        settings = Settings.from_environment({}, None)
        with ScriptedEndpoint([]) as unused:
            async with opened(unused, recipe, consulted=consulted, settings=settings) as bench:
                verdicts: list[object] = [
                    await rule.verdict(sample, bench.consult(sample, type(rule).__name__))
                    for rule in rules()
                ]
            counts = bench.metrics.consultations
            return verdicts, counts.asked, counts.recalled

    verdicts, num_asked, num_recalled = asyncio.run(scenario())
    assert num_recalled == 0
    assert num_asked >= 4 + 2 + 4
    again, asked_again, recalled = asyncio.run(scenario())
    assert again == verdicts
    assert (asked_again, recalled) == (0, num_asked)
    for verdict in verdicts:
        assert getattr(verdict, "reason", None) != "no_verdict"


@pytest.mark.parametrize(
    "noise", [ParaphraseNoise(), RegisterNoise("formal"), BacktranslateNoise()]
)
def test_rewriting_noises_have_their_words_from_the_endpoint(
    make_sample: MakeSample, noise: ConsultingNoise
) -> None:
    text = "Where is my order, and when does it come? " * 8

    async def scenario() -> str:
        recipe = recipe_of(generate={"mix": [{"endpoint": "simulated"}]})
        settings = Settings.from_environment({}, None)
        with ScriptedEndpoint([]) as unused:
            async with opened(
                unused, recipe, consulted=tuple(noise.consults), settings=settings
            ) as bench:
                return await noise.rewritten(text, Random(2), bench.consult(make_sample()))

    first = asyncio.run(scenario())
    assert first != text
    assert asyncio.run(scenario()) == first
