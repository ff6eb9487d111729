"""Swear words in their disguises, and words that only look like them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weave_async.records import Sample
from weave_async.validation.profanity import ProfanityValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    "word",
    [
        "fuck",
        "FUCKING",
        "fucked!",
        "shit.",
        "sh1t",
        "$hit",
        "5h!t",
        "sh!t",
        "f*ck",
        "f**king",
        "sh*t!",
        "b!tch",
        "b1tches",
        "fuuuuck",
        "shiiiit",
        "f.u.c.k",
        "f u c k",
        "f-u-c-k",
        "a$$hole",
        "@sshole",
        "cunts",
        "_fuck_",
    ],
)
def test_a_swear_word_is_found_in_its_disguise(make_sample: MakeSample, word: str) -> None:
    verdict = ProfanityValidator()(make_sample(f"Well, {word} it is"))
    assert (verdict.passed, verdict.reason) == (False, "profanity")
    assert verdict.evidence["count"] == 1
    assert verdict.evidence["at"] == 6


@pytest.mark.parametrize(
    "text",
    [
        "Scunthorpe, Penistone and Lightwater are towns.",
        "The class will assess the bass and pass the assignment.",
        "Dick Cockburn shot a shiitake; Moby-Dick is a whale.",
        "The cock crows, the ass brays, the bitter tits sing.",
        "Hell, damn, crap.",
        "It cost $5, or 5!, in 1984; mail a@b.example.",
        "A * b * c = **bold** and *it*",
        "I like shitake, wankel engines and Fuchs.",
        "Mr. F. U. Clark, Ph.D.",
        "Shut it! Suck it and see.",
        "a b c d e f g",
        "s***, f***, b****",
        "5h17 0x5h1f 455",
        "cum laude, a prick of the finger, fire retardant",
        "The word list: duck, luck, ship, shift, count, beach, witch",
        "He hit the ditch, punt the boat.",
        "snigger, niggle, niggard, Niger, Nigeria",
    ],
)
def test_ordinary_text_passes(make_sample: MakeSample, text: str) -> None:
    verdict = ProfanityValidator()(make_sample(text))
    assert verdict.passed, verdict.evidence


def test_lists_and_words_are_options(make_sample: MakeSample) -> None:
    sample = make_sample("That is shit, damn it.")
    assert ProfanityValidator(levels=["strong", "slur"])(sample).passed
    assert ProfanityValidator(allow=["SHIT"])(sample).passed
    mild = ProfanityValidator(levels=[], also=["Damn"])(sample)
    assert mild.evidence["words"] == ["damn"]
    with pytest.raises(ValueError, match="'a b' is not one word"):
        ProfanityValidator(also=["a b"])


def test_the_field_decides_which_turns_count(make_sample: MakeSample) -> None:
    sample = make_sample("I see.", user="This is shit.")
    assert not ProfanityValidator()(sample).passed
    assert not ProfanityValidator("prompt")(sample).passed
    assert ProfanityValidator("completion")(sample).passed
