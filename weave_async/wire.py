"""Samples as lines of JSON, on their way to workers and back, or while they wait: no pickles.

A frame is its length (4 bytes), a header (one line of JSON) and one line per row, so that a row
that JSON cannot hold costs itself only. A worker gets all of a sample that a stage may look at. It
sends back, for each sample it made of one, the fields that a stage has changed; an empty line says
that the sample came out as it went in.

What JSON has no word for (a date in a column of a parquet file) arrives as text. A lone surrogate,
which orjson refuses, goes through the standard library's JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any

import orjson

from weave_async.records import (
    Message,
    NoiseEdit,
    Prompt,
    Rejection,
    Request,
    Response,
    RuleVerdict,
    Sample,
    SamplingParams,
    TextChange,
    ToolCall,
    Usage,
)

LENGTH_BYTES = 4
MOST_FRAME_BYTES = 64 << 20
CHANGEABLE = ("messages", "edits", "rejection", "copy", "verdicts", "repairs")
"""What a stage may give a sample; everything else says where it comes from."""

_BY_JSON = b" "
"""Stands before what only the standard library reads as it was written."""
_SENT = ("ordinal", "endpoint", "seed", "messages", "edits", "copy", "verdicts", "repairs")
_LINEAGE = ("ordinal", "prompt", "request", "endpoint", "seed", "response", "failure")
_PROMPT = ("prompt_id", "sample_index", "messages", "attributes", "origin", "columns")
_REQUEST = ("request_id", "model", "params", "api", "attempt_id", "num_choices")
_RESPONSE = (
    *("text", "finish_reason", "raw_finish_reason", "reasoning", "usage", "model", "e2e_s"),
    *("tool_calls", "regenerations"),
)
_of_sample, _of_prompt = attrgetter(*_SENT), attrgetter(*_PROMPT)
_of_request, _of_response = attrgetter(*_REQUEST), attrgetter(*_RESPONSE)


def frame(header: Mapping[str, Any], lines: Sequence[bytes] = ()) -> bytes:
    body = b"\n".join((_dumped(header), *lines))
    return len(body).to_bytes(LENGTH_BYTES, "little") + body


def parsed(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The header and the lines of a frame's body."""
    header, *lines = body.split(b"\n")
    return _loaded(header), lines


class SampleWriter:
    """Writes samples of one frame. Their schema, mostly one for all, goes into its header."""

    def __init__(self) -> None:
        self.schemas: list[Any] = []
        self._places: dict[int, int] = {}

    def line(self, sample: Sample) -> bytes:
        """Raises ``ValueError``, ``TypeError`` or ``RecursionError`` for what no JSON can hold."""
        prompt, request, response = sample.prompt, sample.request, sample.response
        return _dumped(
            (
                _of_sample(sample),
                _of_prompt(prompt),
                _of_request(request),
                None if request.messages is prompt.messages else request.messages,
                None if request.schema is None else self._place_of(request.schema),
                None if response is None else _of_response(response),
            )
        )

    def _place_of(self, schema: Mapping[str, Any]) -> int:
        place = self._places.get(id(schema))
        if place is None:
            place = self._places[id(schema)] = len(self.schemas)
            self.schemas.append(schema)
        return place


def sample_in(line: bytes, schemas: Sequence[Any]) -> Sample:
    """The sample that ``SampleWriter`` wrote. Called for each: it names no field twice."""
    of_sample, of_prompt, of_request, asked, schema, of_response = _loaded(line)
    ordinal, endpoint, seed, messages, edits, copy, verdicts, repairs = of_sample
    prompt_id, sample_index, shown, attributes, origin, columns = of_prompt
    request_id, model, params, api, attempt_id, num_choices = of_request
    prompt_messages = _messages(shown)
    if params["stop"] is not None:
        params["stop"] = tuple(params["stop"])
    return Sample(
        ordinal=ordinal,
        prompt=Prompt(prompt_id, sample_index, prompt_messages, attributes, origin, columns),
        request=Request(
            request_id,
            model,
            prompt_messages if asked is None else _messages(asked),
            SamplingParams(**params),
            api,
            attempt_id,
            None if schema is None else schemas[schema],
            num_choices,
        ),
        endpoint=endpoint,
        seed=seed,
        messages=_messages(messages),
        response=None if of_response is None else _response(of_response),
        edits=_edits(edits),
        copy=copy,
        verdicts=_verdicts(verdicts),
        repairs=repairs,
    )


