"""What C4's rules drop, and what they leave of a text."""

from __future__ import annotations

from collections.abc import Callable

from weave_async.records import Sample
from weave_async.validation.c4 import C4Validator

MakeSample = Callable[..., Sample]

PAGE = (
    "Home | About\n"
    "The harbour was built in 1840 [3]. It is still in use.\n"
    "We use cookies to make this page better.\n"
    "Boats come and go all day, and some stay for a week.\n"
    "Please turn on JavaScript to see the map.\n"
    "Nobody remembers who built the lighthouse."
)


def test_a_text_stays_as_it_is_unless_it_is_to_be_cleaned(make_sample: MakeSample) -> None:
    verdict = C4Validator("document", min_sentences=4)(make_sample(PAGE))
    assert verdict.passed
    assert verdict.messages is None


def test_cleaning_leaves_the_lines_that_the_rules_keep(make_sample: MakeSample) -> None:
    sample = make_sample(PAGE, system="Be brief.")
    verdict = C4Validator("document", min_sentences=4, clean=True)(sample)
    assert verdict.passed
    assert verdict.messages is not None
    assert verdict.messages[:-1] == sample.messages[:-1]
    assert verdict.messages[-1].content == (
        "The harbour was built in 1840 . It is still in use.\n"
        "Boats come and go all day, and some stay for a week.\n"
        "Nobody remembers who built the lighthouse."
    )


def test_a_text_with_nothing_to_clean_passes_unchanged(make_sample: MakeSample) -> None:
    assert C4Validator("chat", clean=True)(make_sample("All is well.")).messages is None


def test_a_text_of_which_nothing_is_left_is_refused(make_sample: MakeSample) -> None:
    rule = C4Validator("document", min_sentences=None, clean=True)
    verdict = rule(make_sample("Home | About"))
    assert verdict.reason == "nothing_left"
    assert verdict.evidence == {"dropped": {"no_terminal_punctuation": 1}}


def test_the_evidence_says_why_lines_were_dropped(make_sample: MakeSample) -> None:
    verdict = C4Validator("document")(make_sample(PAGE))
    assert verdict.reason == "too_few_sentences"
    assert verdict.evidence == {
        "value": 4,
        "min_sentences": 5,
        "dropped": {"no_terminal_punctuation": 1, "policy": 1, "javascript": 1},
    }


def test_the_evidence_of_what_refuses_a_text_is_the_line(make_sample: MakeSample) -> None:
    text = "A first line.\nLorem ipsum dolor sit amet."
    verdict = C4Validator("chat")(make_sample(text))
    assert verdict.reason == "lorem_ipsum"
    assert verdict.evidence == {"line": 2, "text": "Lorem ipsum dolor sit amet."}


def test_a_very_long_word_drops_its_line(make_sample: MakeSample) -> None:
    rule = C4Validator("chat", min_sentences=1)
    assert rule(make_sample("x" * 1_000)).passed
    assert rule(make_sample("x" * 1_001)).evidence["dropped"] == {"long_word": 1}
