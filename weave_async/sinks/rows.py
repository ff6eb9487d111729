"""What a sample looks like on disk, for all sinks and for the files of rejects and failures.

orjson writes dataclasses as objects, so records go in as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from weave_async.descent import PARENT, generation_of
from weave_async.records import Failure, Rejection, RuleVerdict, Sample


def lineage(sample: Sample) -> dict[str, Any]:
    """Where a sample comes from. Nothing in it depends on when or in which order answers came."""
    response = sample.response
    return {
        "prompt_id": sample.prompt.prompt_id,
        "sample_index": sample.prompt.sample_index,
        "source": sample.prompt.origin,
        "attributes": dict(sample.prompt.attributes),
        "endpoint": sample.endpoint,
        "model": sample.request.model,
        "params": sample.request.params.as_dict(),
        "seed": sample.seed,
        "request_id": sample.request.request_id,
        "finish_reason": response.finish_reason if response else None,
        "input_tokens": response.usage.input_tokens if response else None,
        "output_tokens": response.usage.output_tokens if response else None,
        "regenerations": response.regenerations if response else None,
        "noise": sample.edits,
        "verdicts": [_told_briefly(verdict) for verdict in sample.verdicts],
        "repairs": sample.repairs,
        **_descent(sample.prompt.columns),
    }


def _descent(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Of a sample that was made of an earlier run's: which one, and of the how manieth run."""
    generation = generation_of(columns)
    return {"generation": generation, "parent": columns[PARENT]} if generation else {}


def _told_briefly(verdict: RuleVerdict) -> dict[str, Any]:
    """Evidence goes in as JSON text: each rule has its own, and a trainer's loader wants columns
    of one type.
    """
    return {
        "rule": verdict.rule,
        "passed": verdict.passed,
        "reason": verdict.reason,
        "evidence": orjson.dumps(verdict.evidence).decode(),
        "mended": verdict.mended,
    }


def rejected_row(sample: Sample) -> bytes:
    """A row of ``rejected.jsonl``: the verdict first, then the sample it fell on."""
    assert sample.rejection is not None
    return _line(_told(sample, sample.rejection), sample)


def failed_row(sample: Sample) -> bytes:
    """A row of ``failed.jsonl``: the error first, then what was asked."""
    assert sample.failure is not None
    return _line(_told(sample, sample.failure), sample)


def _told(sample: Sample, end: Rejection | Failure) -> dict[str, Any]:
    return {
        "sample_id": sample.sample_id,
        **{field.name: getattr(end, field.name) for field in fields(end)},
    }


def _line(head: dict[str, Any], sample: Sample) -> bytes:
    row = {**head, "messages": sample.messages, "lineage": lineage(sample)}
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