def outcome_line(sample: Sample, outputs: Sequence[Sample]) -> bytes:
    """What became of ``sample``. Raises as ``SampleWriter.line``."""
    if len(outputs) == 1 and outputs[0] is sample:
        return b""
    return _dumped([_changes(sample, output) for output in outputs])


def outcomes_in(line: bytes, sample: Sample) -> list[Sample]:
    """The samples that came of ``sample``: itself, where it is unchanged."""
    if not line:
        return [sample]
    return [_changed(sample, changes) if changes else sample for changes in _loaded(line)]


def require_lineage(sample: Sample, output: Sample) -> None:
    """Raises ``TypeError`` if a stage has changed what says where a sample comes from."""
    for name in _LINEAGE:
        ours, theirs = getattr(sample, name), getattr(output, name)
        if theirs is not ours and theirs != ours:
            raise TypeError(f"it changed the sample's {name}")


def _changes(sample: Sample, output: Sample) -> dict[str, Any]:
    changes = {}
    for name in CHANGEABLE:
        value = getattr(output, name)
        if value is not getattr(sample, name):
            changes[name] = value
    if "messages" in changes:
        changes["messages"] = [
            None if index < len(sample.messages) and message is sample.messages[index] else message
            for index, message in enumerate(output.messages)
        ]
    return changes


def _changed(sample: Sample, changes: Mapping[str, Any]) -> Sample:
    """As ``dataclasses.replace``, at half its price."""
    messages, edits, verdicts = sample.messages, sample.edits, sample.verdicts
    rejection = sample.rejection
    if (made := changes.get("messages")) is not None:
        messages = tuple(
            messages[index] if message is None else Message(message["role"], message["content"])
            for index, message in enumerate(made)
        )
    if (made := changes.get("edits")) is not None:
        edits = _edits(made)
    if (made := changes.get("verdicts")) is not None:
        verdicts = _verdicts(made)
    if (made := changes.get("rejection")) is not None:
        rejection = Rejection(**made)
    return Sample(
        ordinal=sample.ordinal,
        prompt=sample.prompt,
        request=sample.request,
        endpoint=sample.endpoint,
        seed=sample.seed,
        messages=messages,
        response=sample.response,
        edits=edits,
        rejection=rejection,
        failure=sample.failure,
        copy=changes.get("copy", sample.copy),
        verdicts=verdicts,
        repairs=changes.get("repairs", sample.repairs),
    )


def _messages(stored: Sequence[Any]) -> tuple[Message, ...]:
    return tuple([Message(message["role"], message["content"]) for message in stored])


def _edits(stored: Sequence[Any]) -> tuple[NoiseEdit, ...]:
    return tuple(
        [
            NoiseEdit(e["noise"], e["message_index"], tuple(TextChange(**c) for c in e["changes"]))
            for e in stored
        ]
    )


def _verdicts(stored: Sequence[Any]) -> tuple[RuleVerdict, ...]:
    return tuple([RuleVerdict(**verdict) for verdict in stored])


def _response(stored: Sequence[Any]) -> Response:
    values = dict(zip(_RESPONSE, stored, strict=True))
    values["usage"] = Usage(**values["usage"])
    values["tool_calls"] = tuple(ToolCall(**call) for call in values["tool_calls"])
    return Response(**values)


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=_as_json)
    except TypeError:  # a surrogate, a key that is no text, a number of more than 64 bits
        return _BY_JSON + json.dumps(_with_text_keys(value), default=_as_json).encode()


def _loaded(line: bytes) -> Any:
    return json.loads(line) if line.startswith(_BY_JSON) else orjson.loads(line)


def _as_json(value: Any) -> Any:
    """``value`` in words that JSON has; the standard library asks for dataclasses as well."""
    if isinstance(value, Mapping):
        return _with_text_keys(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _with_text_keys(getattr(value, f.name)) for f in fields(value)}
    return str(value)


def _with_text_keys(value: Any) -> Any:
    """``json`` would rather raise than name a date as a key."""
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else str(key): _with_text_keys(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(item) for item in value]
    return value
