"""Bounds on the length of completions."""

from __future__ import annotations

import base64
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiktoken

from weave_async import tokens
from weave_async.records import Sample
from weave_async.validation.length import LengthValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("options", "completion", "reason"),
    [
        ({}, "one", ""),
        ({}, "", "too_short"),
        ({}, " \n", "too_short"),
        ({"min_words": 3}, "one two", "too_short"),
        ({"min_words": 3}, "one  two\nthree", ""),
        ({"max_words": 2}, "one two", ""),
        ({"max_words": 2}, "one two three", "too_long"),
        ({"max_chars": 5}, "grüß🦆", ""),
        ({"max_chars": 5}, "grüße!", "too_long"),
        ({"min_words": 0}, "", ""),
        ({"max_words": 0, "min_words": 0}, "one", "too_long"),
    ],
)
def test_bounds_are_inclusive(
    make_sample: MakeSample, options: dict[str, Any], completion: str, reason: str
) -> None:
    verdict = LengthValidator(**options)(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_the_evidence_holds_what_was_counted_and_the_bound(make_sample: MakeSample) -> None:
    sample = make_sample("one two three")
    assert LengthValidator(min_words=5)(sample).evidence == {"words": 3, "min_words": 5}
    assert LengthValidator(max_words=2)(sample).evidence == {"words": 3, "max_words": 2}
    assert LengthValidator(max_chars=4)(sample).evidence == {"chars": 13, "max_chars": 4}


def test_what_ran_into_max_tokens_is_refused_unless_that_is_allowed(
    make_sample: MakeSample,
) -> None:
    sample = make_sample("and then he", finish_reason="length", max_tokens=4)
    verdict = LengthValidator()(sample)
    assert (verdict.passed, verdict.reason) == (False, "cut_off")
    assert verdict.evidence == {"max_tokens": 4}
    assert LengthValidator(complete=False)(sample).passed


def test_only_the_completion_counts(make_sample: MakeSample) -> None:
    assert LengthValidator(max_words=2)(make_sample("short answer", user="word " * 100)).passed


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"min_chars": 13}, ""),
        ({"min_chars": 14}, "too_short"),
        ({"min_tokens": 4, "max_tokens": 4}, ""),
        ({"min_tokens": 5}, "too_short"),
        ({"max_tokens": 3}, "too_long"),
    ],
)
def test_characters_and_tokens_have_bounds_on_both_sides(
    make_sample: MakeSample, options: dict[str, Any], reason: str
) -> None:
    assert LengthValidator(**options)(make_sample("one two three")).reason == reason


def test_without_a_vocabulary_the_evidence_says_that_tokens_are_estimated(
    make_sample: MakeSample,
) -> None:
    verdict = LengthValidator(max_tokens=3)(make_sample("ünö twö three"))
    assert verdict.evidence == {"tokens": 4, "max_tokens": 3, "estimated": True}


def test_tokens_are_counted_where_the_vocabulary_is_here(
    make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256}
    keep_vocabulary(ranks, monkeypatch)
    rule = LengthValidator(max_tokens=2, tokens_of="tiny-model", vocabularies="cache")
    assert rule(make_sample("abab")).passed
    assert rule(make_sample("abba")).evidence == {"tokens": 3, "max_tokens": 2}
    assert not rule.is_light
    assert LengthValidator(max_tokens=2).is_light


def keep_vocabulary(ranks: dict[bytes, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of a tiktoken plugin's, with its vocabulary in the folder ``cache``."""
    table = b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items())
    address = "https://vocabularies.invalid/tiny.tiktoken"
    Path("cache").mkdir()
    Path("cache", sha1(address.encode()).hexdigest()).write_bytes(table)
    plugin = ModuleType("tiny_plugin")
    exec(
        "from tiktoken.load import load_tiktoken_bpe\n"
        f"def tiny(): return dict(name='tiny', pat_str='.+', special_tokens={{}},\n"
        f"    mergeable_ranks=load_tiktoken_bpe({address!r}))\n",
        plugin.__dict__,
    )
    monkeypatch.setattr(tiktoken.registry, "ENCODING_CONSTRUCTORS", {"tiny": plugin.tiny})
    monkeypatch.setitem(tiktoken.model.MODEL_TO_ENCODING, "tiny-model", "tiny")
    tokens._loaded.cache_clear()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tokens_of": "gpt-4o"}, "vocabularies"),
        ({"tokens_of": "gpt-4o", "vocabularies": "nowhere"}, "not in nowhere"),
        ({"tokens_of": "no-such-model", "vocabularies": "."}, "'no-such-model' is not known"),
        ({"min_chars": 5, "max_chars": 4}, "min_chars 5 is above max_chars 4"),
        ({"min_tokens": 5, "max_tokens": 4}, "min_tokens 5 is above max_tokens 4"),
    ],
)
def test_what_cannot_be_counted_is_refused_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        LengthValidator(**options)


def test_the_prompt_is_all_turns_before_the_answer(make_sample: MakeSample) -> None:
    sample = make_sample("an answer", user="two words", system="be brief", finish_reason="length")
    assert LengthValidator(min_words=4, max_words=4, field="prompt")(sample).passed
    both = LengthValidator(min_words=6, max_words=6, field="both", complete=False)
    assert both(sample).passed


@pytest.mark.parametrize("unit", ["words", "chars", "tokens"])
def test_a_negative_bound_is_refused(unit: str) -> None:
    with pytest.raises(ValueError, match=f"min_{unit} -1 is below 0"):
        LengthValidator(**{f"min_{unit}": -1})  # type: ignore[arg-type]
