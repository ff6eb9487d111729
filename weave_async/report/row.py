"""A row of the outputs, as the report counts it and as it shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from weave_async.features.words import words_of
from weave_async.noise.stretches import stretches_of
from weave_async.records import as_category
from weave_async.visible import cut, visible

Ending = Literal["written", "rejected", "failed"]
ENDINGS: Mapping[str, Ending] = {
    "samples": "written",
    "rejected": "rejected",
    "failed": "failed",
}
"""By the file's stem."""
ROW_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading a row raises when it is none of ours."""
NO_ANSWER, NOT_TOLD = "no answer", "not told"
MAX_NAME_CHARS, MAX_DETAIL_CHARS = 120, 400
MAX_TURNS, MAX_ATTRIBUTES, MAX_VERDICTS = 40, 20, 20
MAX_CHANGES = 400
"""Of one text: beyond them, it is shown without."""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What is counted of a row. ``why`` is the stage, rule and reason of a rejection, or the error
    of a failure.
    """

    ending: Ending
    sample_id: str
    why: tuple[str, ...]
    model: str
    endpoint: str
    finish_reason: str
    attributes: Mapping[str, str]
    num_words: int
    row: Mapping[str, Any]

    @classmethod
    def of(cls, line: bytes, ending: Ending) -> ReportRow:
        """Raises one of ``ROW_ERRORS`` where the row is not as a run writes them."""
        row = orjson.loads(line)
        lineage, turns = row["lineage"], row["messages"]
        finish_reason = lineage.get("finish_reason")
        if not isinstance(turns, list):
            raise TypeError("messages is no list")
        for turn in turns:
            if not isinstance(turn["role"], str) or not isinstance(turn["content"], str):
                raise TypeError("a turn has a role and a content")
        why: tuple[str, ...] = ()
        if ending == "rejected":
            why = (_name(row["stage"]), _name(row["rule"]), _name(row["reason"]))
        elif ending == "failed":
            why = (_name(row["error"]),)
        last = turns[-1] if turns else {"role": "", "content": ""}
        is_answered = ending != "failed" and last["role"] == "assistant"
        return cls(
            ending=ending,
            sample_id=_name(row["sample_id"]),
            why=why,
            model=_name(lineage["model"]),
            endpoint=_name(lineage.get("endpoint", "")),
            finish_reason=_name(finish_reason or (NOT_TOLD if is_answered else NO_ANSWER)),
            attributes=dict(_categories(lineage.get("attributes", {}))),
            num_words=len(words_of(last["content"])) if is_answered else 0,
            row=row,
        )

    def shown(self, *, most_chars: int) -> dict[str, Any]:
        """For the page: every text in it is visible, and all turns have ``most_chars`` together."""
        row, lineage = self.row, self.row["lineage"]
        noise = [edit for edit in lineage.get("noise", ()) if edit["changes"]]
        turns = row["messages"][:MAX_TURNS]
        rooms = fair_rooms([len(turn["content"]) for turn in turns], most_chars)
        return {
            "end": self.ending,
            "id": visible(self.sample_id),
            "why": [visible(each) for each in self.why],
            "detail": _short(_detail_of(row, self.ending)),
            "model": visible(self.model),
            "endpoint": visible(self.endpoint),
            "finish": visible(self.finish_reason),
            "words": self.num_words,
            "source": _short(str(lineage.get("source", ""))),
            "params": _short(_json(lineage.get("params", {}))),
            "attributes": {visible(name): visible(v) for name, v in self.attributes.items()},
            "verdicts": [_verdict(each) for each in lineage.get("verdicts", [])[:MAX_VERDICTS]],
            "noise": list(dict.fromkeys(visible(_name(edit["noise"])) for edit in noise)),
            "turns": [
                _turn(turn, [e for e in noise if e["message_index"] == place], rooms[place])
                for place, turn in enumerate(turns)
            ],
            "turns_left_out": len(row["messages"]) - len(turns),
        }


def fair_rooms(lengths: Sequence[int], room: int) -> list[int]:
    """How much of each text fits where all have ``room`` together: short ones as a whole, and the
    long ones share what they leave.
    """
    rooms = [0] * len(lengths)
    for place, number in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        rooms[number] = min(lengths[number], room // (len(lengths) - place))
        room -= rooms[number]
    return rooms


def _turn(turn: Mapping[str, Any], edits: Sequence[Mapping[str, Any]], room: int) -> dict[str, Any]:
    """``text``: a string where it is as it was, a pair where noise has changed it."""
    content, told = turn["content"], list[str | list[str]]()
    if sum(len(edit["changes"]) for edit in edits) > MAX_CHANGES:
        edits = ()
    is_cut = len(content) > room
    for stretch in stretches_of(content, edits):
        if room <= 0 and stretch.after:
            break
        after = cut(stretch.after, room)
        before = cut(stretch.before, max(room, MAX_NAME_CHARS))
        told.append([visible(before), visible(after)] if stretch.is_changed else visible(after))
        room -= len(stretch.after)
    return {"role": _short(turn["role"]), "text": told, "chars": len(content), "cut": is_cut}


def _detail_of(row: Mapping[str, Any], ending: Ending) -> str:
    if ending == "rejected":
        return _json(row["evidence"]) if row["evidence"] else ""
    return str(row["message"]) if ending == "failed" else ""


def _verdict(verdict: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rule": _short(verdict["rule"]),
        "passed": bool(verdict["passed"]),
        "reason": _short(verdict["reason"]),
        "evidence": _short(verdict["evidence"]),
    }


def _categories(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in list(attributes.items())[:MAX_ATTRIBUTES]:
        yield _name(name), _name(str(as_category(value)))


def _name(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no name")
    return cut(text, MAX_NAME_CHARS)


def _short(text: str) -> str:
    return visible(cut(text, MAX_DETAIL_CHARS))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
