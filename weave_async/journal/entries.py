"""What stands in the frames: calls as they are made, and answers as they come.

========  =======================================================================================
open      first in every segment: format, run (``epoch``), writer, what is asked, wall-clock time
sent      calls that went out in one tick: ``[attempt_id, request_id, worst-case tokens, at_s]``
missed    a call that brought no answer, and why; or one to ask for again, and what it has used
answer    a sample's answer, with all that decides whether it fits another asking
failure   a sample that ends without one
synced    how far the segment was on the disk when this was written
========  =======================================================================================

``at_s`` counts from the opening of the run. Answers begin with the ids of the sample, the call and
the request, so that whoever goes through a million of them need not parse one. A call's id begins
with that of the request that was sent: several answers to one call are of several requests, which
differ in their draw alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from weave_async.records import Failure, Request, Response, Sample, ToolCall, Usage

question_in = re.compile(
    rb'\{"kind":"answer","sample_id":"([^"\\]*)","attempt_id":"([^"\\]*)","request_id":"([^"\\]*)"'
).match
"""Sample, call and request of an ``answer`` frame without parsing it; no match where that cannot
be."""
_NUMBER, _TEXT, _COUNT = (int, float), (str,), (int,)
_MAYBE_COUNT = (int, type(None))
_NEEDED: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "open": {"format_version": _COUNT},
    "sent": {"at_s": _NUMBER, "calls": (list,)},
    "missed": {"attempt_id": _TEXT, "request_id": _TEXT, "at_s": _NUMBER, "failure": (dict,)},
    "answer": {"sample_id": _TEXT, "request_id": _TEXT, "endpoint": _TEXT, "response": (dict,)},
    "failure": {"sample_id": _TEXT, "request_id": _TEXT, "failure": (dict,)},
    "synced": {"bytes": _COUNT},
    "response": {"text": _TEXT, "finish_reason": _TEXT, "usage": (dict,)},
    "usage": {"input_tokens": _MAYBE_COUNT, "output_tokens": _MAYBE_COUNT},
    "why": {"error": _TEXT, "message": _TEXT},
}
"""What a record of each kind has in every format; and the same of what stands in them."""
_OPTIONAL: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "open": {"epoch": _COUNT, "asks": (dict,), "cut": (dict,), "started_at": _NUMBER},
    "answer": {
        "attempt_id": _TEXT,
        "at_s": _NUMBER,
        "max_tokens": _MAYBE_COUNT,
        "model": _TEXT,
        "stage": _TEXT,
    },
    "failure": {"stage": _TEXT},
    "missed": {"endpoint": _TEXT, "usage": (dict,)},
    "response": {"reasoning": _TEXT},
}
_CALL = [str, str, int]
_MISSING = object()
_NOTHING: Mapping[str, tuple[type, ...]] = {}
_FLEETING = ("rate_limits", "others")  # others are samples of their own
_RESPONSE_FIELDS = tuple(field.name for field in fields(Response) if field.name not in _FLEETING)


def from_sample(sample: Sample, *, attempt_id: str, at_s: float, stage: str = "") -> dict[str, Any]:
    """The record of an answered or failed sample; ``stage`` is which one of the pipeline asked."""
    request, response = sample.request, sample.response
    entry: dict[str, Any] = {
        "kind": "answer" if response is not None else "failure",
        "sample_id": sample.sample_id,
        "attempt_id": attempt_id,
        "request_id": request.request_id,
        "max_tokens": request.params.max_tokens,
        "endpoint": sample.endpoint,
        "model": request.model,
        "at_s": at_s,
    }
    if stage:
        entry["stage"] = stage
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


def discarded(sample: Sample, failure: Failure, *, at_s: float) -> dict[str, Any]:
    """The record of a call whose answer is not kept, with what it has used, and of whom."""
    response = sample.response
    return {
        **missed(sample.request, failure, at_s=at_s),
        "endpoint": sample.endpoint,
        "usage": Usage() if response is None else response.usage,
    }


def parse(body: bytes) -> dict[str, Any]:
    """The record in a frame. Kinds that we do not know are passed on as they are.

    A right CRC only says that somebody wrote these very bytes: raises ``ValueError`` where they
    are no record, or where one of ours lacks what every version writes.
    """
    entry = orjson.loads(body)
    if not isinstance(entry, dict) or not isinstance(entry.get("kind"), str):
        raise ValueError("it is no record of a kind")
    kind = entry["kind"]
    _require(entry, kind)
    if kind == "sent":
        for call in entry["calls"]:
            if not isinstance(call, list) or [type(each) for each in call] != _CALL:
                raise ValueError(f"{call!r} is no call")
    elif kind == "answer":
        _require(entry["response"], "response")
        _require(entry["response"]["usage"], "usage")
    elif "failure" in _NEEDED.get(kind, ()):
        _require(entry["failure"], "why")
        if "usage" in entry:
            _require(entry["usage"], "usage")
    elif kind == "open":
        _require_cuts(entry.get("cut", {}))
    return entry


def _require(record: Mapping[str, Any], what: str) -> None:
    for name, types in _NEEDED.get(what, _NOTHING).items():
        if not isinstance(record.get(name, _MISSING), types):
            raise ValueError(f"{what} without its {name}")
    for name, types in _OPTIONAL.get(what, _NOTHING).items():
        if name in record and not isinstance(record[name], types):
            raise ValueError(f"{what} with an odd {name}")


def _require_cuts(cuts: Mapping[str, Any]) -> None:
    for number, size in cuts.items():
        if not (number.isdecimal() and type(size) is int and size >= 0):
            raise ValueError(f"{number!r}: {size!r} is no cut")


def fits(
    entry: Mapping[str, Any], *, sample_id: str, request_id: str, max_tokens: int | None
) -> bool:
    """Whether this answer or failure is one to what is asked.

    ``max_tokens`` is no part of a request's id: an answer that ended by itself is the same under
    another bound, as long as it would not have reached it. Where nobody has counted its tokens,
    only a larger bound is known not to be reached.
    """
    if entry["sample_id"] != sample_id or entry["request_id"] != request_id:
        return False
    stored = entry.get("max_tokens", max_tokens)  # format 1 has none
    if "response" not in entry or stored == max_tokens:
        return True
    response = entry["response"]
    bound = response["usage"]["output_tokens"]
    if bound is None:
        bound = stored
    is_within = max_tokens is None or (bound is not None and bound <= max_tokens)
    return response["finish_reason"] != "length" and is_within


def outcome_of(entry: Mapping[str, Any]) -> Response | Failure:
    """The answer, or why there is none, as it was recorded."""
    if "failure" in entry:
        return Failure(**_known(Failure, entry["failure"]))
    stored = entry["response"]
    kept = {name: stored[name] for name in _RESPONSE_FIELDS if name in stored}
    kept["usage"] = Usage(**_known(Usage, stored["usage"]))
    kept["tool_calls"] = tuple(
        ToolCall(**_known(ToolCall, c)) for c in stored.get("tool_calls", ())
    )
    return Response(**kept)


def _known(noun: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The fields we know; a later version may have written more."""
    return {field.name: stored[field.name] for field in fields(noun) if field.name in stored}
