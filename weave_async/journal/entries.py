"""What stands in the frames: calls as they are made, and answers as they come.

========  =======================================================================================
open      first in every segment: format, run (``epoch``), writer, what is asked, wall-clock time
sent      calls that went out in one tick: ``[attempt_id, request_id, worst-case tokens, at_s]``
missed    a call that brought no answer, and why
answer    a sample's answer, with all that decides whether it fits another asking
failure   a sample that ends without one
synced    how far the segment was on the disk when this was written
========  =======================================================================================

``at_s`` counts from the opening of the run. Answers begin with the sample's id, then the call's, so
that whoever goes through a million of them need not parse one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from weave_async.records import Failure, Request, Response, Sample, Usage

ids_in = re.compile(rb'\{"kind":"answer","sample_id":"([^"\\]*)","attempt_id":"([^"\\]*)"').match
"""Sample and call of an ``answer`` frame without parsing it; no match where that cannot be."""
question_in = re.compile(
    rb'\{"kind":"answer","sample_id":"([^"\\]*)","attempt_id":"([^"\\]*)","request_id":"([^"\\]*)"'
).match
"""The same with the request."""
_RESPONSE_FIELDS = tuple(field.name for field in fields(Response) if field.name != "rate_limits")


def from_sample(sample: Sample, *, attempt_id: str, at_s: float) -> dict[str, Any]:
    """The record of an answered or failed sample."""
    request, response = sample.request, sample.response
    entry: dict[str, Any] = {
        "kind": "answer" if response is not None else "failure",
        "sample_id": sample.sample_id,
        "attempt_id": attempt_id,
        "request_id": request.request_id,
        "max_tokens": request.params.max_tokens,
        "endpoint": sample.endpoint,
        "at_s": at_s,
    }
    if response is not None:
        entry["response"] = {name: getattr(response, name) for name in _RESPONSE_FIELDS}
    else:
        entry["failure"] = sample.failure
    return entry


def missed(request: Request, failure: Failure, *, at_s: float) -> dict[str, Any]:
    """The record of a call that brought no answer."""
    return {
        "kind": "missed",
        "attempt_id": request.attempt_id,
        "request_id": request.request_id,
        "at_s": at_s,
        "failure": failure,
    }


def fits(entry: Mapping[str, Any], sample: Sample) -> bool:
    """Whether this answer or failure is one to what ``sample`` asks.

    ``max_tokens`` is no part of a request's id: an answer that ended by itself is the same under
    another bound, as long as it would not have reached it.
    """
    request = sample.request
    if entry["sample_id"] != sample.sample_id or entry["request_id"] != request.request_id:
        return False
    asked = request.params.max_tokens
    if "response" not in entry or entry.get("max_tokens", asked) == asked:  # format 1 has none
        return True
    response = entry["response"]
    num_tokens = response["usage"]["output_tokens"]
    is_within = asked is None or num_tokens is None or num_tokens <= asked
    return response["finish_reason"] != "length" and is_within


def outcome_of(entry: Mapping[str, Any]) -> Response | Failure:
    """The answer, or why there is none, as it was recorded."""
    if "failure" in entry:
        return Failure(**_known(Failure, entry["failure"]))
    stored = entry["response"]
    usage = _known(Usage, stored["usage"])
    return Response(**{**_known(Response, stored), "usage": Usage(**usage), "rate_limits": None})


def _known(noun: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields we know; a later version may have written more."""
    return {field.name: stored[field.name] for field in fields(noun) if field.name in stored}
