"""Chat filler, and templates that were not filled in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weave_async.records import Sample
from weave_async.validation.boilerplate import BoilerplateValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Sure, here is your email:\n\nDear Bo, thanks.", "opener"),
        ("Certainly! Here are five questions:\n1. Why?", "opener"),
        ("Of course! I'd be happy to help you.", "opener"),
        ("Here's a rewritten version of your text:\n\nIt rains.", "opener"),
        ("Here are three paraphrases of the sentence:\n- It rains.", "opener"),
        ("Thank you for your question! It rains.", "opener"),
        ("It rains. I hope this helps!", "closer"),
        ("It rains.\n\nLet me know if you have any questions.", "closer"),
        ("It rains. Feel free to ask for more.", "closer"),
        ("Dear Bo,\nthanks.\n[Your Name]", "placeholder"),
        ("Dear [Recipient's Name], thanks.", "placeholder"),
        ("Hello {{ first_name }}!", "placeholder"),
        ("Hello <your name here>!", "placeholder"),
        ("Lorem ipsum dolor sit amet.", "placeholder"),
        ("I moved to [City] in May.", "placeholder"),
    ],
)
def test_filler_is_refused(make_sample: MakeSample, text: str, reason: str) -> None:
    verdict = BoilerplateValidator()(make_sample(text))
    assert (verdict.passed, verdict.reason) == (False, reason)
    assert verdict.evidence["phrase"] in text
    assert text.index(verdict.evidence["phrase"]) == verdict.evidence["at"]


@pytest.mark.parametrize(
    "text",
    [
        "Sure, take your pick.",
        "Sure enough, it rained.",
        "Of course it did.",
        "Here is where we met.",
        "Here's the thing: I don't like it.",
        "Here is a cat. It is an example of a mammal.",
        "Certainly, the answer depends on the weather.",
        "I hope this year will be better.",
        "Let me know when you arrive.",
        "Arrays such as a[0], names[i] and {x} are fine.",
        "See [the name](https://a.example), [address][1] and [name]: there.",
        "Use `{{ name }}` in a template.",
        "```jinja\n{{ name }} [Your Name]\n```",
        "My mail is [EMAIL], my phone [PHONE].",
        "The set {{1}, {2}} has two members.",
        "Absolutely not.",
        "No problem, see you there.",
        "The user [sic] was late.",
    ],
)
def test_ordinary_text_passes(make_sample: MakeSample, text: str) -> None:
    verdict = BoilerplateValidator()(make_sample(text))
    assert verdict.passed, verdict.evidence


def test_a_placeholder_of_the_prompt_may_be_repeated(make_sample: MakeSample) -> None:
    sample = make_sample("Hello {{name}}, you won.", user="Shorten: Hello {{name}}, you have won.")
    assert BoilerplateValidator()(sample).passed


def test_checks_can_be_left_out(make_sample: MakeSample) -> None:
    sample = make_sample("It is fixed. I hope this helps!")
    assert BoilerplateValidator(checks=["opener", "placeholder"])(sample).passed


def test_a_closer_counts_near_the_end_only(make_sample: MakeSample) -> None:
    assert BoilerplateValidator()(make_sample("I hope this helps. " + "It rains. " * 30)).passed
