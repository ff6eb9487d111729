"""A row of the outputs, as the report counts it and as it shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from weave_async.features.words import words_of
from weave_async.records import as_category
from weave_async.report.edits import Stretch, stretches_of
from weave_async.report.visible import cut, visible

Ending = Literal["written", "rejected", "failed"]
ENDINGS: Mapping[str, Ending] = {
    "samples": "written",
    "rejected": "rejected",
    "failed": "failed",
}
"""By the file's stem."""
ROW_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading a row raises when it is none of ours."""
MAX_NAME_CHARS, MAX_DETAIL_CHARS = 120, 600
MAX_TURN_CHARS, MAX_TURNS, MAX_ATTRIBUTES = 4_000, 40, 40
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
    is_noisy: bool
    row: Mapping[str, Any]

    @classmethod
    def of(cls, line: bytes, ending: Ending) -> ReportRow:
        """Raises one of ``ROW_ERRORS`` where the row is not as a run writes them."""
        row = orjson.loads(line)
        lineage, turns = row["lineage"], row["messages"]
        why: tuple[str, ...] = ()
        if ending == "rejected":
            why = (_name(row["stage"]), _name(row["rule"]), _name(row["reason"]))
        elif ending == "failed":
            why = (_name(row["error"]),)
        last = turns[-1] if turns else {"role": "", "content": ""}
        is_answered = last["role"] == "assistant" and lineage["finish_reason"] is not None
        return cls(
            ending=ending,
            sample_id=_name(row["sample_id"]),
            why=why,
            model=_name(lineage["model"]),
            endpoint=_name(lineage["endpoint"]),
            finish_reason=_name(lineage["finish_reason"] or "none"),
            attributes=dict(_categories(lineage["attributes"])),
            num_words=len(words_of(last["content"])) if is_answered else 0,
            is_noisy=any(edit["changes"] for edit in lineage["noise"]),
            row=row,
        )

    def shown(self) -> dict[str, Any]:
        """For the page: every text in it is visible, and none is long."""
        row, lineage = self.row, self.row["lineage"]
        told = {
            "end": self.ending,
            "id": visible(self.sample_id),
            "why": [visible(each) for each in self.why],
            "detail": _short(_detail_of(row, self.ending)),
            "model": visible(self.model),
            "endpoint": visible(self.endpoint),
            "finish": visible(self.finish_reason),
            "words": self.num_words,
            "source": _short(str(lineage["source"])),
            "params": _short(_json(lineage["params"])),
            "attributes": {visible(name): visible(v) for name, v in self.attributes.items()},
            "verdicts": [_verdict(each) for each in lineage["verdicts"][:MAX_TURNS]],
            "noise": [],
            "turns": [_turn(*each) for each in self._turns()],
            "turns_left_out": max(0, len(row["messages"]) - MAX_TURNS),
        }
        if self.is_noisy:
            names = dict.fromkeys(_name(e["noise"]) for e in lineage["noise"] if e["changes"])
            told["noise"] = [visible(name) for name in names]
        return told

    def _turns(self) -> Iterator[tuple[str, Sequence[Stretch]]]:
        for place, turn in enumerate(self.row["messages"][:MAX_TURNS]):
            text = turn["content"]
            edits = [e for e in self.row["lineage"]["noise"] if e["message_index"] == place]
            if sum(len(edit["changes"]) for edit in edits) <= MAX_CHANGES:
                yield turn["role"], stretches_of(text, edits)
            else:
                yield turn["role"], [Stretch(text, text)]


def _turn(role: str, stretches: Sequence[Stretch]) -> dict[str, Any]:
    """``text``: a string where it is as it was, a pair where noise has changed it."""
    room, told = MAX_TURN_CHARS, list[str | list[str]]()
    for stretch in stretches:
        if room <= 0:
            break
        before, after = cut(stretch.before, room), cut(stretch.after, room)
        told.append([visible(before), visible(after)] if stretch.is_changed else visible(after))
        room -= max(len(before), len(after))
    num_chars = sum(len(stretch.after) for stretch in stretches)
    is_cut = room <= 0 or num_chars > MAX_TURN_CHARS
    return {"role": _short(role), "text": told, "chars": num_chars, "cut": is_cut}


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
