"""The model of offensive words; it is an extra, and so are these tests."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import pytest

from weave_async.records import Sample
from weave_async.validation.toxicity import ToxicityValidator

MakeSample = Callable[..., Sample]
IS_INSTALLED = find_spec("profanity_check") is not None
needs_model = pytest.mark.skipif(not IS_INSTALLED, reason="needs the extra [toxicity]")


@pytest.mark.skipif(IS_INSTALLED, reason="the extra [toxicity] is installed")
def test_without_the_extra_it_says_which_one_to_install() -> None:
    with pytest.raises(ValueError, match=r"pip install 'weave-async\[toxicity\]'"):
        ToxicityValidator()


@needs_model
@pytest.mark.parametrize("text", ["You are a stupid idiot.", "Shut up, you fucking moron!"])
def test_hostile_text_is_refused(make_sample: MakeSample, text: str) -> None:
    verdict = ToxicityValidator()(make_sample(text))
    assert (verdict.passed, verdict.reason) == (False, "toxic")
    assert verdict.evidence["score"] > 0.98
    assert verdict.evidence["message"] == 1


@needs_model
@pytest.mark.parametrize(
    "text",
    [
        "Your parcel will be there on Friday.",
        "The patient reported pain in the chest.",
        "Kill the process with Ctrl-C.",
        "It is a mistake that anybody could make.",
        "",
        "?!",
    ],
)
def test_ordinary_text_passes(make_sample: MakeSample, text: str) -> None:
    assert ToxicityValidator()(make_sample(text)).passed


@needs_model
def test_a_score_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_score 1\.5"):
        ToxicityValidator(1.5)
