"""What a sample is on its way to a worker and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from weave_async import wire
from weave_async.records import (
    Message,
    NoiseEdit,
    Rejection,
    RuleVerdict,
    Sample,
    TextChange,
    ToolCall,
    Usage,
)


def there(sample: Sample) -> Sample:
    """As a worker has it, which splits a frame at its line ends."""
    writer = wire.SampleWriter()
    line = writer.line(sample)
    _, [arrived] = wire.parsed(wire.frame({}, [line])[wire.LENGTH_BYTES :])
    return wire.sample_in(arrived, writer.schemas)


def and_back(sample: Sample, outputs: list[Sample]) -> list[Sample]:
    return wire.outcomes_in(wire.outcome_line(sample, outputs), sample)


def test_all_that_a_stage_may_look_at_arrives(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample("one\ntwo\u2028three", system="Be kind.", max_tokens=9)
    assert sample.response is not None
    response = replace(
        sample.response,
        usage=Usage(3, 4),
        reasoning="so",
        tool_calls=(ToolCall("1", "look", "{}"),),
        regenerations=1,
    )
    sample = replace(
        sample,
        request=replace(sample.request, schema={"type": "object"}),
        response=response,
        edits=(NoiseEdit("typos", 1, (TextChange(0, "a", "b"),)),),
        verdicts=(RuleVerdict("judge", True, "", {"score": 4}),),
        copy=2,
        repairs=1,
    )
    assert there(sample) == sample


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (dt.date(2024, 2, 29), "2024-02-29"),
        (dt.timedelta(seconds=1), "0:00:01"),
        (b"bytes", "b'bytes'"),
        (2**80, 2**80),
        ("a lone \ud83d", "a lone \ud83d"),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({dt.date(2024, 2, 29): 1}, {"2024-02-29": 1}),
        ({1: {None: MappingProxyType({2: 3})}}, {"1": {"None": {"2": 3}}}),
    ],
)
def test_columns_that_json_has_no_word_for_arrive_as_text(
    value: Any, arrives: Any, make_sample: Callable[..., Sample]
) -> None:
    sample = make_sample()
    sample = replace(sample, prompt=replace(sample.prompt, columns={"odd": value}))
    assert there(sample).prompt.columns == {"odd": arrives}


def test_only_changes_come_back(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample("a long answer " * 50)
    assert wire.outcome_line(sample, [sample]) == b""
    question = Message("user", "wich colours are their?")
    noisy = replace(sample, messages=(question, *sample.messages[1:]))
    assert len(wire.outcome_line(sample, [noisy])) < 100
    [back] = and_back(sample, [noisy])
    assert back == noisy
    assert back.messages[1] is sample.messages[1]


def test_copies_rejections_and_other_changes_come_back(make_sample: Callable[..., Sample]) -> None:
    sample = make_sample()
    outputs = [
        sample,
        replace(sample, copy=1, messages=sample.messages[:1]),
        replace(sample, copy=2, rejection=Rejection("validation", "r", "why", {"odd": "\ud800"})),
        replace(sample, copy=3, verdicts=(RuleVerdict("r", False, "why", {}),), repairs=2),
        replace(sample, messages=(*sample.messages, Message("user", "And?")), edits=()),
    ]
    back = and_back(sample, outputs)
    assert back == outputs
    assert back[0] is sample
    assert and_back(sample, []) == []
