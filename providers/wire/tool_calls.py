"""Tool calls, whole or in deltas, by whichever sign a server gives of what belongs together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from weave_async.records import ToolCall

from .text import encodable, parse_json


@dataclass(slots=True)
class _Draft:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a JSON document by now, so that more would be another's."""
        try:
            parse_json("".join(self.arguments).encode(errors="replace"))
        except ValueError:
            return False
        return True


class ToolCallAssembler:
    """Deltas in, calls out.

    A delta belongs to the call with its id; else to that with its index; else to the last one. With
    a name it may begin another all the same, since Gemini's calls have no index, and some servers
    number all of theirs 0: if it has an id of its own, or the call before it is whole.
    """

    def __init__(self) -> None:
        self._drafts: list[_Draft] = []
        self._by_id: dict[str, _Draft] = {}
        self._by_index: dict[int, _Draft] = {}

    def feed(self, message: Mapping[str, Any]) -> int:
        """Take what is in one delta; how many characters that was."""
        num_chars = 0
        for entry in _entries(message):
            index, call_id, name, arguments = _read(entry)
            num_chars += len(call_id) + len(name) + len(arguments) + 1
            draft = self._draft_for(index, call_id, name) or self._begin(index)
            if call_id and not draft.id:
                draft.id = call_id
                self._by_id[call_id] = draft
            if name != draft.name:  # some repeat it in every delta, some send it in pieces
                draft.name += name
            if arguments:
                draft.arguments.append(arguments)
        return num_chars

    def calls(self) -> tuple[ToolCall, ...]:
        """The calls so far. A delta that held neither name nor arguments made none."""
        return tuple(
            ToolCall(encodable(d.id), encodable(d.name), encodable("".join(d.arguments)))
            for d in self._drafts
            if d.name or d.arguments
        )

    def _draft_for(self, index: int | None, call_id: str, name: str) -> _Draft | None:
        """The call that a delta goes on with; ``None`` where it begins one."""
        if call_id in self._by_id:
            return self._by_id[call_id]
        if index is not None:
            found = self._by_index.get(index)
        else:
            found = self._drafts[-1] if self._drafts else None
        if found is None or not (name and found.name):
            return found
        is_another = name != found.name and (index is None or bool(found.arguments))
        if (call_id and found.id) or is_another or found.is_whole:
            return None
        return found

    def _begin(self, index: int | None) -> _Draft:
        draft = _Draft()
        self._drafts.append(draft)
        if index is not None:
            self._by_index[index] = draft
        return draft


def tool_calls_of(message: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls of a whole message: each entry is one, whatever its index or id."""
    calls = []
    for entry in _entries(message):
        _, call_id, name, arguments = _read(entry)
        if name or arguments:
            calls.append(ToolCall(encodable(call_id), encodable(name), encodable(arguments)))
    return tuple(calls)


def _entries(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = message.get("tool_calls")
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list) or not entries:
        entries = [message.get("function_call")]  # OpenAI before 2023-11, and its imitators
    return [entry for entry in entries if isinstance(entry, dict)]


def _read(entry: Mapping[str, Any]) -> tuple[int | None, str, str, str]:
    function = entry.get("function") or entry.get("custom")
    if not isinstance(function, dict):
        function = entry
    index, call_id, name = entry.get("index"), entry.get("id"), function.get("name")
    arguments = function.get("arguments", function.get("input"))
    return (
        index if isinstance(index, int) and not isinstance(index, bool) else None,
        call_id if isinstance(call_id, str) else "",
        name if isinstance(name, str) else "",
        _as_text(arguments),
    )


def _as_text(arguments: object) -> str:
    """The arguments as JSON text; some servers have parsed it already."""
    if isinstance(arguments, str):
        return arguments
    if arguments is None:
        return ""
    try:
        return orjson.dumps(arguments).decode()
    except orjson.JSONEncodeError:  # a lone surrogate, an integer beyond 64 bits, great depth
        with suppress(RecursionError):
            return json.dumps(arguments)
        return ""
