"""Presets by the kind of text: good short rows pass, which the papers' bounds refuse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.records import Sample
from weave_async.validation.c4 import C4Validator
from weave_async.validation.fineweb import FineWebValidator
from weave_async.validation.gopher_quality import GopherQualityValidator
from weave_async.validation.repetition import RepetitionValidator

MakeSample = Callable[..., Sample]
MakeRule = Callable[..., Callable[[Sample], Any]]
RULES: list[MakeRule] = [
    C4Validator,
    FineWebValidator,
    GopherQualityValidator,
    RepetitionValidator,
]
ANY_RULE = pytest.mark.parametrize("make", RULES, ids=lambda make: make.__name__)

QUESTIONS = [
    "Where is my parcel?",
    "how do i cancel the order i placed this morning",
    "Is it 3.5 or 4.5 kg?",
    "Why?",
    "Can I pay by card, or can I pay by transfer, or do you take cash?",
    "turn off the kitchen lights",
    "What does `None` mean in Python, and what is null in JavaScript?",
    "Do you use cookies on your site?",
    "hi, my card (ending 4821) was declined twice today... any idea why??",
    "Wie lange dauert der Versand nach Österreich?",
    "¿Dónde está mi pedido?",
    "ur app keeps crashing on my phone!!! pls fix",
    "What's the best time to visit, is it spring or is it autumn?",
]
ANSWERS = [
    "Paris",
    "42",
    "B",
    "Yes.",
    "No, I don't think so.",
    "Ha ha ha, that is a good one!",
    "You can change it under Settings.\nThen sign in again.",
    "- milk\n- eggs\n- flour\n- sugar",
    "1. Open the app.\n2. Tap your name.\n3. Choose Sign out.",
    "```python\ndef add(a, b):\n    return a + b\n```",
    '{"name": "Ada", "born": 1815}',
    "Well... I am not sure...",
    "Roses are red,\nviolets are blue,\nsugar is sweet,\nand so are you.",
    "JavaScript runs in the browser. Our privacy policy says more.",
    "Das Paket ist unterwegs und kommt morgen an.",
    "It costs $4.99 per month, or $49 per year.",
]
PARAGRAPHS = [
    "The old mill stands at the end of the lane. It has not turned since the war, and most of the "
    "roof is gone. Still, people come in summer to sit by the water with a book or a picnic.",
    "To reset the device, hold the button for ten seconds until the light goes off. Then release "
    "it and wait for a minute. If it does not start, check that the cable has not come loose.",
    "She had been told that the train would be late, and it was. What nobody had told her was that "
    'the café would be closed. "Typical," she said, and sat down on her suitcase to wait.',
]
GOOD = {"question": QUESTIONS, "chat": ANSWERS, "paragraph": PARAGRAPHS}


@pytest.mark.parametrize(("preset", "text"), [(kind, text) for kind in GOOD for text in GOOD[kind]])
def test_good_short_texts_pass_with_the_preset_of_their_kind(
    make_sample: MakeSample, preset: str, text: str
) -> None:
    for make in RULES:
        verdict = make(preset=preset)(make_sample(text))
        assert verdict.passed, (make, verdict)


def test_the_papers_bounds_refuse_most_of_them(make_sample: MakeSample) -> None:
    texts = [make_sample(text) for text in (*QUESTIONS, *ANSWERS)]
    for make in (C4Validator, GopherQualityValidator, RepetitionValidator):
        rule = make("document")
        assert sum(rule(text).passed for text in texts) < len(texts) / 3


@pytest.mark.parametrize(
    ("rule", "text", "reason"),
    [
        (GopherQualityValidator("question"), "?!", "too_few_words"),
        (GopherQualityValidator("question"), "a b c d e f", "short_words"),
        (GopherQualityValidator("question"), "12 $ 48 : 71 _ 9", "too_few_alphabetic_words"),
        (GopherQualityValidator("chat"), "...", "too_few_words"),
        (GopherQualityValidator("chat"), "# # # # yes", "too_many_hashes"),
        (GopherQualityValidator("chat"), "WGVhdmUgYXN5bmMgbWFrZXMgZGF0YQ " * 3, "long_words"),
        (GopherQualityValidator("paragraph"), "Too little of it.", "too_few_words"),
        (C4Validator("chat"), "Lorem ipsum dolor sit amet.", "lorem_ipsum"),
        (C4Validator("paragraph"), "One sentence only is in it.", "too_few_sentences"),
        (FineWebValidator("chat"), "yes\nno\n" * 4, "duplicate_chars"),
        (FineWebValidator("chat"), "a\n\nb\n\nc", "too_many_line_breaks"),
        (FineWebValidator("paragraph"), "Home\nAbout us\nOur team\nContact", "short_lines"),
    ],
)
def test_bad_short_texts_are_refused(
    make_sample: MakeSample, rule: Callable[[Sample], Any], text: str, reason: str
) -> None:
    assert rule(make_sample(text)).reason == reason


@ANY_RULE
def test_the_preset_is_what_a_bare_value_sets_and_chat_unless_it_is_said(make: MakeRule) -> None:
    assert make("document") == make(preset="document")
    assert make() == make("chat")


@ANY_RULE
@pytest.mark.parametrize("bound", [-1, math.nan, math.inf])
def test_a_bound_that_is_none_is_refused(make: MakeRule, bound: float) -> None:
    option = next(name for name in make.__slots__ if name.startswith(("min_", "max_")))  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=rf"^{option} .* null for none$"):
        make(**{option: bound})


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (
            RepetitionValidator,
            {"max_top_2gram": 20},
            "max_top_2gram 20 is a fraction: 0.2 for 20 %",
        ),
        (
            GopherQualityValidator,
            {"min_words": 9, "max_words": 3},
            "min_words 9 is above max_words 3",
        ),
        (GopherQualityValidator, {"min_stop_words": 3, "stop_words": ["und"]}, "stop_words: 1"),
    ],
)
def test_bounds_that_cannot_be_meant_are_refused(
    make: MakeRule, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"": "tweet"}, "'question', 'chat', 'paragraph' or 'document'"),
        ({"max_top_5gram": 1}, "unknown option 'max_top_5gram'; did you mean 'max_top_4gram'"),
        ({"max_top_2gram": "much"}, "max_top_2gram"),
    ],
)
def test_mistakes_in_a_recipe_are_told_with_what_exists(
    options: dict[str, Any], message: str
) -> None:
    name = "weave_async.validation.repetition:RepetitionValidator"
    with pytest.raises(RecipeError, match=message):
        registry.build("validator", name, options)


def test_an_option_of_a_recipe_may_be_null_or_the_presets() -> None:
    name = "weave_async.validation.repetition:RepetitionValidator"
    options = {"preset": "document", "max_top_2gram": None, "max_top_3gram": "preset"}
    assert registry.build("validator", name, options) == RepetitionValidator(
        "document", max_top_2gram=None
    )
